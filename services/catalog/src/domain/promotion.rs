//! A promotion: what is taken off, of what, in which regions, when, and how it stands beside others. Decided here: what makes
//! one and when it is in force. Not decided here: what it takes off a basket (`discount`), which texts are accepted from
//! outside (`promotion_draft`), how often a coupon was used (order-payment, in the commit of the order).

use std::fmt;

use chrono::{DateTime, Utc};
use common::{Region, Sku, UserId};

use super::price::PriceList;
use super::product::{CategoryPath, is_name};

/// Names a promotion for good: `[a-z0-9][a-z0-9_-]{0,39}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromotionId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1 to 40 lower-case letters, digits, hyphens or underscores, beginning with a letter or digit")]
pub struct InvalidPromotionId;

impl PromotionId {
    /// Forty letters keep a lock on fifty reduced lines below what a header and a form carry.
    const LONGEST: usize = 40;

    /// # Errors
    /// [`InvalidPromotionId`] for another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidPromotionId> {
        if is_name(text, Self::LONGEST) { Ok(Self(text.to_owned())) } else { Err(InvalidPromotionId) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PromotionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What a shopper types in: letters, digits and hyphens, kept in capitals, so that nobody has to guess.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CouponCode(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("3 to 32 letters, digits or hyphens")]
pub struct InvalidCouponCode;

impl CouponCode {
    /// Blanks around it and small letters are forgiven.
    ///
    /// # Errors
    /// [`InvalidCouponCode`] for another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidCouponCode> {
        let code = text.trim().to_ascii_uppercase();
        let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        if (3..=32).contains(&code.len()) && code.bytes().all(known) { Ok(Self(code)) } else { Err(InvalidCouponCode) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CouponCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How much comes off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Off {
    /// Hundredths of a percent, 1 to [`Off::MOST_PERCENT`].
    Percent(u32),
    /// An amount per currency: off each unit of a product, or once off the basket. It does nothing where the region's
    /// currency is not named.
    Amount(PriceList),
}

impl Off {
    /// What costs nothing is a gift and not a sale: every line keeps a price.
    pub const MOST_PERCENT: u32 = 9_999;
}

/// What it comes off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Basket,
    /// A category and all below it.
    Categories(Vec<CategoryPath>),
    Products(Vec<Sku>),
}

/// What a shopper has to say to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    pub code: CouponCode,
    /// Orders that may use it, and orders of one person. `None`: as many as like.
    pub most_uses: Option<u32>,
    pub most_per_person: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    pub id: PromotionId,
    pub title: String,
    pub off: Off,
    pub target: Target,
    /// Empty: wherever this catalog sells.
    pub regions: Vec<Region>,
    pub from: Option<DateTime<Utc>>,
    /// The first moment in which it is over.
    pub until: Option<DateTime<Utc>>,
    /// The highest goes first; of equals the one whose id comes first.
    pub priority: i32,
    /// May reduce what another has reduced, and be followed by others. One that does not stands alone on its lines.
    pub stacks: bool,
    pub coupon: Option<Coupon>,
}

impl Promotion {
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    pub fn is_for(&self, region: Region) -> bool {
        self.regions.is_empty() || self.regions.contains(&region)
    }
}

/// What one revision says about its promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromotionState {
    Live(Promotion),
    Ended(PromotionId),
}

impl PromotionState {
    pub fn id(&self) -> &PromotionId {
        match self {
            Self::Live(promotion) => &promotion.id,
            Self::Ended(id) => id,
        }
    }
}

/// One change of the promotions of this catalog. They are numbered 1, 2, 3 over all promotions, and whoever writes a number
/// first has it: two changes never pass each other unseen, so a code belongs to one promotion without a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionRevision {
    pub number: i64,
    pub state: PromotionState,
    pub changed_at: DateTime<Utc>,
    pub changed_by: UserId,
}
