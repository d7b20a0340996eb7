//! Webhooks of the gateway: kept first, answered, processed from the table. Delivery is at least once and in any order, so a
//! webhook is a hint to ask the gateway for the state, never the state itself.
//!
//! A finished one is forgotten [`KEPT_DAYS`] days after it came, after a round that finishes others, unless an open finding is about it.
//! Gateways repeat for three days, and on the wire that signs the time nothing older than 300 seconds is let in. The other wire signs no
//! time: an old event that somebody sends again after it was forgotten counts as new. That is harmless: it hints once more, the gateway is
//! asked and says what it said before, and at worst a finding that was resolved opens again.

use chrono::Duration;
use common::{Explain as _, OrderId};
use futures::future::join_all;
use messaging::crash::{self, Boundary};

use super::error::StoreError;
use super::one_by_one::Failures;
use super::ports::{Finding, FindingKind, Kept, Webhook, WebhookEnd};
use super::process_payment::captured;
use super::{App, Failure};
use crate::domain::{Answer, Attempt, AttemptState, IntentStatus, Look, backoff};
use crate::metrics;

/// Webhooks per round; the rest waits for the next, which comes at once.
pub const MOST_TOGETHER: u16 = 50;
/// How long a finished webhook is known: ten times as long as gateways repeat, and as long as a message that was heard. The database refuses
/// to forget a younger one.
pub const KEPT_DAYS: i32 = 30;
/// Webhooks forgotten after one round that finishes others: twice of what a round finishes, so that a table that has grown shrinks.
pub const MOST_FORGOTTEN: u16 = 2 * MOST_TOGETHER;
/// Events that can mean money was taken. One wire says it with the event's type, the other only that something changed; either
/// way the gateway is asked.
const SUCCESSES: [&str; 2] = ["payment_intent.succeeded", "payment.updated"];
/// How an event about a refund is kept, whatever the gateway calls it: one that failed or was taken back, and any other.
pub const REFUND_FAILED: &str = "refund.failed";
pub const REFUND_UPDATED: &str = "refund.updated";
/// Gateways repeat for three days; an order that has not come by then never will.
const PATIENCE: Duration = Duration::days(3);

/// Keeps a verified webhook. It is processed later, by the worker.
///
/// # Errors
/// [`Failure::ForeignEvent`] for another region's order; anything else means that nothing was kept and the gateway should
/// repeat.
pub async fn receive_webhook(app: &App, hook: Webhook, region: Option<&str>) -> Result<Kept, Failure> {
    if region.is_some_and(|region| region != app.region.code()) {
        return Err(Failure::ForeignEvent);
    }
    let kept = app.store.keep_webhook(&hook).await?;
    match kept {
        Kept::New => app.signals.payments.notify_one(),
        Kept::Again => {}
        Kept::Clash => {
            metrics::alarm("webhook");
            tracing::error!(
                event.id = hook.event_id,
                "a webhook came twice with different contents; the second was dropped"
            );
        }
    }
    metrics::webhook(match kept {
        Kept::New => "new",
        Kept::Again => "again",
        Kept::Clash => "clash",
    });
    Ok(kept)
}

/// One round over the kept webhooks; returns how many it looked at. One that fails is put off with growing pauses, so that it does not
/// stand before the others for ever; it is never given up for failing.
///
/// # Errors
/// The last [`Failure`] of the round, when there was one.
pub async fn process_webhooks(app: &App) -> Result<usize, Failure> {
    let due = app.store.due_webhooks(app.clock.now(), MOST_TOGETHER).await?;
    let count = due.len();
    let (mut ended, mut failures) = (Vec::with_capacity(count), Failures::default());
    let mut hinted = Vec::new();
    // At once: the books answer them in one question.
    let found = join_all(due.iter().map(|hook| app.store.charge_of_intent(&hook.intent))).await;
    for (hook, found) in due.into_iter().zip(found) {
        let failure = match process(app, &hook, found, &mut hinted).await {
            Ok(end) => {
                ended.push((hook, end));
                continue;
            }
            Err(failure) => failure,
        };
        tracing::warn!(event.id = hook.event_id, error = %failure, code = failure.code(), "a webhook failed; it is put off");
        let later = put_off(app, &hook);
        ended.push((hook, later));
        if !failures.go_on_after(failure) {
            break;
        }
    }
    // One hint for all, before what is a hint is called processed.
    if !hinted.is_empty() && !failures.is_crash() {
        app.store.hint(&hinted, app.clock.now()).await?;
        app.signals.payments.notify_one();
    }
    // What is not noted is looked at again, which is harmless: a webhook is a hint.
    if !ended.is_empty() && !failures.is_crash() {
        app.store.finish_webhooks(&ended, app.clock.now()).await?;
    }
    failures.outcome().map(|()| count)
}

