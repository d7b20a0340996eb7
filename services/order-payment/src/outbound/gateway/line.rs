//! The line to one gateway: one HTTP client that never follows a redirect, a key, bounds of time and size, and a breaker per
//! operation, so that a gateway whose captures hang can still be asked.

use std::time::Duration;

use bytes::Bytes;
use chassis::config::Secret;
use chassis::http_client::{self, HttpClientSettings};
use chassis::resilience::{CallError, Guard, GuardSettings};
use chrono::NaiveDate;
use reqwest::{Client, RequestBuilder};
use tracing::Instrument as _;

use crate::domain::{Answer, Attempt, Call};
use crate::metrics;

/// One answer: an intent with its charge has six kilobytes, a page of a hundred of them a third of this.
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;
/// A settlement file: a million rows of a hundred and fifty bytes.
const LARGEST_SETTLEMENT: usize = 192 * 1024 * 1024;
/// It is read once a day, by nobody who waits.
const SETTLEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Above the gateway's slowest honest answer; whoever waits is our own worker, never a shopper.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Faults in a row of one operation before it rests. Each costs its worker up to ten seconds.
const FAULTS: u32 = 5;
const REST: Duration = Duration::from_secs(5);
/// Pages of the list: a million intents in the window, beyond any day of this shop.
pub(super) const MOST_PAGES: usize = 10_000;

pub(super) struct Line {
    http: Client,
    base_url: String,
    api_key: Secret,
    guards: Guards,
    /// The longest a call takes.
    deadline: Duration,
    /// Folder of the settlement files; empty when there are none.
    settlement_url: String,
}

struct Guards {
    create: Guard,
    confirm: Guard,
    capture: Guard,
    cancel: Guard,
    refund: Guard,
    look: Guard,
}

