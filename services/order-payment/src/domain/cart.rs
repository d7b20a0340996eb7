//! A basket on the server. Decided here: whose it is, what it may hold, how two become one when somebody logs in. Not decided
//! here: what it costs, which is looked up at each reading.

use chrono::{DateTime, Duration, Utc};
use common::{Money, TaxPlace, UserId, VisitorId};

use super::BasketLine;
use super::CouponCode;
use super::basket::MOST_LINES;

/// The basket of a browser that nobody logged in to is forgotten after this time without a change.
pub const VISITOR_LIFETIME: Duration = Duration::days(30);

/// Whose basket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CartOwner {
    User(UserId),
    /// A browser without an account; whoever knows its id has its basket.
    Visitor(VisitorId),
}

impl CartOwner {
    pub fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Visitor(_) => "visitor",
        }
    }

    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Visitor(_) => None,
        }
    }
}

/// What was wanted, and the price that was seen when it was put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartLine {
    pub line: BasketLine,
    pub carted: Carted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carted {
    pub unit_price: Money,
    pub revision: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cart {
    pub owner: CartOwner,
    /// Grows with each change. The first is the millisecond of its making, so that a basket that was forgotten and made
    /// again has no version that a tab from before could know. [`Cart::UNWRITTEN`] for one that is not stored.
    pub version: i64,
    /// Where it shall go, as far as tax is concerned.
    pub place: Option<TaxPlace>,
    /// At most [`MOST_LINES`], each SKU once.
    pub lines: Vec<CartLine>,
    /// As it was typed in; what it is good for is looked up at each reading.
    pub coupon: Option<CouponCode>,
    /// Visitors' only.
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {MOST_LINES} different products")]
pub struct CartFull;

impl Cart {
    pub const UNWRITTEN: i64 = 0;

    pub fn empty(owner: CartOwner) -> Self {
        Self { owner, version: Self::UNWRITTEN, place: None, lines: Vec::new(), coupon: None, expires_at: None }
    }

    /// The same basket, one change later.
    #[must_use]
    pub fn changed(mut self, now: DateTime<Utc>) -> Self {
        self.version = if self.version == Self::UNWRITTEN { now.timestamp_millis().max(1) } else { self.version + 1 };
        self.expires_at = match self.owner {
            CartOwner::User(_) => None,
            CartOwner::Visitor(_) => Some(now + VISITOR_LIFETIME),
        };
        self
    }

    /// Puts a line in, in place of the one of the same product.
    ///
    /// # Errors
    /// [`CartFull`] when it would be one too many.
    pub fn put(&mut self, line: CartLine) -> Result<(), CartFull> {
        let full = self.lines.len() >= MOST_LINES;
        match self.lines.iter_mut().find(|known| known.line.sku == line.line.sku) {
            Some(known) => *known = line,
            None if full => return Err(CartFull),
            None => self.lines.push(line),
        }
        Ok(())
    }

    /// Takes the other basket's lines in. A product that is in both is wanted once: the larger quantity, with this basket's
    /// choices. So the same two merged again change nothing.
    ///
    /// # Errors
    /// [`CartFull`]; nothing is thrown away silently.
    pub fn take_in(&mut self, other: &Cart) -> Result<(), CartFull> {
        for theirs in &other.lines {
            let full = self.lines.len() >= MOST_LINES;
            match self.lines.iter_mut().find(|mine| mine.line.sku == theirs.line.sku) {
                Some(mine) => mine.line.quantity = mine.line.quantity.max(theirs.line.quantity),
                None if full => return Err(CartFull),
                None => self.lines.push(theirs.clone()),
            }
        }
        self.place = self.place.or(other.place);
        self.coupon = self.coupon.take().or_else(|| other.coupon.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use common::{Currency, Sku, ids};
    use proptest::prelude::*;

    use super::*;

    fn line(sku: &str, quantity: u32) -> CartLine {
        let carted = Carted { unit_price: Money::from_minor(100, Currency::Eur).unwrap(), revision: 1 };
        CartLine { line: BasketLine { sku: Sku::parse(sku).unwrap(), quantity, options: Vec::new() }, carted }
    }

    fn of(owner: CartOwner, lines: &[(u8, u32)]) -> Cart {
        let mut cart = Cart::empty(owner);
        for (sku, quantity) in lines {
            cart.put(line(&format!("S{sku}"), *quantity)).unwrap();
        }
        cart
    }

    fn user() -> CartOwner {
        CartOwner::User(ids::random().into())
    }

    fn visitor() -> CartOwner {
        CartOwner::Visitor(ids::random().into())
    }

    fn wanted(cart: &Cart) -> Vec<(&str, u32)> {
        cart.lines.iter().map(|line| (line.line.sku.as_str(), line.line.quantity)).collect()
    }

    #[test]
    fn two_baskets_become_one_without_doubling_or_losing() {
        let mut mine = of(user(), &[(1, 1), (2, 3)]);
        mine.take_in(&of(visitor(), &[(2, 2), (1, 4), (3, 1)])).unwrap();
        assert_eq!(wanted(&mine), [("S1", 4), ("S2", 3), ("S3", 1)]);
        let full: Vec<(u8, u32)> = (0..50).map(|sku| (sku, 1)).collect();
        let mut full = of(user(), &full);
        assert_eq!(full.take_in(&of(visitor(), &[(99, 1)])), Err(CartFull));
        assert_eq!(full.put(line("S99", 1)), Err(CartFull));
        assert_eq!(full.put(line("S49", 9)), Ok(()));
    }

    #[test]
    fn a_version_is_never_seen_twice_and_only_visitors_are_forgotten() {
        let now = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
        let first = Cart::empty(visitor()).changed(now);
        assert_eq!((first.version, first.expires_at), (1_700_000_000_000, Some(now + VISITOR_LIFETIME)));
        assert_eq!(first.changed(now).version, 1_700_000_000_001);
        assert_eq!(Cart::empty(user()).changed(now).expires_at, None);
    }

    proptest! {
        #[test]
        fn merging_again_changes_nothing(
            mine in prop::collection::vec((0_u8..30, 1_u32..=99), 0..25),
            theirs in prop::collection::vec((0_u8..30, 1_u32..=99), 0..25),
        ) {
            let (mut mine, theirs) = (of(user(), &mine), of(visitor(), &theirs));
            mine.take_in(&theirs).unwrap();
            let once = mine.clone();
            mine.take_in(&theirs).unwrap();
            prop_assert_eq!(mine, once);
        }
    }
}
