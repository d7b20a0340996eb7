//! A difference between books gets an owner, and an end. Both are a person's word with a reason, written down with who and
//! when; the books themselves are not touched. A difference that is still there opens again at the next look.

use common::UserId;
use messaging::Action;

use super::desk::{Desk, Owned};
use super::{App, Failure};

/// Somebody has it.
///
/// # Errors
/// [`Failure::NotFound`] for a finding that is not known, [`Failure::StateConflict`] for one that has an owner or an end.
pub async fn acknowledge_finding(
    app: &App,
    desk: &dyn Desk,
    actor: UserId,
    (kind, reference): (&str, &str),
    reason: String,
) -> Result<(), Failure> {
    let action = action(actor, "finding.acknowledge", kind, reference, reason);
    let owned = desk.acknowledge(kind, reference, &action, app.clock.now()).await?;
    verdict(owned, "it has an owner or an end already")
}

/// It is explained or mended.
///
/// # Errors
/// As [`acknowledge_finding`].
pub async fn resolve_finding(
    app: &App,
    desk: &dyn Desk,
    actor: UserId,
    (kind, reference): (&str, &str),
    reason: String,
) -> Result<(), Failure> {
    let action = action(actor, "finding.resolve", kind, reference, reason);
    let owned = desk.resolve(kind, reference, &action, app.clock.now()).await?;
    verdict(owned, "it is resolved already")
}

fn action(actor: UserId, name: &'static str, kind: &str, reference: &str, reason: String) -> Action {
    Action { actor, name, subject: format!("{kind}/{reference}"), reason, outcome: "done".to_owned() }
}

fn verdict(owned: Owned, already: &'static str) -> Result<(), Failure> {
    match owned {
        Owned::Done => Ok(()),
        Owned::Already => Err(Failure::StateConflict(already)),
        Owned::Absent => Err(Failure::NotFound),
    }
}
