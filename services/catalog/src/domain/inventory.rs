//! How much of a SKU there is and what may happen to it. Decided here: the arithmetic of a stock row, and that
//! `available + held + sold - returned = received` holds after each step. Not decided here: whose units are held
//! (`reservation`), and how two decisions about one row are kept apart (the store).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use common::Sku;

/// How a SKU is supplied. A SKU keeps its kind for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SupplyKind {
    /// Units on a shelf.
    Counted,
    /// Units on a shelf, each of which gets a serial number when it is sold.
    Serialised,
    /// Made after it is ordered, then sent; never runs out.
    MadeToOrder,
    /// A download or a subscription; never runs out and is not sent.
    Unlimited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of counted, serialised, made_to_order, unlimited")]
pub struct UnknownSupplyKind;

impl SupplyKind {
    pub const ALL: [Self; 4] = [Self::Counted, Self::Serialised, Self::MadeToOrder, Self::Unlimited];

    pub fn code(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Serialised => "serialised",
            Self::MadeToOrder => "made_to_order",
            Self::Unlimited => "unlimited",
        }
    }

    /// Can run out.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Counted | Self::Serialised)
    }

    /// Has to be sent.
    pub fn is_physical(self) -> bool {
        !matches!(self, Self::Unlimited)
    }
}

impl FromStr for SupplyKind {
    type Err = UnknownSupplyKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.code() == text).ok_or(UnknownSupplyKind)
    }
}

/// What happens to units of a stock row. Releasing and selling end what holding began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MovementKind {
    Received,
    Held,
    Released,
    Sold,
}

impl MovementKind {
    pub fn code(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Held => "held",
            Self::Released => "released",
            Self::Sold => "sold",
        }
    }
}

/// The units of one SKU. What is supplied without counting counts as received in the moment it is held, so that the same
/// equation holds for every row and `available` of such a row is always 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockLevel {
    pub kind: SupplyKind,
    pub available: i64,
    pub held: i64,
    pub sold: i64,
    pub returned: i64,
    pub received: i64,
    /// Grows by one with each movement, from 0.
    pub version: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    #[error("not enough units are available")]
    Short,
    /// Somebody ends a hold that is not there. Never happens unless a row was changed by hand.
    #[error("fewer units are held than the movement ends")]
    NotHeld,
    #[error("a stock row counts at most {} units", StockLevel::MAX_UNITS)]
    TooMany,
}

impl StockLevel {
    /// Far above any warehouse and far below the end of the integers, so that sums of rows stay exact.
    pub const MAX_UNITS: i64 = 1_000_000_000_000;

    pub fn empty(kind: SupplyKind) -> Self {
        Self { kind, available: 0, held: 0, sold: 0, returned: 0, received: 0, version: 0 }
    }

    /// # Errors
    /// [`LevelError::TooMany`]
    pub fn receive(self, units: u32) -> Result<Self, LevelError> {
        let units = i64::from(units);
        Self { available: self.available + units, received: self.received + units, ..self }.moved()
    }

    /// # Errors
    /// [`LevelError::Short`] when fewer than `units` are available, [`LevelError::TooMany`]
    pub fn hold(self, units: u32) -> Result<Self, LevelError> {
        let units = i64::from(units);
        if !self.kind.is_counted() {
            return Self { held: self.held + units, received: self.received + units, ..self }.moved();
        }
        if self.available < units {
            return Err(LevelError::Short);
        }
        Self { available: self.available - units, held: self.held + units, ..self }.moved()
    }

    /// # Errors
    /// [`LevelError::NotHeld`]
    pub fn release(self, units: u32) -> Result<Self, LevelError> {
        let units = i64::from(units);
        if self.held < units {
            return Err(LevelError::NotHeld);
        }
        if !self.kind.is_counted() {
            return Self { held: self.held - units, received: self.received - units, ..self }.moved();
        }
        Self { available: self.available + units, held: self.held - units, ..self }.moved()
    }

