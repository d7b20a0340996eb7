//! Changes what a person agreed to. The answer comes when it holds everywhere: the log has it, and every living session of the
//! person says it, so that the next page of every service obeys. That somebody refuses personalisation is told in
//! the log of clicks, too: whoever keeps something about them forgets it.

use common::UserId;

use super::ports::{Changed, ClickBatch, ConsentState};
use super::settle_session::settle;
use super::{App, Result, UserError};
use crate::domain::Consents;

/// Safe to repeat; repeating also repairs sessions and the log of clicks, where an earlier, interrupted call did not reach them.
///
/// # Errors
/// [`UserError::Down`] when the log has the change but the sessions or the log of clicks could not be told: ask again.
pub async fn change_consents(app: &App, user: UserId, consents: Consents) -> Result<ConsentState> {
    let state = match app.people.change_consents(user, consents, app.clock.now()).await? {
        Changed::Done(state) => state,
        Changed::Stale | Changed::Absent => return Err(UserError::NotFound),
    };
    settle(app, user, state, |record| async move { app.sessions.rewrite_all(&record).await.map(Some) }).await?;
    // Also if another call says yes meanwhile: what was kept until now was refused. After the sessions, so that no page reports
    // behind it what would be kept again.
    if !consents.personalisation {
        app.clicks.append(&ClickBatch::refusal(app.pseudonyms.of_user(user), app.clock.now())).await?;
    }
    Ok(state)
}
