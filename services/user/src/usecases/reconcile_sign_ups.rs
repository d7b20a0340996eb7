//! Carries interrupted sign-ups to their end. Looks at the state only, so it may run at any time, on any number of workers,
//! and be stopped anywhere.

use chrono::Duration;

use super::complete_sign_up::complete;
use super::ports::{SignUpEnding, UnfinishedSignUp};
use super::{App, Result, UserError};
use crate::domain::NextStep;
use crate::domain::sign_up::SECOND_LOOK;
use crate::metrics;

/// How long closed sign-ups are kept for questions of operators.
const KEPT: Duration = Duration::days(30);
/// Old rows deleted in one run, so that a run stays short.
const FORGOTTEN_AT_ONCE: u32 = 500;

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    pub completed: usize,
    pub postponed: usize,
    pub abandoned: usize,
}

/// Takes at most `limit` sign-ups that nobody works on.
///
/// # Errors
/// The first failure of a dependency; what was done before it stays done, the rest is due again at the next run.
pub async fn reconcile_sign_ups(app: &App, limit: u32) -> Result<Reconciled> {
    let mut done = Reconciled::default();
    for unfinished in app.people.unfinished_sign_ups(app.clock.now(), limit).await? {
        match reconcile(app, unfinished).await? {
            NextStep::Complete(_) => done.completed += 1,
            NextStep::LookAgain { .. } => done.postponed += 1,
            NextStep::Abandon => done.abandoned += 1,
        }
    }
    app.people.forget_sign_ups(app.clock.now() - KEPT, FORGOTTEN_AT_ONCE).await?;
    for (outcome, count) in
        [("completed", done.completed), ("postponed", done.postponed), ("abandoned", done.abandoned)]
    {
        metrics::RECONCILED_SIGN_UPS.with_label_values(&[outcome]).inc_by(count as u64);
    }
    Ok(done)
}

async fn reconcile(app: &App, unfinished: UnfinishedSignUp) -> Result<NextStep> {
    let UnfinishedSignUp { sign_up, looks } = unfinished;
    let identity = app.identities.find_by_sign_up(sign_up).await?;
    let now = app.clock.now();
    let step = NextStep::decide(identity.as_ref().map(|identity| identity.user_id), looks, now);
    match (step, identity) {
        (NextStep::Complete(_), Some(identity)) => match complete(app, &identity).await {
            Ok(_) => {}
            // One identity that cannot be read must not hold up the others; it is looked at again until somebody mends it.
            Err(UserError::Impossible(reason)) => {
                tracing::error!(sign_up.id = %sign_up, reason = format!("{reason:#}"), "identity of a sign-up cannot be read");
                let at = now + SECOND_LOOK;
                app.people.postpone_sign_up(sign_up, at).await?;
                return Ok(NextStep::LookAgain { at });
            }
            Err(other) => return Err(other),
        },
        (NextStep::LookAgain { at }, _) => app.people.postpone_sign_up(sign_up, at).await?,
        (NextStep::Abandon | NextStep::Complete(_), _) => {
            app.people.close_sign_up(sign_up, SignUpEnding::Abandoned, now).await?
        }
    }
    Ok(step)
}
