//! Exchanges a refresh token for a new pair and keeps the session alive. A refresh token works once: its second use ends the
//! whole session, because one of the two users of it is a thief and we cannot tell which. There is no grace time.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::ports::{Attempt, RefreshMark, TokenPair};
use super::settle_session::settle;
use super::{App, Result, UserError};
use crate::metrics;

/// Longer texts are not tokens of ours.
const LONGEST_TOKEN: usize = 8 * 1024;

/// # Errors
/// [`UserError::SessionOver`] for any token that cannot be used, and when the session has been closed.
pub async fn refresh_session(app: &App, refresh_token: &str, source: IpAddr) -> Result<TokenPair> {
    app.limits.admit(Attempt::Refresh { source }).map_err(|retry_after| UserError::TooMany { retry_after })?;
    if refresh_token.is_empty() || refresh_token.len() > LONGEST_TOKEN {
        return Err(UserError::SessionOver);
    }
    let mark = RefreshMark(Sha256::digest(refresh_token.as_bytes()).into());
    let Some(tokens) = app.identities.refresh(refresh_token).await? else {
        end_if_replayed(app, &mark).await?;
        return Err(UserError::SessionOver);
    };
    let holder = app.tokens.verify(&tokens.access_token).await?;
    let state = app.people.consents(holder.user_id).await?.ok_or(UserError::SessionOver)?;
    let alive = settle(app, holder.user_id, state, |record| {
        let (sessions, session, mark) = (&app.sessions, &holder.session_id, &mark);
        async move { sessions.extend(session, &record, mark).await.map(|alive| alive.then_some(())) }
    })
    .await?;
    if alive.is_none() {
        // Closed here but alive at the provider: a logout that could not reach it. Finish that logout.
        super::log_out::end_at_provider(app, &holder.session_id).await;
        return Err(UserError::SessionOver);
    }
    Ok(tokens)
}

async fn end_if_replayed(app: &App, mark: &RefreshMark) -> Result<()> {
    if let Some((user, session)) = app.sessions.used_before(mark).await? {
        metrics::REPLAYED_REFRESH_TOKENS.inc();
        tracing::warn!(user.id = %user, "refresh token used twice, session ended");
        app.sessions.close(user, &session).await?;
        super::log_out::end_at_provider(app, &session).await;
    }
    Ok(())
}
