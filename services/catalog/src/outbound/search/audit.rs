//! The index compared with the store: the documents as they are there beside the documents as they should be.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::{BufMut as _, BytesMut};
use chrono::{DateTime, Utc};
use common::{Clock as _, Region, Sku, SystemClock};
use serde_json::{Value, json};

use super::client::Failure;
use super::document::ProductDocument;
use super::standings::in_document;
use super::{ElasticProducts, down};
use crate::domain::product::Revision;
use crate::domain::standing::Standing;
use crate::usecases::ports::products::{Applied, Difference, IndexAudit, IndexDown, Seen, TurningIndex as _};

/// Milliseconds that a document may be past its time: whoever looks after those comes every two seconds, half a minute while a store is
/// away, and writes some 500 a second, so a quarter of an hour is a sale of 400,000 products that begins at once. One that waits longer is
/// looked after by nobody, and its price and whether it is shown are wrong.
const OVERDUE: i64 = 900_000;

/// Documents read at once. A product says up to half a megabyte, and its attributes stand in its document three times: ten of the largest
/// are just what is read of one answer (`client::MAX_ANSWER`).
const FEW: usize = 10;

impl ElasticProducts {
    /// The documents under `ids` as they are, searchable or not, one answer for each. `query` is that of the URL.
    async fn documents(&self, ids: &[&str], query: &str) -> Result<Vec<Value>, IndexDown> {
        let path = format!("{}/_mget{query}", self.alias);
        let mut all = Vec::with_capacity(ids.len());
        for few in ids.chunks(FEW) {
            let body = json!({"ids": few});
            let mut answer =
                self.batches.call_if(|| self.client.post(&path, &body), Failure::is_fault).await.map_err(down)?;
            match answer.get_mut("docs").map(Value::take) {
                Some(Value::Array(documents)) => all.extend(documents),
                _ => return Err(IndexDown("an answer without documents".to_owned())),
            }
        }
        Ok(all)
    }
}

#[async_trait]
impl IndexAudit for ElasticProducts {
    async fn seen(&self, skus: &[Sku]) -> Result<Vec<Seen>, IndexDown> {
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        Ok(self.documents(&ids, "?_source=false").await?.iter().filter_map(seen).collect())
    }

    async fn differences(&self, newest: &[Revision]) -> Result<HashMap<Sku, Difference>, IndexDown> {
        if newest.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<&str> = newest.iter().map(|revision| revision.sku().as_str()).collect();
        let documents = self.documents(&ids, "").await?;
        let there: HashMap<&str, &Value> =
            documents.iter().filter_map(|document| Some((document["_id"].as_str()?, document))).collect();
        let (region, now) = (self.region, SystemClock.now());
        let standings = self.standing_of(newest).await;
        let differs = |revision: &Revision| {
            let sku = revision.sku();
            let known = standings.get(sku).copied();
            Some((sku.clone(), difference(there.get(sku.as_str()).copied(), revision, known, region, now)?))
        };
        Ok(newest.iter().filter_map(differs).collect())
    }

    async fn restore(&self, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        self.renew(revisions).await
    }

    async fn seen_after(&self, after: Option<&Sku>, size: usize) -> Result<Vec<Seen>, IndexDown> {
        let mut body = json!({
            "size": size, "_source": false, "track_total_hits": false, "sort": [{"sku": "asc"}],
            "version": true, "seq_no_primary_term": true,
        });
        if let Some(after) = after {
            body["search_after"] = json!([after.as_str()]);
        }
        let path = format!("{}/_search?request_cache=false", self.alias);
        let answer = self.batches.call_if(|| self.client.post(&path, &body), Failure::is_fault).await.map_err(down)?;
        let hits = answer["hits"]["hits"].as_array().ok_or_else(|| IndexDown("an answer without hits".to_owned()))?;
        Ok(hits.iter().filter_map(seen).collect())
    }

    async fn remove(&self, seen: &[Seen]) -> Result<usize, IndexDown> {
        if seen.is_empty() {
            return Ok(0);
        }
        let mut lines = BytesMut::with_capacity(seen.len() * 96);
        for Seen { sku, place, term, .. } in seen {
            let only_if = json!({"delete": {"_id": sku.as_str(), "if_seq_no": place, "if_primary_term": term}});
            lines.put_slice(only_if.to_string().as_bytes());
            lines.put_u8(b'\n');
        }
        let (lines, path) = (lines.freeze(), format!("{}/_bulk?require_alias=true", self.alias));
        let send = || self.client.post_lines(&path, lines.clone());
        let answer = self.batches.call_if(send, Failure::is_fault).await.map_err(down)?;
        let items = answer["items"].as_array().ok_or_else(|| IndexDown("a bulk answer without items".to_owned()))?;
        Ok(items.iter().filter(|item| item["delete"]["result"] == "deleted").count())
    }
}

