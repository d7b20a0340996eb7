//! What products are: a hash per product, and lists of the newest per category, so that a shelf nobody has clicked on yet can
//! still be shown.

use std::collections::HashMap;

use async_trait::async_trait;
use common::Sku;
use redis::{Pipeline, RedisResult, Value};

use super::interests::texts;
use super::keys::Keys;
use super::{RedisStore, readable};
use crate::domain::Feature;
use crate::outbound::codec;
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::{FeatureStore, ProductRevision, Shelf};

/// Products kept per list of new ones: ten pages.
const MAX_NEWEST: isize = 500;

/// Features asked for at once; more are not needed by any page (8 categories of 100 products).
const MAX_ASKED: usize = 1_000;

/// All products count as learned for this long, in seconds (a day); then they are learned once more. What a store loses without losing the mark,
/// the last second before it was killed or what an older copy does not have, is missing for no longer.
const LEARNED_LIFETIME_SECONDS: u64 = 24 * 60 * 60;

/// In the order in which [`read_feature`] reads them.
const FIELDS: [&str; 6] = ["category", "brand", "family", "revision", "attributes", "offered"];

pub(super) fn ask_features(pipe: &mut Pipeline, keys: &Keys, skus: &[&Sku]) {
    for sku in skus {
        pipe.cmd("HMGET").arg(keys.feature(sku)).arg(&FIELDS);
    }
}

/// The feature and its revision; `None` for an unknown product or a key that is not ours.
pub(super) fn read_feature(answer: RedisResult<Value>) -> Option<(Feature, i64)> {
    let mut fields = texts(answer.ok()?).into_iter().map(Option::unwrap_or_default);
    let (category, brand, family, revision) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    // A line each; absent in what was written before there were any.
    let attributes = fields.next().unwrap_or_default().lines().map(str::to_owned).collect();
    let offered = codec::decode_window(&fields.next().unwrap_or_default());
    Some((Feature { category, brand, family, attributes, offered }, revision.parse().ok()?))
}

#[async_trait]
impl FeatureStore for RedisStore {
    async fn features(&self, skus: &[Sku]) -> Result<HashMap<Sku, Feature>, StoreUnavailable> {
        let mut known = HashMap::new();
        let mut unknown: Vec<&Sku> = Vec::new();
        for sku in skus.iter().take(MAX_ASKED) {
            match self.features.get(sku).await {
                Some(feature) => drop(known.insert(sku.clone(), feature)),
                None => unknown.push(sku),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        let mut pipe = redis::pipe();
        ask_features(&mut pipe, &self.keys, &unknown);
        for (sku, answer) in unknown.into_iter().zip(self.run(&pipe).await?) {
            if let Some((feature, _)) = read_feature(answer) {
                self.features.insert(sku.clone(), feature.clone()).await;
                known.insert(sku.clone(), feature);
            }
        }
        Ok(known)
    }

    async fn learn(&self, products: &[ProductRevision]) -> Result<usize, StoreUnavailable> {
        let skus: Vec<&Sku> = products.iter().map(|product| &product.sku).collect();
        let mut ask = redis::pipe();
        ask_features(&mut ask, &self.keys, &skus);
        let stored = self.run(&ask).await?;
        let mut pipe = redis::pipe();
        pipe.atomic();
        let mut newer = 0;
        for (product, stored) in products.iter().zip(stored.into_iter().map(read_feature)) {
            if stored.as_ref().is_some_and(|(_, revision)| *revision >= product.revision) {
                continue;
            }
            newer += 1;
            self.write(&mut pipe, product, stored.map(|(feature, _)| feature));
        }
        if newer == 0 {
            return Ok(0);
        }
        for error in self.run(&pipe).await?.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %error, "redis refused a part of a product");
        }
        for product in products {
            self.features.invalidate(&product.sku).await;
        }
        Ok(newer)
    }

    async fn are_learned(&self) -> Result<bool, StoreUnavailable> {
        let answer = self.run(redis::pipe().cmd("EXISTS").arg(self.keys.features_learned())).await?.into_iter().next();
        let found: i64 = answer.map(readable).transpose()?.unwrap_or_default();
        Ok(found > 0)
    }

    async fn all_learned(&self) -> Result<(), StoreUnavailable> {
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(self.keys.features_learned()).arg(1).arg("EX").arg(LEARNED_LIFETIME_SECONDS);
        let answer = self.run(&pipe).await?.into_iter().next();
        // No memory, a copy that takes no writes: then they are learned once more.
        answer.map(readable::<redis::Value>).transpose().map(|_| ())
    }
}

impl RedisStore {
    pub(super) fn write(&self, pipe: &mut Pipeline, product: &ProductRevision, before: Option<Feature>) {
        let sku = product.sku.as_str();
        let left = before.filter(|before| product.feature.as_ref().is_none_or(|now| now.category != before.category));
        if let Some(left) = left {
            // What left a category is no longer popular in it.
            for shelf in [Shelf::NewestOf(left.category.clone()), Shelf::Category(left.category)] {
                pipe.cmd("ZREM").arg(self.keys.shelf(&shelf, product.changed_at_ms)).arg(sku);
            }
        }
        let Some(feature) = &product.feature else {
            pipe.cmd("DEL").arg(self.keys.feature(&product.sku));
            for shelf in [Shelf::Newest, Shelf::Everything] {
                pipe.cmd("ZREM").arg(self.keys.shelf(&shelf, product.changed_at_ms)).arg(sku);
            }
            return;
        };
        pipe.cmd("HSET").arg(self.keys.feature(&product.sku));
        pipe.arg("category").arg(&feature.category).arg("brand").arg(&feature.brand);
        pipe.arg("family").arg(&feature.family).arg("revision").arg(product.revision);
        pipe.arg("attributes").arg(feature.attributes.join("\n"));
        pipe.arg("offered").arg(codec::encode_window(feature.offered));
        for shelf in [Shelf::Newest, Shelf::NewestOf(feature.category.clone())] {
            let key = self.keys.shelf(&shelf, product.changed_at_ms);
            pipe.cmd("ZADD").arg(&key).arg(product.changed_at_ms).arg(sku);
            pipe.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(-(MAX_NEWEST + 1));
        }
    }
}
