//! Coupons: what an order may use, what a basket shows, and why one is refused.
//!
//! Decided here: whose word counts. The catalog says what a code is good for; a good price lock keeps what it promised, also past the
//! coupon's end; the newer of the two words says how often it may be used. Whether a use is left is decided by the books in the
//! commit of the order: what is shown before is a hint.

use common::{ErrorKind, Explain};

use super::ports::CouponWord;
use super::refund_order::Asker;
use super::{App, Failure};
use crate::domain::PlaceOrder;
use crate::domain::coupon::{CouponCode, CouponCount, CouponUse};
use crate::domain::price_lock::PriceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponState {
    /// It is reckoned in.
    Good,
    Unknown,
    NotNow,
    ReducesNothing,
    UsedUp,
}

impl CouponState {
    /// What a basket says about it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Unknown => "coupon-unknown",
            Self::NotNow => "coupon-expired",
            Self::ReducesNothing => "reduces-nothing",
            Self::UsedUp => "coupon-used",
        }
    }
}

/// Why a coupon is not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .why.message())]
pub struct CouponRefusal {
    pub why: Refused,
    /// Where the request named it.
    pub pointer: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Unknown,
    NotNow,
    ReducesNothing,
    UsedUp,
}

impl Refused {
    fn message(self) -> &'static str {
        match self {
            Self::Unknown => "there is no such coupon here",
            Self::NotNow => "the coupon is not good now",
            Self::ReducesNothing => "the coupon reduces nothing of what is wanted",
            Self::UsedUp => "the coupon has no uses left",
        }
    }
}

impl Explain for CouponRefusal {
    fn kind(&self) -> ErrorKind {
        match self.why {
            Refused::Unknown | Refused::NotNow | Refused::ReducesNothing => ErrorKind::Unprocessable,
            Refused::UsedUp => ErrorKind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self.why {
            Refused::Unknown | Refused::ReducesNothing => "coupon-unknown",
            Refused::NotNow => "coupon-expired",
            Refused::UsedUp => "coupon-used",
        }
    }
}

/// The use that an order takes.
pub(super) fn coupon_of(
    command: &PlaceOrder,
    word: Option<&CouponWord>,
    lock: Option<&PriceLock>,
) -> Result<Option<CouponUse>, CouponRefusal> {
    if command.coupon.is_none() {
        return Ok(None);
    }
    let promised = lock.and_then(|lock| lock.coupon.clone());
    let refused = |why| CouponRefusal { why, pointer: "/coupon" };
    match (word, promised) {
        (Some(CouponWord::Good(now)), Some(promised)) if promised.revision > now.revision => Ok(Some(promised)),
        (Some(CouponWord::Good(now)), _) => Ok(Some(now.clone())),
        (_, Some(promised)) => Ok(Some(promised)),
        (Some(CouponWord::NotNow), None) => Err(refused(Refused::NotNow)),
        (Some(CouponWord::ReducesNothing), None) => Err(refused(Refused::ReducesNothing)),
        (Some(CouponWord::Unknown) | None, None) => Err(refused(Refused::Unknown)),
    }
}

/// How often a code was used, for staff. One that nobody has used was used zero times, whether it exists or not.
///
/// # Errors
/// [`Failure::Forbidden`] for everybody else, [`Failure::NotFound`] for what is no code.
pub async fn uses(app: &App, asker: Asker, code: &str) -> Result<(CouponCode, CouponCount), Failure> {
    if asker.shopper.region != app.region {
        return Err(Failure::Misdirected(asker.shopper.region));
    }
    if !asker.staff {
        return Err(Failure::Forbidden);
    }
    let code = CouponCode::parse(code).ok_or(Failure::NotFound)?;
    let count = app.store.coupon_count(&code, None).await?;
    Ok((code, count))
}

/// Whether a basket takes the coupon in. One that reduces nothing yet may wait in it for what it reduces.
pub(super) fn accepted(state: Option<CouponState>) -> Result<(), CouponRefusal> {
    let refused = |why| Err(CouponRefusal { why, pointer: "/code" });
    match state {
        None | Some(CouponState::Good | CouponState::ReducesNothing) => Ok(()),
        Some(CouponState::Unknown) => refused(Refused::Unknown),
        Some(CouponState::NotNow) => refused(Refused::NotNow),
        Some(CouponState::UsedUp) => refused(Refused::UsedUp),
    }
}
