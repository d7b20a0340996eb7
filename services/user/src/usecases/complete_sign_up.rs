//! Gives an identity its person. The same step for a running sign-up, an interrupted one, and a login that came first.

use anyhow::{Context as _, ensure};

use super::ports::{Identity, Registered, SignUpEnding};
use super::{App, Result, UserError};
use crate::domain::{Email, Language, PersonName, Registration};

/// Commits the person. Another one may have been faster; then the sign-up is closed if it still is open.
pub(super) async fn register(app: &App, registration: &Registration) -> Result<Registered> {
    let registered = app.people.register(registration).await?;
    if let (Registered::Already, Some(sign_up)) = (registered, registration.sign_up) {
        app.people.close_sign_up(sign_up, SignUpEnding::Done(registration.user_id), app.clock.now()).await?;
    }
    Ok(registered)
}

/// Reads an identity as a person of this region and commits that person.
pub(super) async fn complete(app: &App, identity: &Identity) -> Result<Registered> {
    let registration = registration_of(app, identity).map_err(UserError::Impossible)?;
    register(app, &registration).await
}

/// The provider is another system, so its texts pass the same rules as a request. Texts stay out of the error.
fn registration_of(app: &App, identity: &Identity) -> anyhow::Result<Registration> {
    let region = app.region;
    ensure!(
        identity.region.as_deref().is_none_or(|code| code == region.code()),
        "identity {} is of another region than its realm",
        identity.user_id
    );
    let broken = |what: &str| format!("identity {} has no acceptable {what}", identity.user_id);
    // A language that the catalog has given up must not keep anybody out.
    let language = identity.language.as_deref().and_then(|text| Language::parse(text, region).ok());
    Ok(Registration {
        user_id: identity.user_id,
        sign_up: identity.sign_up,
        email: Email::parse(&identity.email).ok().with_context(|| broken("e-mail"))?,
        first_name: PersonName::parse(&identity.first_name).ok().with_context(|| broken("first name"))?,
        last_name: PersonName::parse(&identity.last_name).ok().with_context(|| broken("last name"))?,
        language: language.unwrap_or_else(|| Language::default_of(region)),
        region,
        consents: identity.consents,
        registered_at: app.clock.now(),
    })
}
