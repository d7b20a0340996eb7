//! How the documents say that products stand.

use std::collections::HashMap;

use async_trait::async_trait;
use common::Sku;
use serde_json::{Value, json};

use super::client::Failure;
use super::{ElasticProducts, down};
use crate::domain::inventory::Level;
use crate::domain::product::Revision;
use crate::domain::standing::Standing;
use crate::usecases::ports::products::IndexDown;
use crate::usecases::ports::standings::StandingIndex;

impl ElasticProducts {
    /// What is known of `revisions` now; nothing where nobody was named who knows.
    pub(super) async fn standing_of(&self, revisions: &[Revision]) -> HashMap<Sku, Standing> {
        match &self.known {
            Some(known) => known.of(revisions).await,
            None => HashMap::new(),
        }
    }
}

#[async_trait]
impl StandingIndex for ElasticProducts {
    async fn standings(&self, skus: &[Sku]) -> Result<HashMap<Sku, Standing>, IndexDown> {
        if skus.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let path = format!("{}/_mget?_source=availability,popularity,deleted", self.alias);
        let body = json!({"ids": ids});
        let answer = self.batches.call_if(|| self.client.post(&path, &body), Failure::is_fault).await.map_err(down)?;
        let documents = answer["docs"].as_array().ok_or_else(|| IndexDown("an answer without documents".to_owned()))?;
        let standing = |document: &Value| {
            let source = &document["_source"];
            let is_live = document["found"] == true && source["deleted"] != true;
            Some((Sku::parse(document["_id"].as_str()?).ok()?, in_document(source))).filter(|_| is_live)
        };
        Ok(documents.iter().filter_map(standing).collect())
    }

    async fn popular(&self, limit: usize) -> Result<Vec<Sku>, IndexDown> {
        let query = json!({"size": limit, "_source": false, "query": {"range": {"popularity": {"gt": 0}}}});
        let path = format!("{}/_search?request_cache=false", self.alias);
        let found = self.batches.call_if(|| self.client.post(&path, &query), Failure::is_fault).await.map_err(down)?;
        let hits = found["hits"]["hits"].as_array().into_iter().flatten();
        Ok(hits.filter_map(|hit| Sku::parse(hit["_id"].as_str()?).ok()).collect())
    }
}

/// What a document says.
pub(super) fn in_document(source: &Value) -> Standing {
    Standing {
        level: source["availability"].as_str().and_then(Level::of),
        popularity: source["popularity"].as_u64().and_then(|grade| u8::try_from(grade).ok()).unwrap_or(0),
    }
}
