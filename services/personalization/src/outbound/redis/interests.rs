//! The learner's two round trips: what a batch needs, and what it changes.

use anyhow::anyhow;
use async_trait::async_trait;
use common::Sku;
use contracts::interest::PROFILE_LIFETIME_SECONDS;
use redis::{Pipeline, Value, from_redis_value};

use super::features::{ask_features, read_feature};
use super::{RedisStore, guarded};
use crate::domain::popularity::{self, PAIR_HALF_LIFE_MS, TRENDING_HALF_LIFE_MS};
use crate::domain::{Batch, Outcome, Person, PersonChange, Pseudonym, Stored};
use crate::outbound::codec;
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::{InterestStore, Saved, Shelf};

/// Products kept per list of popular ones: not what is shown, which is three hundred at most, but where a launch gathers clicks until
/// it is shown. What falls out begins at nothing with its next click, so a list that is hardly longer than what is shown keeps
/// newcomers out for good. About 100 bytes each: 2 MB for the shop, and as much again for all categories of as many products.
const MAX_POPULAR: isize = 20_000;
/// Partners kept per product, for the same reason many more than two pages; and no more than Redis holds in its compact form, below
/// 5 kB a list. A new pair outweighs an old one that came as often, so a newcomer falls out only where 128 others came more often.
const MAX_TOGETHER: isize = 128;
/// Lists that nobody adds to are forgotten after this long, in seconds (60 days): a category that is no more, an old era.
const LIST_LIFETIME_SECONDS: i64 = 60 * 24 * 60 * 60;

/// Marks of events that were counted are forgotten after this long, in seconds (2 days): the topic keeps a day, and few
/// outages are longer. A copy that comes from a disk later than that counts again (ADR 0049).
const SEEN_LIFETIME_SECONDS: u64 = 2 * 24 * 60 * 60;

#[async_trait]
impl InterestStore for RedisStore {
    async fn stored(&self, partition: i32, batch: &Batch) -> Result<Stored, StoreUnavailable> {
        let people: Vec<&Pseudonym> = batch.pseudonyms().collect();
        let mut stored = Stored::default();
        let mut unknown: Vec<&Sku> = Vec::new();
        for sku in batch.skus() {
            match self.features.get(sku).await {
                Some(feature) => drop(stored.features.insert(sku.clone(), feature)),
                None => unknown.push(sku),
            }
        }
        let mut pipe = redis::pipe();
        pipe.cmd("MGET").arg(self.keys.counted(partition));
        pipe.arg(people.iter().map(|person| self.keys.profile(person)).collect::<Vec<_>>());
        pipe.arg(people.iter().map(|person| self.keys.recent(person)).collect::<Vec<_>>());
        pipe.arg(people.iter().map(|person| self.keys.seen(person)).collect::<Vec<_>>());
        pipe.arg(people.iter().map(|person| self.keys.refused(person)).collect::<Vec<_>>());
        pipe.arg(self.keys.refusals_since(partition));
        ask_features(&mut pipe, &self.keys, &unknown);
        let mut answers = self.run(&pipe).await?.into_iter();
        let blobs: Vec<Option<Vec<u8>>> = match answers.next() {
            Some(Ok(value)) => from_redis_value(value).map_err(|error| StoreUnavailable(error.into()))?,
            Some(Err(error)) => return Err(StoreUnavailable(error.into())),
            None => Vec::new(),
        };
        if let Some(mark) = blobs.first().and_then(Option::as_deref) {
            stored.counted = codec::decode_counted(partition, mark);
            if stored.counted.is_none() {
                tracing::warn!(partition, "up to where a partition is counted cannot be read and was removed");
                self.run(&guarded::remove(&self.keys.counted(partition), mark)).await?;
            }
        }
        let blob = |place: usize| blobs.get(place).and_then(Option::as_deref);
        for (place, person) in people.iter().enumerate() {
            let profile = blob(1 + place).and_then(codec::decode_profile);
            let recent = blob(1 + people.len() + place).map(codec::decode_recent).unwrap_or_default();
            let seen = blob(1 + 2 * people.len() + place).map(codec::decode_seen).unwrap_or_default();
            let refused = blob(1 + 3 * people.len() + place).and_then(milliseconds);
            stored.refused.extend(refused.map(|at| ((*person).clone(), at)));
            if profile.is_some() || !recent.is_empty() {
                stored.people.insert((*person).clone(), Person { profile, recent, seen });
            }
        }
        stored.refusals_since = blob(1 + 4 * people.len()).and_then(milliseconds);
        for (sku, answer) in unknown.into_iter().zip(answers) {
            if let Some((feature, _)) = read_feature(answer) {
                self.features.insert(sku.clone(), feature.clone()).await;
                stored.features.insert(sku.clone(), feature);
            }
        }
        Ok(stored)
    }