    /// # Errors
    /// [`LevelError::NotHeld`]
    pub fn sell(self, units: u32) -> Result<Self, LevelError> {
        let units = i64::from(units);
        if self.held < units {
            return Err(LevelError::NotHeld);
        }
        Self { held: self.held - units, sold: self.sold + units, ..self }.moved()
    }

    /// Applies a movement of `units`.
    ///
    /// # Errors
    /// As the method of that movement.
    pub fn apply(self, kind: MovementKind, units: u32) -> Result<Self, LevelError> {
        match kind {
            MovementKind::Received => self.receive(units),
            MovementKind::Held => self.hold(units),
            MovementKind::Released => self.release(units),
            MovementKind::Sold => self.sell(units),
        }
    }

    /// Serial numbers of the `units` sold last: they are handed out in the order of sale, so a sale can never run out of them.
    pub fn serials_of_last(&self, units: u32) -> Option<RangeInclusive<i64>> {
        (self.kind == SupplyKind::Serialised && units > 0).then(|| self.sold - i64::from(units) + 1..=self.sold)
    }

    /// The equation of a stock row, and that nothing is negative.
    pub fn balances(&self) -> bool {
        let parts = [self.available, self.held, self.sold, self.returned, self.received];
        parts.iter().all(|units| *units >= 0)
            && self.available + self.held + self.sold - self.returned == self.received
            && (self.kind.is_counted() || self.available == 0)
    }

    pub fn availability(&self) -> Availability {
        match self.kind {
            SupplyKind::Counted | SupplyKind::Serialised => {
                Availability::Counted(u32::try_from(self.available).unwrap_or(u32::MAX))
            }
            SupplyKind::MadeToOrder => Availability::MadeToOrder,
            SupplyKind::Unlimited => Availability::Digital,
        }
    }

    fn moved(self) -> Result<Self, LevelError> {
        let moved = Self { version: self.version + 1, ..self };
        if moved.received > Self::MAX_UNITS {
            return Err(LevelError::TooMany);
        }
        debug_assert!(moved.balances(), "{moved:?}");
        Ok(moved)
    }
}

/// What a page may say about a SKU. Approximate by the time it is read: only a reservation decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Units for sale.
    Counted(u32),
    MadeToOrder,
    Digital,
}

/// The words shoppers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    InStock,
    Low,
    Out,
    MadeToOrder,
    Digital,
}

/// From here down a page says that few are left.
const LOW_STOCK: u32 = 5;

impl Availability {
    /// A SKU that never got a receipt.
    pub const NONE: Self = Self::Counted(0);

    pub fn level(self) -> Level {
        match self {
            Self::Counted(0) => Level::Out,
            Self::Counted(units) if units <= LOW_STOCK => Level::Low,
            Self::Counted(_) => Level::InStock,
            Self::MadeToOrder => Level::MadeToOrder,
            Self::Digital => Level::Digital,
        }
    }

    /// Units that could be ordered now; the largest number where nothing is counted.
    pub fn units(self) -> u32 {
        match self {
            Self::Counted(units) => units,
            Self::MadeToOrder | Self::Digital => u32::MAX,
        }
    }
}

impl Level {
    /// As the public API spells it.
    pub fn code(self) -> &'static str {
        match self {
            Self::InStock => "in_stock",
            Self::Low => "low",
            Self::Out => "out",
            Self::MadeToOrder => "made_to_order",
            Self::Digital => "digital",
        }
    }
}