impl Guards {
    fn new([create, confirm, capture, cancel, refund, look]: [&'static str; 6], deadline: Duration) -> Self {
        let settings =
            GuardSettings { deadline, failure_threshold: FAULTS, cooldown: REST, max_tries: 1, retry_budget: 0.0 };
        let guard = |name| Guard::new(name, settings);
        Self {
            create: guard(create),
            confirm: guard(confirm),
            capture: guard(capture),
            cancel: guard(cancel),
            refund: guard(refund),
            look: guard(look),
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

impl Line {
    /// `names` of the breakers: create, confirm, capture, cancel, refund, look.
    pub fn new(names: [&'static str; 6], base_url: &str, api_key: Secret, timeout: Duration) -> anyhow::Result<Self> {
        let http = http_client::new(HttpClientSettings {
            connect_timeout: timeout.min(Duration::from_secs(2)),
            total_timeout: timeout,
            idle_connections: 8,
        })?;
        let base_url = base_url.trim_end_matches('/').to_owned();
        // The client's own time-out comes first, because it tells a call that was never sent from one without an answer.
        let deadline = timeout + Duration::from_secs(1);
        let guards = Guards::new(names, deadline);
        Ok(Self { http, base_url, api_key, guards, deadline, settlement_url: String::new() })
    }

    pub fn settled_at(self, url: &str) -> Self {
        Self { settlement_url: url.trim_end_matches('/').to_owned(), ..self }
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base_url)).bearer_auth(self.api_key.open())
    }

    pub fn get(&self, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base_url)).bearer_auth(self.api_key.open()).query(query)
    }

    /// Sends a call that changes something; `read` says what the answer means.
    pub async fn change(
        &self,
        call: Call,
        attempt: &Attempt,
        request: RequestBuilder,
        read: impl Fn(u16, Option<Duration>, &[u8]) -> Answer,
    ) -> Answer {
        let span = tracing::info_span!("gateway.call", otel.kind = "client", payment.operation = call.code(), order.id = %attempt.order);
        let sent = || async {
            let (status, retry_after, body) = exchange(request).await?;
            match read(status, retry_after, &body) {
                answer if is_fault(&answer) => Err(answer),
                answer => Ok(answer),
            }
        };
        let outcome = self.guards.of(call).once_if(sent, is_fault).instrument(span).await;
        let answer = flatten(outcome).unwrap_or_else(|answer| answer);
        metrics::gateway_call(call.code(), answer.label());
        if let Answer::Unknown(reason) = &answer {
            tracing::warn!(order.id = %attempt.order, operation = call.code(), reason, "the gateway's answer is unknown");
        }
        answer
    }

    /// Asks something that changes nothing.
    pub async fn ask<T>(
        &self,
        request: RequestBuilder,
        read: impl Fn(u16, &[u8]) -> Result<T, Answer>,
    ) -> Result<T, Answer> {
        let asked = || async {
            let (status, _, body) = exchange(request).await?;
            read(status, &body)
        };
        flatten(self.guards.look.once_if(asked, is_fault).await)
    }

    /// Several requests that are one look end in the time of one: a claim of an attempt covers no more.
    pub async fn in_time<T>(&self, asked: impl Future<Output = Result<T, Answer>>) -> Result<T, Answer> {
        let late = |_| Err(Answer::Unknown("no answer in time".to_owned()));
        tokio::time::timeout(self.deadline, asked).await.unwrap_or_else(late)
    }

    /// The settlement file of a day; `None` when there is none, or none yet.
    pub async fn settlement(&self, day: NaiveDate) -> Result<Option<Bytes>, String> {
        if self.settlement_url.is_empty() {
            return Ok(None);
        }
        let request = self.http.get(format!("{}/{day}", self.settlement_url)).bearer_auth(self.api_key.open());
        let response = request.timeout(SETTLEMENT_TIMEOUT).send().await.map_err(|error| error.to_string())?;
        match response.status().as_u16() {
            200 => {
                http_client::bounded(response, LARGEST_SETTLEMENT).await.map(Some).map_err(|error| error.to_string())
            }
            404 => Ok(None),
            status => Err(format!("status {status}")),
        }
    }
}

/// Answers that count against the gateway's health.
pub(super) fn is_fault(answer: &Answer) -> bool {
    matches!(answer, Answer::Unknown(_) | Answer::NotSent | Answer::Throttled(_))
}

/// The answer of a look, counted.
pub(super) fn looked(answer: Result<Answer, Answer>) -> Answer {
    let answer = answer.unwrap_or_else(|answer| answer);
    metrics::gateway_call("look", answer.label());
    answer
}

/// `Retry-After` in whole seconds; anything else (a date, a negative number) is as if it were not there.
pub(super) fn retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// An id of theirs as one segment of a path: whatever it is, it cannot lead elsewhere.
pub(super) fn segment(id: &str) -> String {
    id.chars().filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')).collect()
}

/// Sends and reads; an error says whether anything was sent.
async fn exchange(request: RequestBuilder) -> Result<(u16, Option<Duration>, Bytes), Answer> {
    let response = http_client::traced(request).send().await.map_err(|error| unsent_or_unknown(&error))?;
    let status = response.status().as_u16();
    let wish = response.headers().get(http::header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    let body =
        http_client::bounded(response, LARGEST_ANSWER).await.map_err(|error| Answer::Unknown(error.to_string()))?;
    Ok((status, wish, body))
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
        // Not called at all: whatever the attempt was before, it still is.
        CallError::Open { .. } => Answer::NotSent,
        CallError::Deadline { .. } => Answer::Unknown("no answer in time".to_owned()),
        CallError::Failed(answer) => answer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_theirs_cannot_lead_elsewhere() {
        assert_eq!(segment("../../refunds?x=1"), "refundsx1");
    }

    #[test]
    fn a_wish_to_wait_is_seconds_or_nothing() {
        let date = "Wed, 21 Oct 2026 07:28:00 GMT";
        for (text, expected) in [("3600", Some(3600)), (" 7 ", Some(7)), ("-1", None), (date, None), ("soon", None)] {
            assert_eq!(retry_after(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
