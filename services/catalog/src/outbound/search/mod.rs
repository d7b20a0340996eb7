//! The search index in Elasticsearch, spoken to in its plain REST API.
//!
//! Decided here: names (an alias that everybody uses, numbered indexes behind it) and how the index is called. What a
//! product looks like in it is said by `document`, what is asked by `query`, what makes a product fit by `relevance`, what the
//! answers mean by `answer`, how searches travel by `grouping`, how an index comes into being by `build`, and how it is compared with the store by `audit`.
//!
//! A search asks once. Only when the words fit no product at all, it asks again with the corrected ones, and only when those do
//! not either, a third and last time for nearly right ones: few searches pay for what few searches need.

mod answer;
mod audit;
mod build;
mod client;
mod document;
mod grouping;
mod query;
mod relevance;
mod standings;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chassis::problem::chain;
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::{Clock as _, Region, Sku, SystemClock};
use serde_json::{Value, json};

use crate::domain::product::{CategoryPath, Revision};
use crate::domain::ranking::Interests;
use crate::usecases::ports::products::{Applied, Completion, Found, Hit, IndexDown, Page, ProductIndex, Reading};

use crate::usecases::ports::standings::Standings;

pub use build::Prepared;
use client::{Client, Failure};
use document::Lines;
pub use grouping::SearchSettings;
use grouping::{Answer, Lanes, Remembered};
use relevance::Strictness;
pub use relevance::Weights;

/// Longest a batch of changes may take; a page never waits for one.
const BATCH_DEADLINE: Duration = Duration::from_secs(20);

/// The index of one region.
#[derive(Clone)]
pub struct ElasticProducts {
    client: Client,
    alias: String,
    region: Region,
    searches: Guard,
    batches: Guard,
    lanes: Lanes,
    remembered: Remembered,
    weights: Weights,
    /// Who is asked how products stand, before they are written.
    known: Option<Arc<dyn Standings>>,
    /// How long the index may take, as it is told.
    give_up: String,
}

/// The index gives up by itself a little before we do: after four fifths of our deadline.
fn give_up(deadline: Duration) -> String {
    format!("{}ms", deadline.as_millis() * 4 / 5)
}

impl ElasticProducts {
    /// Connects when first used. `prefix` begins every name; `deadline` bounds each search.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(url: &str, prefix: &str, region: Region, deadline: Duration) -> anyhow::Result<Self> {
        Self::with(url, prefix, region, SearchSettings { deadline, remembered: Duration::ZERO, grouped: true })
    }

    /// As [`Self::new`], with everything said about how searches travel.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn with(url: &str, prefix: &str, region: Region, settings: SearchSettings) -> anyhow::Result<Self> {
        let (client, deadline) = (Client::new(url)?, settings.deadline);
        let alias = format!("{prefix}products-{}", region.code());
        Ok(Self {
            lanes: Lanes::new(client.clone(), &alias, settings.grouped),
            give_up: give_up(deadline),
            remembered: Remembered::new(settings.remembered),
            client,
            alias,
            region,
            // A page is not worth a second try: whoever reads it will try again sooner.
            searches: Guard::new("elasticsearch", GuardSettings { deadline, max_tries: 1, ..GuardSettings::default() }),
            batches: Guard::new(
                "elasticsearch-bulk",
                GuardSettings { deadline: BATCH_DEADLINE, max_tries: 1, ..GuardSettings::default() },
            ),
            weights: Weights::default(),
            known: None,
        })
    }

    /// The same index, asked with other weights. The shop never does; whoever tunes them has to.
    #[must_use]
    pub fn weighing(self, weights: Weights) -> Self {
        Self { weights, ..self }
    }

    /// The same index; what is written into it says how products stand, as `known` knows it.
    #[must_use]
    pub fn knowing(self, known: Arc<dyn Standings>) -> Self {
        Self { known: Some(known), ..self }
    }

    /// The name that everybody uses.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// # Errors
    /// The server or the alias does not answer.
    pub async fn ping(&self) -> Result<(), IndexDown> {
        self.client.head(&self.alias).await.map_err(|failure| IndexDown(chain(&failure)))
    }

    /// What a search asks of the index, as it is sent: for whoever wants to try or to measure it without us.
    pub fn question(&self, page: Page<'_>) -> String {
        self.bounded(query::search(page, page.query.text.as_deref(), Strictness::Exact, self.weights, self.region))
    }

    fn bounded(&self, mut body: Value) -> String {
        body["timeout"] = json!(self.give_up);
        body.to_string()
    }

    async fn ask(&self, body: Value) -> Result<Arc<Answer>, IndexDown> {
        let question = Bytes::from(self.bounded(body));
        let asked =
            async { self.searches.call_if(|| self.lanes.ask(question.clone()), Failure::is_fault).await.map_err(down) };
        self.remembered.or_ask(question.clone(), asked).await
    }

    async fn read(
        &self,
        page: Page<'_>,
        text: Option<&str>,
        strictness: Strictness,
        reading: Reading,
    ) -> Result<Found, IndexDown> {
        let answer = self.ask(query::search(page, text, strictness, self.weights, self.region)).await?;
        answer::found(&answer, page.query, reading).map_err(IndexDown)
    }

    /// Makes what was written visible to searches; for tests, which do not wait for the next refresh.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn refresh(&self) -> Result<(), IndexDown> {
        let path = format!("{}/_refresh", self.alias);
        self.remembered.forget_all();
        self.batches.call(|| self.client.post(&path, &Value::Null)).await.map(|_| ()).map_err(down)
    }

    async fn write(&self, index: &str, revisions: &[Revision], lines: Lines) -> Result<Applied, IndexDown> {
        if revisions.is_empty() {
            return Ok(Applied::default());
        }
        let standings = self.standing_of(revisions).await;
        let path = format!("{index}/_bulk?require_alias={}", index == self.alias);
        let mut applied = Applied::default();
        for request in lines(revisions, &standings, self.region, SystemClock.now()) {
            let answer = self
                .batches
                .call_if(|| self.client.post_lines(&path, request.clone()), Failure::is_fault)
                .await
                .map_err(down)?;
            applied = applied.and(answer::applied(&answer).map_err(IndexDown)?);
        }
        Ok(applied)
    }
}