/// What `hook` comes to; `found` is the charge of its intent when the round began. An order whose open attempts are to be looked at is added to
/// `hinted`.
async fn process(
    app: &App,
    hook: &Webhook,
    found: Result<Option<Attempt>, StoreError>,
    hinted: &mut Vec<OrderId>,
) -> Result<WebhookEnd, Failure> {
    if hook.intent.is_empty() {
        return Ok(WebhookEnd::NothingToDo);
    }
    let Some(attempt) = known(app, hook, found?).await? else {
        let end = not_yet(app, hook);
        if end == WebhookEnd::GaveUp {
            let finding = Finding {
                kind: FindingKind::WebhookWithoutOrder,
                reference: hook.event_id.clone(),
                order: hook.order,
                detail: format!("{} of intent {}, which no order of ours knows", hook.event_type, hook.intent),
                happened_at: Some(hook.received_at),
            };
            app.store.note_finding(&finding, app.clock.now()).await?;
        }
        return Ok(end);
    };
    if differs(hook, &attempt) {
        let finding = Finding {
            kind: FindingKind::WebhookDiffers,
            reference: hook.intent.clone(),
            order: Some(attempt.order),
            detail: format!("webhook {} speaks of another amount or currency", hook.event_id),
            happened_at: Some(attempt.created_at),
        };
        metrics::alarm("webhook");
        tracing::error!(order.id = %attempt.order, event.id = hook.event_id, "a webhook speaks of another amount");
        app.store.note_finding(&finding, app.clock.now()).await?;
        return Ok(WebhookEnd::Mismatch);
    }
    if is_about_a_refund(hook) {
        if hook.event_type == REFUND_FAILED {
            note_failed_refund(app, hook, &attempt).await?;
        }
        // The charge stays as it is; its refunds are what is asked for.
        hinted.push(attempt.order);
        return Ok(WebhookEnd::Hinted);
    }
    if !attempt.state.is_settled() {
        hinted.push(attempt.order);
        return Ok(WebhookEnd::Hinted);
    }
    if attempt.state == AttemptState::Captured || !SUCCESSES.contains(&hook.event_type.as_str()) {
        return Ok(WebhookEnd::NothingToDo);
    }
    // Another webhook of the same round may have brought the success already.
    let Some(attempt) = known(app, hook, app.store.charge_of_intent(&hook.intent).await?).await? else {
        return Ok(not_yet(app, hook));
    };
    if attempt.state == AttemptState::Captured {
        return Ok(WebhookEnd::NothingToDo);
    }
    match look_for_late_success(app, attempt).await? {
        Some(true) => Ok(WebhookEnd::LateSuccess),
        Some(false) => Ok(WebhookEnd::NothingToDo),
        None => Ok(not_yet(app, hook)),
    }
}

/// The charge a webhook is about: that of its intent, if there is one. An early one knows the order before we have stored the intent.
async fn known(app: &App, hook: &Webhook, of_intent: Option<Attempt>) -> Result<Option<Attempt>, Failure> {
    if of_intent.is_some() {
        return Ok(of_intent);
    }
    let Some(order) = hook.order else { return Ok(None) };
    let attempt = app.store.charge_of(order).await?;
    Ok(attempt.filter(|attempt| attempt.intent.is_none()))
}

fn differs(hook: &Webhook, attempt: &Attempt) -> bool {
    hook.amount_minor.is_some_and(|amount| amount != attempt.amount.minor())
        || hook.currency.as_ref().is_some_and(|currency| currency != attempt.amount.currency().code())
}

/// The second is a charge that says that something of it went back.
fn is_about_a_refund(hook: &Webhook) -> bool {
    hook.event_type.starts_with("refund.") || hook.event_type == "charge.refunded"
}

/// Money that the books may call given back did not arrive. One finding for a charge, however often and by whatever events it is told.
async fn note_failed_refund(app: &App, hook: &Webhook, charge: &Attempt) -> Result<(), Failure> {
    let finding = Finding {
        kind: FindingKind::RefundRefused,
        reference: hook.intent.clone(),
        order: Some(charge.order),
        detail: format!("webhook {} says that a refund failed or was taken back", hook.event_id),
        happened_at: Some(hook.received_at),
    };
    metrics::alarm("refund");
    tracing::error!(order.id = %charge.order, event.id = hook.event_id, "a refund failed at the gateway; it needs a person");
    app.store.note_finding(&finding, app.clock.now()).await?;
    Ok(())
}

fn not_yet(app: &App, hook: &Webhook) -> WebhookEnd {
    if app.clock.now() - hook.received_at > PATIENCE {
        metrics::alarm("webhook");
        tracing::error!(event.id = hook.event_id, "a webhook's order never came");
        return WebhookEnd::GaveUp;
    }
    put_off(app, hook)
}

fn put_off(app: &App, hook: &Webhook) -> WebhookEnd {
    // Any stable id spreads the pauses; the intent's text is as good as a UUID.
    let spread = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, hook.event_id.as_bytes());
    WebhookEnd::Later(app.clock.now() + backoff::pause(spread, hook.tries.saturating_add(1)))
}

/// Asks the gateway whether an attempt that is given up took money after all; if so, records it and sends it back.
/// `None`: the gateway does not say.
pub(super) async fn look_for_late_success(app: &App, attempt: Attempt) -> Result<Option<bool>, Failure> {
    match crash::around(Boundary::GatewayLook, app.gateway.look(Look::Intent, &attempt)).await? {
        Answer::Intent(intent) if intent.status == IntentStatus::Succeeded => {
            captured(app, attempt.version, attempt).await?;
            Ok(Some(true))
        }
        Answer::Intent(_) => Ok(Some(false)),
        _ => Ok(None),
    }
}
