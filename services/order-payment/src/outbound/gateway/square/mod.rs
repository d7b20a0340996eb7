//! The Square Payments API: JSON both ways, the idempotency key in the body, one call that makes and authorises a payment, and
//! a cancel by that key for a payment whose id never reached us.
//!
//! How its model becomes ours is told in docs/adr/0026. Two things follow for this file: `Call::Create` authorises, so that the
//! use case sends it from `SENT` and behind the gate; `Call::Confirm` does not exist and is never sent.

mod classify;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use chassis::config::Secret;
use chrono::{DateTime, NaiveDate, SecondsFormat};
use common::Region;
use futures::stream::{self, StreamExt as _};
use messaging::Epoch;
use tracing::Instrument as _;

use super::line::{self, CALL_TIMEOUT, Line, MOST_PAGES};
use crate::domain::refund::MOST_REFUNDS;
use crate::domain::{Answer, Attempt, Call, Intent, Look};
use crate::usecases::ports::Gateway;

/// The release of the API this was written against.
const VERSION: &str = "2025-01-23";
/// A payment is made within minutes of its attempt; the list is looked through so far around it (seconds).
const AROUND_S: i64 = 86_400;
/// Pages looked through for one payment: two thousand payments. Asking again with the key is the better question.
const MOST_SEARCHED: usize = 20;
/// Refunds of one payment that are asked for at a time: this API shows them one by one, and all that one order can have must fit
/// into the time of one look.
const REFUNDS_TOGETHER: usize = 8;

pub struct Square {
    line: Line,
    region: Region,
    epoch: Epoch,
}

impl Square {
    /// `base_url` without a trailing slash, for example `https://connect.squareup.com`.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(base_url: &str, access_token: Secret, region: Region, epoch: Epoch) -> anyhow::Result<Self> {
        Self::with_timeout(base_url, access_token, region, epoch, CALL_TIMEOUT)
    }

    /// As [`Square::new`]; tests do not wait ten seconds for an answer that never comes.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn with_timeout(
        base_url: &str,
        access_token: Secret,
        region: Region,
        epoch: Epoch,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let names =
            ["square-create", "square-confirm", "square-capture", "square-cancel", "square-refund", "square-look"];
        Ok(Self { line: Line::new(names, base_url, access_token, timeout)?, region, epoch })
    }

    /// Days are settled by the files below `url`; without this no day is.
    #[must_use]
    pub fn settled_at(self, url: &str) -> Self {
        Self { line: self.line.settled_at(url), ..self }
    }

    fn get(&self, path: &str, query: &[(&str, String)]) -> reqwest::RequestBuilder {
        self.line.get(path, query).header("square-version", VERSION)
    }

    async fn payment(&self, id: &str) -> Result<classify::Shown, Answer> {
        let path = format!("/v2/payments/{}", line::segment(id));
        self.line.ask(self.get(&path, &[]), classify::payment).await
    }

    /// The payment of an attempt among those made around its time.
    async fn search(&self, attempt: &Attempt) -> Result<Answer, Answer> {
        let made_at = attempt.created_at.timestamp();
        let mut cursor = None;
        for _ in 0..MOST_SEARCHED {
            let page = self.page(made_at - AROUND_S, made_at + AROUND_S, cursor.take()).await?;
            let order = attempt.order.to_string();
            let ours =
                |intent: &Intent| intent.order.as_deref() == Some(&order) && intent.attempt == Some(attempt.number);
            if let Some(found) = page.intents.into_iter().find(ours) {
                return Ok(Answer::Intent(found));
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(Answer::NotFound);
            }
        }
        Err(Answer::Unknown("too many payments around the time of the attempt".to_owned()))
    }

    /// The refund of an attempt among those of its payment.
    async fn refund(&self, attempt: &Attempt) -> Result<Answer, Answer> {
        let shown = self.payment(attempt.intent.as_deref().unwrap_or_default()).await?;
        let many = shown.refund_ids.len() > MOST_REFUNDS;
        // The one in doubt is young, and the young ones come last.
        let ids = shown.refund_ids.into_iter().rev().take(MOST_REFUNDS);
        let looks: Vec<_> = ids.map(|id| self.refund_if(id, attempt.number)).collect();
        let mut looks = stream::iter(looks).buffered(REFUNDS_TOGETHER);
        while let Some(found) = looks.next().await {
            if let Some(answer) = found? {
                return Ok(answer);
            }
        }
        // Somebody refunds at the gateway's own pages too.
        if many {
            return Err(Answer::Unknown("more refunds of one payment than are looked at".to_owned()));
        }
        Ok(Answer::NotFound)
    }

    /// A refund by its id, if it is the one of attempt `number`.
    async fn refund_if(&self, id: String, number: u32) -> Result<Option<Answer>, Answer> {
        let path = format!("/v2/refunds/{}", line::segment(&id));
        let read = |status, body: &[u8]| classify::refund_of(status, body, number);
        self.line.ask(self.get(&path, &[]), read).await
    }

    async fn page(&self, from: i64, to: i64, cursor: Option<String>) -> Result<classify::Page, Answer> {
        let time =
            |unix| DateTime::from_timestamp(unix, 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut query = vec![("begin_time", time(from)), ("end_time", time(to)), ("limit", "100".to_owned())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        self.line.ask(self.get("/v2/payments", &query), classify::page).await
    }
}

#[async_trait]
impl Gateway for Square {
    async fn send(&self, call: Call, attempt: &Attempt) -> Answer {
        let Some((path, body)) = wire::request(call, attempt, self.region) else {
            return Answer::Misconfigured("this gateway authorises with its first call".to_owned());
        };
        let request = self
            .line
            .post(&path)
            .header("square-version", VERSION)
            .header("shopsphere-epoch", self.epoch.get())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body);
        let read = |status, retry_after, body: &[u8]| classify::change(call, status, retry_after, body);
        self.line.change(call, attempt, request, read).await
    }

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer {
        let span = tracing::info_span!("gateway.look", otel.kind = "client", order.id = %attempt.order);
        let answer = async {
            match look {
                Look::Intent => {
                    let shown = self.payment(attempt.intent.as_deref().unwrap_or_default()).await;
                    shown.map(|shown| shown.answer)
                }
                Look::Reference => self.search(attempt).await,
                Look::Refund => self.refund(attempt).await,
            }
        };
        line::looked(self.line.in_time(answer.instrument(span)).await)
    }

    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String> {
        let mut intents: Vec<Intent> = Vec::new();
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            // Their end is exclusive, ours is not.
            let page = self.page(from, to + 1, cursor.take()).await.map_err(|answer| format!("{answer:?}"))?;
            intents.extend(page.intents);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(intents);
            }
        }
        Err(format!("more than {MOST_PAGES} pages"))
    }

    async fn settlement(&self, _: &str, day: NaiveDate) -> Result<Option<bytes::Bytes>, String> {
        self.line.settlement(day).await
    }
}
