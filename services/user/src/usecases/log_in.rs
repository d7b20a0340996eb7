//! Exchanges e-mail and password for tokens and opens the session without which the tokens are worth nothing.
//!
//! A person who was signed up but not yet registered (a crash in between) is registered here, before anything else sees them.

use std::net::IpAddr;

use super::complete_sign_up::complete;
use super::ports::{Attempt, ConsentState, TokenHolder, TokenPair};
use super::settle_session::settle;
use super::{App, Result, UserError};
use crate::domain::{Email, Password};
use crate::metrics;

/// Credentials as they were sent.
#[derive(Clone)]
pub struct LogInForm {
    pub email: String,
    pub password: String,
}

/// # Errors
/// [`UserError::WrongCredentials`] whatever is wrong with them; [`UserError::TooMany`] before the provider is asked.
pub async fn log_in(app: &App, form: &LogInForm, source: IpAddr) -> Result<TokenPair> {
    let outcome = exchange(app, form, source).await;
    metrics::LOG_INS.with_label_values(&[label(&outcome)]).inc();
    outcome
}

async fn exchange(app: &App, form: &LogInForm, source: IpAddr) -> Result<TokenPair> {
    // Limited by what was typed, so that malformed guesses count too; lower case, as e-mails are compared.
    let typed = form.email.to_ascii_lowercase();
    app.limits
        .admit(Attempt::LogIn { source, email: &typed })
        .map_err(|retry_after| UserError::TooMany { retry_after })?;

    let (Ok(email), Some(password)) = (Email::parse(&form.email), Password::as_typed(&form.password)) else {
        return Err(UserError::WrongCredentials);
    };
    let tokens = app.identities.log_in(&email, &password).await?.ok_or(UserError::WrongCredentials)?;
    let holder = app.tokens.verify(&tokens.access_token).await?;
    if holder.region != app.region {
        return Err(UserError::Impossible(anyhow::anyhow!("a token of this realm is of region {}", holder.region)));
    }
    let state = consents_of(app, &holder).await?;
    settle(app, holder.user_id, state, |record| {
        let (sessions, session) = (&app.sessions, &holder.session_id);
        async move { sessions.open(session, &record).await.map(Some) }
    })
    .await?;
    Ok(tokens)
}

/// Registers the person first if their sign-up was interrupted, or if an operator made the identity.
async fn consents_of(app: &App, holder: &TokenHolder) -> Result<ConsentState> {
    if let Some(state) = app.people.consents(holder.user_id).await? {
        return Ok(state);
    }
    let identity = app.identities.find(holder.user_id).await?.ok_or(UserError::WrongCredentials)?;
    complete(app, &identity).await?;
    let state = app.people.consents(holder.user_id).await?;
    state.ok_or_else(|| {
        UserError::Impossible(anyhow::anyhow!("person {} was registered and is not there", holder.user_id))
    })
}

fn label(outcome: &Result<TokenPair>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(UserError::WrongCredentials) => "refused",
        Err(UserError::TooMany { .. }) => "limited",
        Err(_) => "failed",
    }
}
