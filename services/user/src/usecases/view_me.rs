//! What a person may read about themselves. Always by the caller's own id; there is no other way to ask.

use common::UserId;

use super::ports::{AddressBook, ConsentState};
use super::{App, Result, UserError};
use crate::domain::Profile;

/// # Errors
/// [`UserError::NotFound`] for a person who is gone.
pub async fn view_me(app: &App, user: UserId) -> Result<Profile> {
    app.people.profile(user).await?.ok_or(UserError::NotFound)
}

/// # Errors
/// As [`view_me`].
pub async fn view_consents(app: &App, user: UserId) -> Result<ConsentState> {
    app.people.consents(user).await?.ok_or(UserError::NotFound)
}

/// # Errors
/// As [`view_me`].
pub async fn view_addresses(app: &App, user: UserId) -> Result<AddressBook> {
    app.people.addresses(user).await?.ok_or(UserError::NotFound)
}
