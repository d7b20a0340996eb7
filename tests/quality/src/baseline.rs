//! What we are compared with: an index with one English field of all text, asked for any word. Nothing of ours is in it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chassis::http_client::{self, HttpClientSettings};
use serde_json::{Value, json};
use testkit::servers;

use crate::data::{Collection, Row};

/// Products sent at once, about a megabyte.
const PORTION: usize = 500;
/// Products asked for: as many as one page of ours has.
pub const DEEP: usize = 100;

pub struct Baseline {
    http: reqwest::Client,
    server: String,
    index: String,
}

pub fn client() -> anyhow::Result<reqwest::Client> {
    http_client::new(HttpClientSettings { total_timeout: Duration::from_secs(60), ..HttpClientSettings::default() })
}

impl Baseline {
    pub async fn fill(collection: &Collection) -> anyhow::Result<Self> {
        let index = format!("quality-baseline-{}", common::ids::random().simple());
        let baseline = Self { http: client()?, server: servers().elasticsearch_url, index };
        let similarity = json!({"default": {"type": "BM25", "k1": 1.2, "b": 0.75}});
        let body = json!({
            "settings": {"index": {"number_of_shards": 1, "number_of_replicas": 0, "similarity": similarity}},
            "mappings": {"dynamic": false, "properties": {"text": {"type": "text", "analyzer": "english"}}}
        });
        baseline.send(baseline.http.put(baseline.url("")), body.to_string()).await.context("the baseline's index")?;
        for rows in collection.rows.chunks(PORTION) {
            let mut lines = String::new();
            for row in rows {
                lines += &format!("{}\n{}\n", json!({"index": {"_id": row.id}}), json!({"text": all_text(row)}));
            }
            let answer = baseline.send(baseline.http.post(baseline.url("/_bulk")), lines).await?;
            anyhow::ensure!(answer["errors"] == false, "the baseline's index refused a product");
        }
        baseline.send(baseline.http.post(baseline.url("/_refresh")), String::new()).await?;
        Ok(baseline)
    }

    /// Products in their order, and how long it took.
    pub async fn ask(&self, text: &str) -> anyhow::Result<(Vec<String>, f64)> {
        let body = json!({"size": DEEP, "_source": false, "query": {"match": {"text": text}}});
        let began = Instant::now();
        let answer = self.send(self.http.post(self.url("/_search?request_cache=false")), body.to_string()).await?;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        let hits = answer["hits"]["hits"].as_array().context("hits")?;
        Ok((hits.iter().filter_map(|hit| hit["_id"].as_str().map(str::to_owned)).collect(), took))
    }

    pub async fn server(&self) -> anyhow::Result<String> {
        let answer = self.send(self.http.get(&self.server), String::new()).await?;
        Ok(format!("Elasticsearch {}", answer["version"]["number"].as_str().unwrap_or("of unknown version")))
    }

    pub async fn close(self) -> anyhow::Result<()> {
        self.send(self.http.delete(self.url("")), String::new()).await.map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{}{path}", self.server, self.index)
    }

    async fn send(&self, request: reqwest::RequestBuilder, body: String) -> anyhow::Result<Value> {
        let request = request.header("content-type", "application/json");
        Ok(request.body(body).send().await?.error_for_status()?.json().await?)
    }
}

fn all_text(row: &Row) -> String {
    let mut texts = vec![&row.title, &row.description, &row.supplier, &row.name];
    texts.extend(row.eans.iter().chain(&row.values));
    texts.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}