/// `None` where there is no document, or one whose id is no SKU.
fn seen(document: &Value) -> Option<Seen> {
    Some(Seen {
        sku: Sku::parse(document["_id"].as_str()?).ok()?,
        version: document["_version"].as_i64()?,
        place: document["_seq_no"].as_i64()?,
        term: document["_primary_term"].as_i64()?,
    })
}

/// Popularity is what it is: it moves all the time, and whoever follows the trends compares it. Availability must be what is known of it.
fn difference(
    there: Option<&Value>,
    wanted: &Revision,
    known: Option<Standing>,
    region: Region,
    now: DateTime<Utc>,
) -> Option<Difference> {
    let there = there.filter(|document| document["found"] == true);
    // A claimed SKU is no product by itself and is not told to the feed: what is to be there is no live document of it.
    if wanted.variant_of().is_some() && there.is_none_or(|document| document["_source"]["deleted"] == true) {
        return None;
    }
    let Some(there) = there else { return Some(Difference::Missing) };
    match there["_version"].as_i64().unwrap_or(0) {
        version if version < wanted.number => Some(Difference::Behind),
        version if version > wanted.number => Some(Difference::Ahead),
        // Whoever looks after the documents whose time has come writes it anew in a moment.
        _ if there["_source"]["turns_at"].as_i64().is_some_and(|turn| is_about_to_turn(turn, now)) => None,
        _ => {
            // A document of texts and numbers always becomes JSON.
            let said = in_document(&there["_source"]);
            let level = known.and_then(|known| known.level).or(said.level);
            let standing = Standing { level, popularity: said.popularity };
            let should_be =
                serde_json::to_value(ProductDocument::of(wanted, standing, region, now)).unwrap_or_default();
            (there["_source"] != should_be).then_some(Difference::Content)
        }
    }
}

/// Whether a document whose time came at `turn` is still to be written anew in its usual time.
fn is_about_to_turn(turn: i64, now: DateTime<Utc>) -> bool {
    let past = now.timestamp_millis().saturating_sub(turn);
    (0..=OVERDUE).contains(&past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::product::State;
    use crate::domain::trail::Trail;

    #[test]
    fn a_document_is_right_missing_behind_ahead_or_changed() {
        let state = State::Deleted(Sku::parse("A-1").unwrap());
        let (region, now) = (Region::Eu, DateTime::UNIX_EPOCH);
        let wanted = Revision {
            number: 3,
            state,
            changed_at: now,
            traceparent: None,
            author: None,
            trail: Trail::default(),
            moved_from: None,
        };
        let source = serde_json::to_value(ProductDocument::of(&wanted, Standing::default(), region, now)).unwrap();
        let difference = |there: Option<&Value>, wanted: &Revision| super::difference(there, wanted, None, region, now);
        let there = |version: i64| json!({"_id": "A-1", "found": true, "_version": version, "_source": source});
        assert_eq!(difference(Some(&there(3)), &wanted), None);
        assert_eq!(difference(None, &wanted), Some(Difference::Missing));
        assert_eq!(difference(Some(&json!({"_id": "A-1", "found": false})), &wanted), Some(Difference::Missing));
        assert_eq!(difference(Some(&there(2)), &wanted), Some(Difference::Behind));
        assert_eq!(difference(Some(&there(4)), &wanted), Some(Difference::Ahead));
        let mut changed = there(3);
        changed["_source"]["deleted"] = json!(false);
        assert_eq!(difference(Some(&changed), &wanted), Some(Difference::Content));
        changed["_source"]["turns_at"] = json!(0);
        assert_eq!(difference(Some(&changed), &wanted), None, "it is about to be written anew");
        let later = |past: i64| now + chrono::TimeDelta::milliseconds(past);
        let at = |past: i64| super::difference(Some(&changed), &wanted, None, region, later(past));
        assert_eq!((at(OVERDUE), at(OVERDUE + 1)), (None, Some(Difference::Content)), "nobody has done so");
    }

    #[test]
    fn a_claimed_sku_is_right_while_it_has_no_live_document() {
        let now = DateTime::UNIX_EPOCH;
        let state = State::VariantOf { sku: Sku::parse("A-1-M").unwrap(), product: Sku::parse("A-1").unwrap() };
        let claim = Revision {
            number: 3,
            state,
            changed_at: now,
            traceparent: None,
            author: None,
            trail: Trail::default(),
            moved_from: None,
        };
        let difference = |there: Option<&Value>| super::difference(there, &claim, None, Region::Eu, now);
        let there = |version: i64, deleted: bool| json!({"_id": "A-1-M", "found": true, "_version": version, "_source": {"deleted": deleted}});
        assert_eq!(difference(None), None);
        assert_eq!(difference(Some(&json!({"_id": "A-1-M", "found": false}))), None);
        assert_eq!(difference(Some(&there(2, true))), None, "it was a product before, and ended");
        assert_eq!(difference(Some(&there(2, false))), Some(Difference::Behind), "the end was never heard of");
        assert_eq!(difference(Some(&there(3, false))), Some(Difference::Content));
        assert_eq!(difference(Some(&there(4, false))), Some(Difference::Ahead));
    }
}