/// The serial number of one unit as printed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialNumber {
    pub sku: Sku,
    /// From 1, without gaps, in the order of sale.
    pub number: i64,
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{:06}", self.sku, self.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(available: i64, held: i64, sold: i64) -> StockLevel {
        StockLevel {
            available,
            held,
            sold,
            received: available + held + sold,
            ..StockLevel::empty(SupplyKind::Counted)
        }
    }

    #[test]
    fn each_movement_changes_exactly_its_two_counts() {
        let start = counted(10, 4, 2);
        let table = [
            (MovementKind::Received, 5, Ok((15, 4, 2, 21))),
            (MovementKind::Held, 10, Ok((0, 14, 2, 16))),
            (MovementKind::Held, 11, Err(LevelError::Short)),
            (MovementKind::Released, 4, Ok((14, 0, 2, 16))),
            (MovementKind::Released, 5, Err(LevelError::NotHeld)),
            (MovementKind::Sold, 4, Ok((10, 0, 6, 16))),
            (MovementKind::Sold, 5, Err(LevelError::NotHeld)),
        ];
        for (kind, units, expected) in table {
            let after = start.clone().apply(kind, units);
            assert_eq!(
                after.map(|level| (level.available, level.held, level.sold, level.received)),
                expected,
                "{kind:?} {units}"
            );
        }
    }

    #[test]
    fn what_is_not_counted_never_runs_out() {
        for kind in [SupplyKind::MadeToOrder, SupplyKind::Unlimited] {
            let level = StockLevel::empty(kind).hold(1_000_000).unwrap();
            assert_eq!((level.available, level.held, level.received), (0, 1_000_000, 1_000_000));
            assert_eq!(level.clone().release(1_000_000).unwrap().received, 0);
            assert_eq!(level.sell(1_000_000).unwrap().sold, 1_000_000);
        }
    }

    #[test]
    fn serial_numbers_follow_each_other_without_gaps() {
        let level = StockLevel::empty(SupplyKind::Serialised).receive(10).unwrap().hold(5).unwrap();
        let level = level.sell(2).unwrap();
        assert_eq!(level.serials_of_last(2), Some(1..=2));
        let level = level.sell(3).unwrap();
        assert_eq!(level.serials_of_last(3), Some(3..=5));
        assert_eq!(counted(1, 1, 1).serials_of_last(1), None);
        let serial = SerialNumber { sku: Sku::parse("GA-1").unwrap(), number: 42 };
        assert_eq!(serial.to_string(), "GA-1-000042");
    }

    #[test]
    fn a_row_cannot_grow_without_limit() {
        let full = counted(StockLevel::MAX_UNITS, 0, 0);
        assert_eq!(full.receive(1), Err(LevelError::TooMany));
    }

    #[test]
    fn pages_say_how_much_is_left_in_words() {
        let table = [
            (Availability::Counted(0), "out", 0),
            (Availability::Counted(5), "low", 5),
            (Availability::Counted(6), "in_stock", 6),
            (Availability::MadeToOrder, "made_to_order", u32::MAX),
            (Availability::Digital, "digital", u32::MAX),
        ];
        for (availability, code, units) in table {
            assert_eq!((availability.level().code(), availability.units()), (code, units));
        }
        for kind in SupplyKind::ALL {
            assert_eq!(kind.code().parse(), Ok(kind));
        }
        assert_eq!("Counted".parse::<SupplyKind>(), Err(UnknownSupplyKind));
    }

    fn movements() -> impl Strategy<Value = Vec<(MovementKind, u32)>> {
        let kind = prop::sample::select(vec![
            MovementKind::Received,
            MovementKind::Held,
            MovementKind::Released,
            MovementKind::Sold,
        ]);
        prop::collection::vec((kind, 0_u32..20), 0..60)
    }

    proptest! {
        #[test]
        fn the_equation_holds_after_any_sequence(kind in prop::sample::select(SupplyKind::ALL.to_vec()), steps in movements()) {
            let mut level = StockLevel::empty(kind);
            let (mut held, mut released, mut sold) = (0, 0, 0);
            for (movement, units) in steps {
                // Nothing that is not counted is ever received; receipts of such SKUs have no units.
                let units = if movement == MovementKind::Received && !kind.is_counted() { 0 } else { units };
                if let Ok(after) = level.clone().apply(movement, units) {
                    prop_assert!(after.balances(), "{:?}", after);
                    prop_assert_eq!(after.version, level.version + 1);
                    match movement {
                        MovementKind::Held => held += i64::from(units),
                        MovementKind::Released => released += i64::from(units),
                        MovementKind::Sold => sold += i64::from(units),
                        MovementKind::Received => {}
                    }
                    level = after;
                }
            }
            prop_assert_eq!((level.held, level.sold), (held - released - sold, sold));
        }
    }
}
