//! Money that the gateway holds on a card although its order has ended, at a payment whose id never reached us: the call that
//! made it was never answered, and a cancel by its key came to nothing. Only the gateway's list shows it, by the order it names.
//!
//! Decided here: which holds these are. Nothing is done about them: they are a person's.

use chrono::{DateTime, Utc};
use common::OrderId;
use messaging::crash::{self, Boundary};

use super::ports::{Finding, FindingKind};
use super::{App, Failure};
use crate::domain::{Answer, Attempt, Intent, IntentStatus, Look};

/// Holds that are old enough to be no work in progress.
pub(super) fn old_holds<'a>(
    intents: impl Iterator<Item = &'a Intent>,
    settled_before: DateTime<Utc>,
) -> Vec<&'a Intent> {
    let old = |intent: &&Intent| {
        intent.status == IntentStatus::RequiresCapture
            && !intent.declined
            && intent.created_unix < settled_before.timestamp()
    };
    intents.filter(old).collect()
}

/// Those of them whose order has a charge that ended at another payment, or at none. One indexed read each: a hold is taken or
/// given back within seconds, so few are old. The list is older than our books, so each is asked for once more.
///
/// # Errors
/// [`Failure`] when the books cannot be read.
pub(super) async fn without_an_id(app: &App, holds: Vec<&Intent>) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for intent in holds {
        let Some(order) = intent.order.as_deref().and_then(|order| order.parse::<OrderId>().ok()) else { continue };
        let Some(charge) = app.store.charge_of(order).await? else { continue };
        if charge.state.is_settled()
            && charge.intent.as_deref() != Some(intent.id.as_str())
            && !is_over(app, intent, &charge).await?
        {
            findings.push(Finding {
                kind: FindingKind::HeldAfterEnd,
                reference: intent.id.clone(),
                order: Some(order),
                detail: format!("held there, {} here; its id never reached us", charge.state),
                happened_at: DateTime::from_timestamp(intent.created_unix, 0),
            });
        }
    }
    Ok(findings)
}

/// Whether the gateway says by now that it holds this money no longer. Where it says nothing, the list counts.
async fn is_over(app: &App, intent: &Intent, charge: &Attempt) -> Result<bool, Failure> {
    let there = Attempt { intent: Some(intent.id.clone()), ..charge.clone() };
    let answer = crash::around(Boundary::GatewayLook, app.gateway.look(Look::Intent, &there)).await?;
    Ok(matches!(answer, Answer::Intent(now) if now.id == intent.id && now.status != IntentStatus::RequiresCapture))
}
