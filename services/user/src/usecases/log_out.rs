//! Ends sessions. Redis first, because every service asks it on every request: from then on the token is refused everywhere.
//! The provider is told afterwards; if it cannot be reached, its session cannot be used all the same, since a refresh needs
//! the session that is gone.

use common::{SessionId, UserId};

use super::{App, Result};

/// # Errors
/// [`super::UserError::Down`] when the session store cannot be reached: then nobody was logged out.
pub async fn log_out(app: &App, user: UserId, session: &SessionId) -> Result<()> {
    app.sessions.close(user, session).await?;
    end_at_provider(app, session).await;
    Ok(())
}

/// # Errors
/// As [`log_out`].
pub async fn log_out_everywhere(app: &App, user: UserId) -> Result<()> {
    app.sessions.close_all(user).await?;
    if let Err(down) = app.identities.end_all_sessions(user).await {
        tracing::warn!(user.id = %user, reason = format!("{:#}", anyhow::Error::new(down)), "sessions stay at the identity provider");
    }
    Ok(())
}

pub(super) async fn end_at_provider(app: &App, session: &SessionId) {
    if let Err(down) = app.identities.end_session(session).await {
        tracing::warn!(reason = format!("{:#}", anyhow::Error::new(down)), "session stays at the identity provider");
    }
}
