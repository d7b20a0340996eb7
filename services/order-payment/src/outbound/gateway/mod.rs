//! The payment gateway over its PaymentIntents wire API: form-encoded requests, JSON answers, an idempotency key with every
//! call that changes something. The real provider and the local simulator differ by configuration only.
//!
//! Decided here: how a call looks on the wire, and that redirects are never followed and answers are bounded in size and
//! time. Decided in `classify`: what an answer means. A circuit breaker stands before each operation; nothing is retried
//! here, because a retry of a payment is a decision with a commit before it.

mod classify;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use chassis::config::Secret;
use chassis::http_client::{self, HttpClientSettings};
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::Region;
use messaging::Epoch;
use reqwest::{Client, RequestBuilder};
use tracing::Instrument as _;

use crate::domain::keys::gateway_key;
use crate::domain::{Answer, Attempt, Call, Intent, Look};
use crate::metrics;
use crate::usecases::ports::Gateway;

/// One answer: an intent has two kilobytes, a page of a hundred of them a tenth of this.
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;
/// Above the gateway's slowest honest answer; whoever waits is our own worker, never a shopper.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Faults in a row of one operation before it rests. Each costs its worker up to ten seconds.
const FAULTS: u32 = 5;
const REST: Duration = Duration::from_secs(5);
/// Pages of the list: a hundred thousand intents in the window.
const MOST_PAGES: usize = 1_000;

pub struct PaymentIntents {
    http: Client,
    base_url: String,
    api_key: Secret,
    region: Region,
    epoch: Epoch,
    guards: Guards,
}

/// One breaker per operation: a gateway whose captures hang can still be asked.
struct Guards {
    create: Guard,
    confirm: Guard,
    capture: Guard,
    cancel: Guard,
    refund: Guard,
    look: Guard,
}

impl Guards {
    fn new(timeout: Duration) -> Self {
        // The client's own time-out comes first, because it tells a call that was never sent from one without an answer.
        let settings = GuardSettings {
            deadline: timeout + Duration::from_secs(1),
            failure_threshold: FAULTS,
            cooldown: REST,
            max_tries: 1,
            retry_budget: 0.0,
        };
        Self {
            create: Guard::new("gateway-create", settings),
            confirm: Guard::new("gateway-confirm", settings),
            capture: Guard::new("gateway-capture", settings),
            cancel: Guard::new("gateway-cancel", settings),
            refund: Guard::new("gateway-refund", settings),
            look: Guard::new("gateway-look", settings),
        }
    }

    fn of(&self, call: Call) -> &Guard {
        match call {
            Call::Create => &self.create,
            Call::Confirm => &self.confirm,
            Call::Capture => &self.capture,
            Call::Cancel => &self.cancel,
            Call::Refund => &self.refund,
        }
    }
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
        let settings = HttpClientSettings {
            connect_timeout: timeout.min(Duration::from_secs(2)),
            total_timeout: timeout,
            idle_connections: 8,
        };
        let http = http_client::new(settings)?;
        let base_url = base_url.trim_end_matches('/').to_owned();
        Ok(Self { http, base_url, api_key, region, epoch, guards: Guards::new(timeout) })
    }

    /// A call that changes something. The body is reproducible byte for byte; what changes from try to try travels in headers.
    fn change(&self, call: Call, attempt: &Attempt) -> RequestBuilder {
        let body = wire::body(call, attempt, self.region);
        self.http
            .post(format!("{}{}", self.base_url, wire::path(call, attempt)))
            .bearer_auth(self.api_key.open())
            .header("idempotency-key", gateway_key(self.region, attempt.order, attempt.number, call))
            .header("shopsphere-epoch", self.epoch.get())
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
    }

    fn question(&self, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base_url)).bearer_auth(self.api_key.open()).query(query)
    }

    async fn ask<T>(
        &self,
        request: RequestBuilder,
        read: impl Fn(u16, &[u8]) -> Result<T, Answer>,
    ) -> Result<T, Answer> {
        let outcome = self
            .guards
            .look
            .once_if(
                || async {
                    let (status, _, body) = exchange(try_clone(&request)?).await?;
                    read(status, &body)
                },
                classify::is_fault,
            )
            .await;
        flatten(outcome)
    }
}

