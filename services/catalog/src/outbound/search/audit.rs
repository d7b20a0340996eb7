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
use crate::usecases::ports::products::{Applied, Difference, IndexAudit, IndexDown, TurningIndex as _};

#[async_trait]
impl IndexAudit for ElasticProducts {
    async fn differences(&self, newest: &[Revision]) -> Result<HashMap<Sku, Difference>, IndexDown> {
        if newest.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<&str> = newest.iter().map(|revision| revision.sku().as_str()).collect();
        let path = format!("{}/_mget", self.alias);
        let body = json!({"ids": ids});
        let answer = self.batches.call_if(|| self.client.post(&path, &body), Failure::is_fault).await.map_err(down)?;
        let documents = answer["docs"].as_array().ok_or_else(|| IndexDown("an answer without documents".to_owned()))?;
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
        // What is ahead of the store can only be taken away: the index would keep it against anything older.
        let ahead = self.differences(revisions).await?;
        let ahead: Vec<Sku> =
            ahead.into_iter().filter(|(_, difference)| *difference == Difference::Ahead).map(|(sku, _)| sku).collect();
        let removed = self.remove(&ahead).await?;
        let others: Vec<Revision> =
            revisions.iter().filter(|revision| !ahead.contains(revision.sku())).cloned().collect();
        let applied = self.renew(&others).await?;
        Ok(Applied { written: applied.written + removed, ..applied })
    }

    async fn skus_after(&self, after: Option<&Sku>, size: usize) -> Result<Vec<Sku>, IndexDown> {
        let mut body = json!({"size": size, "_source": false, "track_total_hits": false, "sort": [{"sku": "asc"}]});
        if let Some(after) = after {
            body["search_after"] = json!([after.as_str()]);
        }
        let path = format!("{}/_search?request_cache=false", self.alias);
        let answer = self.batches.call_if(|| self.client.post(&path, &body), Failure::is_fault).await.map_err(down)?;
        let hits = answer["hits"]["hits"].as_array().ok_or_else(|| IndexDown("an answer without hits".to_owned()))?;
        Ok(hits.iter().filter_map(|hit| Sku::parse(hit["_id"].as_str()?).ok()).collect())
    }

    async fn remove(&self, skus: &[Sku]) -> Result<usize, IndexDown> {
        if skus.is_empty() {
            return Ok(0);
        }
        let mut lines = BytesMut::with_capacity(skus.len() * 64);
        for sku in skus {
            lines.put_slice(json!({"delete": {"_id": sku.as_str()}}).to_string().as_bytes());
            lines.put_u8(b'\n');
        }
        let (lines, path) = (lines.freeze(), format!("{}/_bulk?require_alias=true", self.alias));
        let send = || self.client.post_lines(&path, lines.clone());
        let answer = self.batches.call_if(send, Failure::is_fault).await.map_err(down)?;
        let items = answer["items"].as_array().ok_or_else(|| IndexDown("a bulk answer without items".to_owned()))?;
        Ok(items.iter().filter(|item| item["delete"]["result"] == "deleted").count())
    }
}

/// Popularity is what it is: it moves all the time, and whoever follows the trends compares it. Availability must be what is known of it.
fn difference(
    there: Option<&Value>,
    wanted: &Revision,
    known: Option<Standing>,
    region: Region,
    now: DateTime<Utc>,
) -> Option<Difference> {
    let Some(there) = there.filter(|document| document["found"] == true) else { return Some(Difference::Missing) };
    match there["_version"].as_i64().unwrap_or(0) {
        version if version < wanted.number => Some(Difference::Behind),
        version if version > wanted.number => Some(Difference::Ahead),
        // Whoever looks after the documents whose time has come writes it anew in a moment.
        _ if there["_source"]["turns_at"].as_i64().is_some_and(|turn| turn <= now.timestamp_millis()) => None,
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
    }
}
