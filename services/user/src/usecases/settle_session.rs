//! Writes what a session says, and makes sure that it says what the person last agreed to.

use common::UserId;
use contracts::session::SessionRecord;

use super::ports::{ConsentState, Down};
use super::{App, Result, UserError};

/// A person who changes their mind more often than this within milliseconds gets an error and asks again.
const MOST_ROUNDS: usize = 5;

/// Writes the record with `write` until the consent it carries is still the newest one *after* the write. Two writers may
/// overtake each other on the way to Redis; whoever writes last looks last, so the newest consent stays.
///
/// `Ok(None)` from `write` ends it early: there is no session to write to.
pub(super) async fn settle<W, F>(
    app: &App,
    user: UserId,
    mut state: ConsentState,
    mut write: W,
) -> Result<Option<ConsentState>>
where
    W: FnMut(SessionRecord) -> F,
    F: Future<Output = std::result::Result<Option<()>, Down>>,
{
    for _ in 0..MOST_ROUNDS {
        if write(record(app, user, state)).await?.is_none() {
            return Ok(None);
        }
        let newest = app.people.consents(user).await?.ok_or(UserError::SessionOver)?;
        if newest.version == state.version {
            return Ok(Some(state));
        }
        state = newest;
    }
    let source = anyhow::anyhow!("consents kept changing while the session was written");
    Err(UserError::Down(Down { target: "sessions", retry_after: None, source }))
}

fn record(app: &App, user: UserId, state: ConsentState) -> SessionRecord {
    SessionRecord { user_id: user, region: app.region, personalisation_consent: state.consents.personalisation }
}
