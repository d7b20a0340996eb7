//! On `UserRegistered`: the person can be the owner of orders. Orders may come before it (see `place_order`).

use common::{Region, UserId};
use messaging::Cause;

use super::{App, Change, Failure};

/// Safe to repeat.
///
/// # Errors
/// [`Failure`]; the message is delivered again or parked. A person of another region is refused.
pub async fn register_user(app: &App, cause: Cause, user: UserId, region: Region) -> Result<(), Failure> {
    if region != app.region {
        return Err(Failure::Misdirected(region));
    }
    app.store.commit(cause, Change { person: Some((user, region)), ..Change::default() }).await?;
    Ok(())
}
