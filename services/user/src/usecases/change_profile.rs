//! Changes a person's own profile, from the version they saw.

use common::UserId;

use super::ports::Changed;
use super::{App, Result, UserError};
use crate::domain::{Profile, ProfileChange, ProfileForm};

/// `expected` is the version the caller saw; `None` when they did not say.
///
/// # Errors
/// [`UserError::VersionMissing`], [`UserError::VersionStale`], fields at fault.
pub async fn change_profile(app: &App, user: UserId, expected: Option<i64>, form: &ProfileForm) -> Result<Profile> {
    let expected = expected.ok_or(UserError::VersionMissing)?;
    let change = ProfileChange::parse(form, app.region).map_err(UserError::Fields)?;
    if change.is_empty() {
        // Nothing to change; but whoever holds an old version must learn that.
        let profile = super::view_me(app, user).await?;
        return if profile.version == expected { Ok(profile) } else { Err(UserError::VersionStale) };
    }
    match app.people.change_profile(user, expected, &change, app.clock.now()).await? {
        Changed::Done(profile) => Ok(profile),
        Changed::Stale => Err(UserError::VersionStale),
        Changed::Absent => Err(UserError::NotFound),
    }
}
