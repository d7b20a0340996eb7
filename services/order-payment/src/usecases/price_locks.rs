//! Locks on prices: when one is given, when one is believed.

use chrono::{DateTime, Utc};
use common::{Money, TaxPlace, UserId};

use super::{App, Failure, Shopper};
use crate::domain::price_lock::{LockText, LockedLine, PriceLock};
use crate::domain::{CouponUse, ListedLine, PlaceOrder, Priced};

/// A lock on its way to a shopper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub text: LockText,
    pub expires_at: DateTime<Utc>,
}

/// Locks the prices of `lines` for as long as the rules say.
pub(super) fn issue(
    app: &App,
    owner: Option<UserId>,
    place: Option<TaxPlace>,
    lines: &[ListedLine],
    (total, coupon): (Money, Option<CouponUse>),
    now: DateTime<Utc>,
) -> Issued {
    let locked = |line: &ListedLine| LockedLine {
        sku: line.sku.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price,
        revision: line.revision,
        class: line.class,
        rate: place.map(|_| line.rate),
        reductions: line.reductions.clone(),
    };
    let expires_at = now + app.rules.price_lock;
    let lines = lines.iter().map(locked).collect();
    let lock = PriceLock { region: app.region, owner, place, lines, total, coupon, issued_at: now, expires_at };
    Issued { text: app.locks.seal(&lock), expires_at }
}

/// The lock that came with an order, when it is still good. One that is over is as if none had come.
///
/// # Errors
/// [`Failure::LockInvalid`] for a lock that is not ours, another person's, or for another basket.
pub(super) fn honoured(
    app: &App,
    shopper: Shopper,
    command: &PlaceOrder,
    now: DateTime<Utc>,
) -> Result<Option<PriceLock>, Failure> {
    let Some(text) = &command.price_lock else { return Ok(None) };
    let lock = app.locks.open(text).map_err(|_| Failure::LockInvalid)?;
    if lock.owner.is_some_and(|owner| owner != shopper.user) || !lock.covers(&command.lines, command.coupon.as_ref()) {
        return Err(Failure::LockInvalid);
    }
    if lock.is_over(now) {
        return Ok(None);
    }
    Ok(Some(lock))
}

/// `line` at the locked price. The rate is the locked one where the order goes where the lock says; elsewhere the tax is that of
/// the place it goes to, and the expected total tells whether the shopper has seen it.
pub(super) fn at_locked_price(line: ListedLine, lock: &PriceLock, place: TaxPlace) -> ListedLine {
    let Some(locked) = lock.line(&line.sku) else { return line };
    let rate = locked.rate.filter(|_| lock.place == Some(place)).unwrap_or_else(|| place.rate(locked.class));
    ListedLine {
        unit_price: locked.unit_price,
        revision: locked.revision,
        class: locked.class,
        rate,
        reductions: locked.reductions.clone(),
        ..line
    }
}

/// What an order would cost now: shown with a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requote {
    pub priced: Priced,
    /// On these prices. None when they were locked already, or a lock could be renewed for ever.
    pub lock: Option<Issued>,
}
