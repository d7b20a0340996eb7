//! The shop's own fraud check, asked over HTTP before a card is charged. What is sent and answered stands in
//! docs/fraud-check.md; nothing in it names a person or a card.

use std::time::Duration;

use async_trait::async_trait;
use chassis::config::Secret;
use chassis::http_client::{self, HttpClientSettings};
use chassis::resilience::{CallError, Guard, GuardSettings};
use reqwest::Client;
use serde::{Deserialize, Serialize};

use crate::usecases::ports::{Assessment, FraudCheck, PaymentFacts};

/// The answer is one word.
const LARGEST_ANSWER: usize = 4 * 1024;

/// A shop without one.
pub struct NoFraudCheck;

#[async_trait]
impl FraudCheck for NoFraudCheck {
    fn is_there(&self) -> bool {
        false
    }

    async fn assess(&self, _: &PaymentFacts) -> Assessment {
        Assessment::Pass
    }
}

pub struct HttpFraudCheck {
    http: Client,
    url: String,
    key: Secret,
    guard: Guard,
}

impl HttpFraudCheck {
    /// # Errors
    /// A client that cannot be made. Nothing is connected yet.
    pub fn new(url: &str, key: Secret, timeout: Duration) -> anyhow::Result<Self> {
        let http = http_client::new(HttpClientSettings {
            connect_timeout: timeout,
            total_timeout: timeout,
            idle_connections: 8,
        })?;
        // Asked once: an order waits for it, and the next try of the payment asks again anyway.
        let settings = GuardSettings { deadline: timeout, max_tries: 1, retry_budget: 0.0, ..GuardSettings::default() };
        Ok(Self { http, url: url.to_owned(), key, guard: Guard::new("fraud-check", settings) })
    }

    async fn ask(&self, facts: &PaymentFacts) -> Result<Assessment, Silence> {
        let request = self.http.post(&self.url).bearer_auth(self.key.open()).json(&Question::of(facts));
        let response = http_client::traced(request).send().await.map_err(|error| Silence::fault(describe(&error)))?;
        let status = response.status();
        if status != http::StatusCode::OK {
            return Err(Silence { is_fault: !status.is_client_error(), reason: format!("status {}", status.as_u16()) });
        }
        let body =
            http_client::bounded(response, LARGEST_ANSWER).await.map_err(|error| Silence::fault(&error.to_string()))?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| Silence::fault("an answer in another shape"))?;
        Ok(match answer.verdict {
            Word::Pass => Assessment::Pass,
            Word::Refuse => Assessment::Refuse,
        })
    }
}

#[async_trait]
impl FraudCheck for HttpFraudCheck {
    async fn assess(&self, facts: &PaymentFacts) -> Assessment {
        match self.guard.once_if(|| self.ask(facts), |silence| silence.is_fault).await {
            Ok(assessment) => assessment,
            Err(CallError::Failed(silence)) => Assessment::Silent(silence.reason),
            Err(CallError::Open { .. }) => Assessment::Silent("it rests after too many faults".to_owned()),
            Err(CallError::Deadline { .. }) => Assessment::Silent("no answer in time".to_owned()),
        }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    attempt_id: String,
    order_id: String,
    person: &'a str,
    region: &'a str,
    amount_minor: i64,
    currency: &'a str,
    country: &'a str,
    lines: usize,
    units: u64,
    placed_at: String,
}

impl<'a> Question<'a> {
    fn of(facts: &'a PaymentFacts) -> Self {
        Self {
            attempt_id: facts.attempt.to_string(),
            order_id: facts.order.to_string(),
            person: facts.person.as_str(),
            region: facts.region.code(),
            amount_minor: facts.amount.minor(),
            currency: facts.amount.currency().code(),
            country: &facts.country,
            lines: facts.lines,
            units: facts.units,
            placed_at: facts.placed_at.to_rfc3339(),
        }
    }
}

/// What else they say is theirs; a word we do not know is no answer.
#[derive(Deserialize)]
struct Answer {
    verdict: Word,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Pass,
    Refuse,
}

/// No answer that can be read.
struct Silence {
    reason: String,
    /// Counts against the check's health. What it refuses to look at (4xx) does not: whoever provokes such answers must not switch it off for
    /// everybody.
    is_fault: bool,
}

impl Silence {
    fn fault(reason: &str) -> Self {
        Self { reason: reason.to_owned(), is_fault: true }
    }
}

fn describe(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the connection broke"
    }
}
