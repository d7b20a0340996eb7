//! Changes what a person agreed to. The answer comes when it holds everywhere: the log has it, and every living session of the
//! person says it, so that the next page of every service obeys.

use common::UserId;

use super::ports::{Changed, ConsentState};
use super::settle_session::settle;
use super::{App, Result, UserError};
use crate::domain::Consents;

/// Safe to repeat; repeating also repairs sessions that an earlier, interrupted call did not reach.
///
/// # Errors
/// [`UserError::Down`] when the log has the change but the sessions could not be told: ask again.
pub async fn change_consents(app: &App, user: UserId, consents: Consents) -> Result<ConsentState> {
    let state = match app.people.change_consents(user, consents, app.clock.now()).await? {
        Changed::Done(state) => state,
        Changed::Stale | Changed::Absent => return Err(UserError::NotFound),
    };
    settle(app, user, state, |record| async move { app.sessions.rewrite_all(&record).await.map(Some) }).await?;
    Ok(state)
}
