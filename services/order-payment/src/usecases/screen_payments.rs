//! Before a charge is tried for the first time: does the person look like somebody who tests cards, and what does the shop's own
//! fraud check say? What is refused ends as declined, in one commit, and the gateway never hears of it.
//!
//! Decided here: when each is asked, and that an order waits while it depends on those ahead of it. Decided in
//! `domain::card_testing`: how many are too many.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use common::AttemptId;
use messaging::crash::{self, Boundary};

use super::ports::{Assessment, PaymentFacts};
use super::process_payment::{give_back_at, lease_covers_a_call};
use super::{App, Failure};
use crate::domain::{Attempt, Refusal, Tried, Verdict};
use crate::metrics;

/// How long an attempt waits for each of those ahead that it depends on: about what a payment takes.
const WAIT: Duration = Duration::seconds(1);
/// The most of them that count: when one of those ahead hangs, an order behind it is looked at twice a minute.
const MOST_WAITS: u32 = 30;
/// Attempts given back side by side: half of the connections, each for a commit.
const AT_ONCE: usize = 8;

/// Looks at what was just claimed: marks what is refused, gives back what has to wait, and returns the rest to be carried on.
/// One question for all of them, and none when there is no limit. Without an answer what was never tried waits.
pub(super) async fn screen(app: &App, claimed: Vec<Attempt>) -> Vec<Attempt> {
    let untried: Vec<AttemptId> =
        claimed.iter().filter(|attempt| attempt.is_untried()).map(|attempt| attempt.id).collect();
    if !app.rules.card_testing.is_on() || untried.is_empty() {
        return claimed;
    }
    let now = app.clock.now();
    let (go_on, wait) = match app.store.tried(&untried, now - app.rules.card_testing.within, now).await {
        Ok(tried) => judge(app, claimed, &tried, now),
        // Nothing new is tried; what is under way goes on.
        Err(error) => {
            tracing::warn!(error = %error, charges = untried.len(), "what else was tried is not known; new charges wait");
            let (new, others): (Vec<_>, Vec<_>) = claimed.into_iter().partition(Attempt::is_untried);
            (others, new.into_iter().map(|attempt| (attempt, now + WAIT)).collect())
        }
    };
    for portion in wait.chunks(AT_ONCE) {
        futures::future::join_all(portion.iter().map(|(attempt, due_at)| give_back_at(app, attempt, *due_at))).await;
    }
    go_on
}

type Waiting = Vec<(Attempt, DateTime<Utc>)>;

fn judge(
    app: &App,
    claimed: Vec<Attempt>,
    tried: &BTreeMap<AttemptId, Tried>,
    now: DateTime<Utc>,
) -> (Vec<Attempt>, Waiting) {
    let (mut go_on, mut wait) = (Vec::with_capacity(claimed.len()), Vec::new());
    for mut attempt in claimed {
        let seen = tried.get(&attempt.id).copied().unwrap_or_default();
        match app.rules.card_testing.judge(seen) {
            Verdict::Pass => go_on.push(attempt),
            Verdict::Wait => {
                metrics::screened("waits");
                let ahead = (seen.declined + seen.ahead).saturating_sub(app.rules.card_testing.most_declined);
                let waits = i32::try_from(ahead.clamp(1, MOST_WAITS)).unwrap_or(1);
                wait.push((attempt, now + WAIT * waits));
            }
            Verdict::Refuse => {
                refuse(&mut attempt, Refusal::CardTesting, now);
                go_on.push(attempt);
            }
        }
    }
    (go_on, wait)
}

fn refuse(attempt: &mut Attempt, refusal: Refusal, now: DateTime<Utc>) {
    attempt.refuse(refusal, now);
    metrics::screened(&refusal.code().to_ascii_lowercase());
    tracing::warn!(order.id = %attempt.order, refused_by = refusal.code(), "a payment is refused; the gateway is not asked");
}

/// What the shop's own fraud check says of a charge that was never tried; nothing for any other, and where there is no check.
/// `false`: not now.
///
/// # Errors
/// [`Failure`] when the books cannot be read.
pub(super) async fn assess(app: &App, attempt: &mut Attempt) -> Result<bool, Failure> {
    if !app.fraud.is_there() || !attempt.is_untried() {
        return Ok(true);
    }
    if !lease_covers_a_call(app, attempt) {
        return Ok(false);
    }
    let order = app.store.order(attempt.order).await?;
    let order = order.ok_or_else(|| Failure::UnknownOrder(attempt.order.to_string()))?;
    let facts = PaymentFacts::new(&order, attempt);
    match crash::around(Boundary::FraudCheck, app.fraud.assess(&facts)).await? {
        Assessment::Pass => Ok(true),
        Assessment::Refuse => {
            refuse(attempt, Refusal::FraudCheck, app.clock.now());
            Ok(true)
        }
        Assessment::Silent(reason) => {
            metrics::screened("unassessed");
            tracing::warn!(order.id = %attempt.order, reason, passes = app.rules.unassessed_pass, "the fraud check did not answer");
            Ok(app.rules.unassessed_pass)
        }
    }
}
