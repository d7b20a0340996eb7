//! Documents whose time has come: found by the moment they carry, and written again under the revision they have.

use async_trait::async_trait;
use common::{Clock as _, Sku, SystemClock};
use serde_json::json;

use super::client::Failure;
use super::{ElasticProducts, document, down};
use crate::domain::product::Revision;
use crate::usecases::ports::products::{Applied, IndexDown, TurningIndex};

#[async_trait]
impl TurningIndex for ElasticProducts {
    async fn turned(&self, limit: usize) -> Result<Vec<Sku>, IndexDown> {
        let now = SystemClock.now().timestamp_millis();
        let query = json!({"size": limit, "_source": false, "query": {"range": {"turns_at": {"lte": now}}}, "sort": ["turns_at"]});
        let path = format!("{}/_search?request_cache=false", self.alias);
        let found = self.batches.call_if(|| self.client.post(&path, &query), Failure::is_fault).await.map_err(down)?;
        let hits = found["hits"]["hits"].as_array().into_iter().flatten();
        Ok(hits.filter_map(|hit| Sku::parse(hit["_id"].as_str()?).ok()).collect())
    }

    async fn renew(&self, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        self.write(&self.alias, revisions, document::renewal).await
    }
}