#[async_trait]
impl Gateway for PaymentIntents {
    async fn send(&self, call: Call, attempt: &Attempt) -> Answer {
        let span = tracing::info_span!("gateway.call", otel.kind = "client", payment.operation = call.code(), order.id = %attempt.order);
        let outcome = async {
            let request = self.change(call, attempt);
            let sent = || async {
                let (status, retry_after, body) = exchange(try_clone(&request)?).await?;
                match classify::change(call, status, retry_after, &body) {
                    answer if classify::is_fault(&answer) => Err(answer),
                    answer => Ok(answer),
                }
            };
            self.guards.of(call).once_if(sent, classify::is_fault).await
        }
        .instrument(span)
        .await;
        let answer = flatten(outcome).unwrap_or_else(|answer| answer);
        metrics::gateway_call(call.code(), answer.label());
        if let Answer::Unknown(reason) = &answer {
            tracing::warn!(order.id = %attempt.order, operation = call.code(), reason, "the gateway's answer is unknown");
        }
        answer
    }

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer {
        let span = tracing::info_span!("gateway.look", otel.kind = "client", order.id = %attempt.order);
        let intent = attempt.intent.clone().unwrap_or_default();
        let answer = async {
            match look {
                Look::Intent => {
                    self.ask(
                        self.question(&format!("/v1/payment_intents/{}", wire::segment(&intent)), &[]),
                        classify::intent,
                    )
                    .await
                }
                Look::Reference => {
                    let query =
                        [("query", format!("metadata['order_id']:'{}'", attempt.order)), ("limit", "100".to_owned())];
                    let read = |status, body: &[u8]| classify::search(status, body, attempt.number);
                    self.ask(self.question("/v1/payment_intents/search", &query), read).await
                }
                Look::Refund => {
                    let query = [("payment_intent", intent.clone()), ("limit", "100".to_owned())];
                    let read = |status, body: &[u8]| classify::refunds(status, body, attempt.number);
                    self.ask(self.question("/v1/refunds", &query), read).await
                }
            }
        }
        .instrument(span)
        .await
        .unwrap_or_else(|answer| answer);
        metrics::gateway_call("look", answer.label());
        answer
    }

    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String> {
        let mut intents: Vec<Intent> = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query =
                vec![("created[gte]", from.to_string()), ("created[lte]", to.to_string()), ("limit", "100".to_owned())];
            query.extend(after.take().map(|id| ("starting_after", id)));
            let page = self
                .ask(self.question("/v1/payment_intents", &query), classify::page)
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
}

fn try_clone(request: &RequestBuilder) -> Result<RequestBuilder, Answer> {
    // Bodies are bytes, so this always works.
    request.try_clone().ok_or_else(|| Answer::Misconfigured("the request cannot be sent".to_owned()))
}

/// Sends and reads; an error says whether anything was sent.
async fn exchange(request: RequestBuilder) -> Result<(u16, Option<Duration>, bytes::Bytes), Answer> {
    let response = http_client::traced(request).send().await.map_err(|error| unsent_or_unknown(&error))?;
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get(http::header::RETRY_AFTER).and_then(|value| classify::retry_after(value.to_str().ok()?));
    let body =
        http_client::bounded(response, LARGEST_ANSWER).await.map_err(|error| Answer::Unknown(error.to_string()))?;
    Ok((status, retry_after, body))
}

/// A connection that was never made carried nothing. Everything else may have arrived.
fn unsent_or_unknown(error: &reqwest::Error) -> Answer {
    if error.is_connect() {
        Answer::NotSent
    } else if error.is_builder() {
        Answer::Misconfigured("the request cannot be made".to_owned())
    } else if error.is_timeout() {
        Answer::Unknown("no answer in time".to_owned())
    } else {
        Answer::Unknown("the connection broke".to_owned())
    }
}

fn flatten<T>(outcome: Result<T, CallError<Answer>>) -> Result<T, Answer> {
    outcome.map_err(|error| match error {
        CallError::Open { .. } => Answer::NotSent,
        CallError::Deadline { .. } => Answer::Unknown("no answer in time".to_owned()),
        CallError::Failed(answer) => answer,
    })
}