#[async_trait]
impl ProductIndex for ElasticProducts {
    async fn apply(&self, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        self.write(&self.alias, revisions, document::bulk).await
    }

    #[tracing::instrument(name = "search.query", skip_all, fields(otel.kind = "client", db.system.name = "elasticsearch", search.size = page.size))]
    async fn search(&self, page: Page<'_>) -> Result<Found, IndexDown> {
        let text = page.query.text.as_deref();
        let first = self.read(page, text, Strictness::Exact, Reading::AsAsked).await?;
        if text.is_none() || first.without_filters > 0 {
            return Ok(first);
        }
        let corrected = first.corrected.as_deref();
        if corrected.is_some() {
            let second = self.read(page, corrected, Strictness::Exact, Reading::Corrected).await?;
            if second.without_filters > 0 {
                return Ok(Found { corrected: first.corrected, ..second });
            }
        }
        let last = self.read(page, corrected.or(text), Strictness::Loose, Reading::Loose).await?;
        Ok(Found { corrected: first.corrected, ..last })
    }

    #[tracing::instrument(name = "search.list", skip_all, fields(otel.kind = "client", db.system.name = "elasticsearch", search.size = size))]
    async fn list(
        &self,
        category: Option<&CategoryPath>,
        after: Option<&Sku>,
        size: usize,
        language: &str,
    ) -> Result<Vec<Hit>, IndexDown> {
        let answer = self.ask(query::list(category, after, size, language, self.region)).await?;
        answer::hits(&answer).map_err(IndexDown)
    }

    #[tracing::instrument(name = "search.interesting", skip_all, fields(otel.kind = "client", db.system.name = "elasticsearch", search.size = size))]
    async fn interesting(
        &self,
        category: Option<&CategoryPath>,
        interests: &Interests,
        size: usize,
        language: &str,
    ) -> Result<Vec<Hit>, IndexDown> {
        let answer = self.ask(query::interesting(category, interests, size, language, self.region)).await?;
        answer::hits(&answer).map_err(IndexDown)
    }

    async fn categories(&self) -> Result<Vec<(String, u64)>, IndexDown> {
        let answer = self.ask(query::categories(self.region)).await?;
        Ok(answer::categories(&answer))
    }

    async fn completions(&self, text: &str, language: &str) -> Result<Vec<Completion>, IndexDown> {
        let answer = self.ask(query::completions(text, language)).await?;
        Ok(answer::completions(&answer))
    }
}

fn down(error: CallError<Failure>) -> IndexDown {
    IndexDown(chain(&error))
}

/// An empty JSON object as a body.
fn nothing() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_gives_up_before_we_do_whatever_our_deadline_is() {
        assert_eq!(give_up(Duration::from_millis(500)), "400ms");
        assert_eq!(give_up(Duration::from_secs(3)), "2400ms");
    }
}
