//! Replaces a person's address list, from the version they saw.

use common::UserId;

use super::ports::{AddressBook, Changed};
use super::{App, Result, UserError};
use crate::domain::AddressForm;
use crate::domain::address::parse_list;

/// # Errors
/// [`UserError::VersionMissing`], [`UserError::VersionStale`], fields at fault.
pub async fn change_addresses(
    app: &App,
    user: UserId,
    expected: Option<i64>,
    forms: &[AddressForm],
) -> Result<AddressBook> {
    let expected = expected.ok_or(UserError::VersionMissing)?;
    let list = parse_list(forms, app.region).map_err(UserError::Fields)?;
    match app.people.replace_addresses(user, expected, &list, app.clock.now()).await? {
        Changed::Done(book) => Ok(book),
        Changed::Stale => Err(UserError::VersionStale),
        Changed::Absent => Err(UserError::NotFound),
    }
}
