//! The payment gateways. `PaymentIntents` and `Square` are two wires behind one port; `Gateways` hands each attempt to the one
//! it was begun with; `line` is what they share.
//!
//! The first wire is form-encoded requests, JSON answers, an idempotency key in a header with every call that changes
//! something. The real provider and the local simulator differ by configuration only.
//!
//! Decided here: how a call looks on the wire. Decided in `classify`: what an answer means. Decided in `line`: that redirects
//! are never followed, that answers are bounded in size and time, and that a circuit breaker stands before each operation.
//! Nothing is retried here, because a retry of a payment is a decision with a commit before it.

mod all;
mod classify;
mod line;
pub mod square;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use chassis::config::Secret;
use chrono::NaiveDate;
use common::Region;
use messaging::Epoch;
use reqwest::RequestBuilder;
use tracing::Instrument as _;

use crate::domain::keys::call_key;
use crate::domain::{Answer, Attempt, Call, Intent, Look};
use crate::usecases::ports::Gateway;
pub use all::Gateways;
pub use line::CALL_TIMEOUT;
use line::{Line, MOST_PAGES};
pub use square::Square;

pub struct PaymentIntents {
    line: Line,
    region: Region,
    epoch: Epoch,
}

impl PaymentIntents {
    /// `base_url` without a trailing slash, for example `https://gateway.example`.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(base_url: &str, api_key: Secret, region: Region, epoch: Epoch) -> anyhow::Result<Self> {
        Self::with_timeout(base_url, api_key, region, epoch, CALL_TIMEOUT)
    }

    /// As [`PaymentIntents::new`]; tests do not wait ten seconds for an answer that never comes.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn with_timeout(
        base_url: &str,
        api_key: Secret,
        region: Region,
        epoch: Epoch,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let names = [
            "gateway-create",
            "gateway-confirm",
            "gateway-capture",
            "gateway-cancel",
            "gateway-refund",
            "gateway-look",
        ];
        Ok(Self { line: Line::new(names, base_url, api_key, timeout)?, region, epoch })
    }

    /// Days are settled by the files below `url`; without this no day is.
    #[must_use]
    pub fn settled_at(self, url: &str) -> Self {
        Self { line: self.line.settled_at(url), ..self }
    }

    /// A call that changes something. The body is reproducible byte for byte; what changes from try to try travels in headers.
    fn change(&self, call: Call, attempt: &Attempt) -> RequestBuilder {
        self.line
            .post(&wire::path(call, attempt))
            .header("idempotency-key", call_key(self.region, attempt, call))
            .header("shopsphere-epoch", self.epoch.get())
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(wire::body(call, attempt, self.region))
    }
}

#[async_trait]
impl Gateway for PaymentIntents {
    async fn send(&self, call: Call, attempt: &Attempt) -> Answer {
        let read = |status, retry_after, body: &[u8]| classify::change(call, status, retry_after, body);
        self.line.change(call, attempt, self.change(call, attempt), read).await
    }

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer {
        let span = tracing::info_span!("gateway.look", otel.kind = "client", order.id = %attempt.order);
        let intent = attempt.intent.clone().unwrap_or_default();
        let answer = async {
            match look {
                Look::Intent => {
                    let path = format!("/v1/payment_intents/{}", line::segment(&intent));
                    self.line.ask(self.line.get(&path, &[]), classify::intent).await
                }
                Look::Reference => {
                    let query =
                        [("query", format!("metadata['order_id']:'{}'", attempt.order)), ("limit", "100".to_owned())];
                    let read = |status, body: &[u8]| classify::search(status, body, attempt.number);
                    self.line.ask(self.line.get("/v1/payment_intents/search", &query), read).await
                }
                Look::Refund => {
                    let query = [("payment_intent", intent.clone()), ("limit", "100".to_owned())];
                    let read = |status, body: &[u8]| classify::refunds(status, body, attempt.number);
                    self.line.ask(self.line.get("/v1/refunds", &query), read).await
                }
            }
        };
        line::looked(answer.instrument(span).await)
    }

    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String> {
        let mut intents: Vec<Intent> = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![
                ("created[gte]", from.to_string()),
                ("created[lte]", to.to_string()),
                ("limit", "100".to_owned()),
                // The charge of each says what of it went back: no call more.
                ("expand[]", "data.latest_charge".to_owned()),
            ];
            query.extend(after.take().map(|id| ("starting_after", id)));
            let page = self
                .line
                .ask(self.line.get("/v1/payment_intents", &query), classify::page)
                .await
                .map_err(|answer| format!("{answer:?}"))?;
            after = page.last_id.filter(|_| page.has_more);
            intents.extend(page.intents);
            if after.is_none() {
                return Ok(intents);
            }
        }
        Err(format!("more than {MOST_PAGES} pages"))
    }

    async fn settlement(&self, _: &str, day: NaiveDate) -> Result<Option<bytes::Bytes>, String> {
        self.line.settlement(day).await
    }
}