    async fn save(&self, partition: i32, outcome: &Outcome, now_ms: i64) -> Result<Saved, StoreUnavailable> {
        let mut pipe = redis::pipe();
        for (person, change) in &outcome.people {
            let (profile_key, recent_key) = (self.keys.profile(person), self.keys.recent(person));
            let seen_key = self.keys.seen(person);
            match change {
                PersonChange::Remembered { profile, recent, seen } => {
                    pipe.cmd("SET")
                        .arg(profile_key)
                        .arg(codec::encode_profile(profile))
                        .arg("EX")
                        .arg(PROFILE_LIFETIME_SECONDS);
                    pipe.cmd("SET")
                        .arg(recent_key)
                        .arg(codec::encode_recent(recent))
                        .arg("EX")
                        .arg(PROFILE_LIFETIME_SECONDS);
                    pipe.cmd("SET").arg(seen_key).arg(codec::encode_seen(seen)).arg("EX").arg(SEEN_LIFETIME_SECONDS);
                }
                PersonChange::Forgotten => {
                    // In which experiments they are goes as well: while one runs it is gone with its sums already. What they were shown
                    // goes below, with whoever said no.
                    let experiments_key = self.keys.enrolments(person);
                    pipe.cmd("DEL").arg(profile_key).arg(recent_key).arg(seen_key).arg(experiments_key);
                }
            }
        }
        for (person, at) in &outcome.refused {
            // Also where they said yes again in the same batch, and are remembered anew.
            pipe.cmd("DEL").arg(self.keys.lists(person));
            pipe.cmd("SET").arg(self.keys.refused(person)).arg(*at).arg("EX").arg(PROFILE_LIFETIME_SECONDS);
        }
        if let Some(since) = outcome.refusals_since {
            // A record from before a profile's lifetime is refused anyway.
            pipe.cmd("SET").arg(self.keys.refusals_since(partition)).arg(since).arg("EX").arg(PROFILE_LIFETIME_SECONDS);
        }
        self.add_popularity(&mut pipe, outcome, now_ms);
        super::visits::append(&mut pipe, &self.keys, &outcome.steps);
        // A batch is in whole or not at all, and its position with it.
        let pipe = guarded::only_while(&self.keys.counted(partition), outcome.before, outcome.counted, &pipe);
        match self.run(&pipe).await?.into_iter().next() {
            Some(Ok(answer)) => guarded::saved(answer),
            // No memory, a copy that takes no writes: nothing is in, all is to be tried again.
            Some(Err(error)) => Err(StoreUnavailable(error.into())),
            None => Err(StoreUnavailable(anyhow!("redis says nothing"))),
        }
    }
}

impl RedisStore {
    fn add_popularity(&self, pipe: &mut Pipeline, outcome: &Outcome, now_ms: i64) {
        let (_, weight) = popularity::era_and_weight(now_ms, TRENDING_HALF_LIFE_MS);
        let mut lists = std::collections::BTreeSet::new();
        for gain in &outcome.gains {
            for shelf in [Shelf::Everything, Shelf::Category(gain.category.clone())] {
                let key = self.keys.shelf(&shelf, now_ms);
                pipe.cmd("ZINCRBY").arg(&key).arg(gain.weight * weight).arg(gain.sku.as_str());
                lists.insert((key, MAX_POPULAR));
            }
            let categories = self.keys.categories(now_ms);
            pipe.cmd("ZINCRBY").arg(&categories).arg(gain.weight * weight).arg(&gain.category);
            lists.insert((categories, MAX_POPULAR));
        }
        let (_, weight) = popularity::era_and_weight(now_ms, PAIR_HALF_LIFE_MS);
        for (pair, times) in &outcome.pairs {
            for (at_hand, other) in [(&pair.one, &pair.other), (&pair.other, &pair.one)] {
                let key = self.keys.shelf(&Shelf::Together(pair.kind, at_hand.clone()), now_ms);
                pipe.cmd("ZINCRBY").arg(&key).arg(f64::from(*times) * weight).arg(other.as_str());
                lists.insert((key, MAX_TOGETHER));
            }
        }
        for (key, longest) in lists {
            pipe.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(-(longest + 1));
            pipe.cmd("EXPIRE").arg(&key).arg(LIST_LIFETIME_SECONDS);
        }
    }
}

fn milliseconds(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An answer as text fields, `None` where Redis had nothing.
pub(super) fn texts(value: Value) -> Vec<Option<String>> {
    from_redis_value(value).unwrap_or_default()
}
