//! How much of a SKU there is in one place and what may happen to it. Decided here: the arithmetic of a stock row, and that
//! `available + held + sold - returned = received + back_ordered` holds after each step. Not decided here: from which place
//! an order is served and who waits for goods (`shelves`), whose units are held (`reservation`), and how two decisions about
//! one row are kept apart (the store).

use std::fmt;
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

/// What happens to units of a stock row. Each is linear: a count of a row is a sum over its movements, which is how the audit
/// proves the counts. Releasing and selling end what holding began; covering ends what a back-order began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MovementKind {
    Received,
    /// More lay on the shelf than was known.
    Found,
    /// Less lay there, or what lies there cannot be sold.
    Lost,
    /// Promised before they came in; they can be held from here on.
    BackOrdered,
    Held,
    /// A promise that is owed no longer: the goods came in, or whoever waited does so no more.
    Covered,
    Released,
    Sold,
    /// Back on the shelf after a sale.
    Returned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of movement")]
pub struct UnknownMovement;

impl MovementKind {
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Found,
        Self::Lost,
        Self::BackOrdered,
        Self::Held,
        Self::Covered,
        Self::Released,
        Self::Sold,
        Self::Returned,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Found => "found",
            Self::Lost => "lost",
            Self::BackOrdered => "back_ordered",
            Self::Held => "held",
            Self::Covered => "covered",
            Self::Released => "released",
            Self::Sold => "sold",
            Self::Returned => "returned",
        }
    }
}

impl FromStr for MovementKind {
    type Err = UnknownMovement;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.code() == text).ok_or(UnknownMovement)
    }
}

/// The units of one SKU in one fulfilment centre. What is supplied without counting counts as received in the moment it is
/// held, so that the same equation holds for every row and `available` of such a row is always 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockLevel {
    pub kind: SupplyKind,
    pub available: i64,
    pub held: i64,
    pub sold: i64,
    pub returned: i64,
    pub received: i64,
    /// Promised beyond what was received.
    pub back_ordered: i64,
    /// The most that may be promised beyond it. Lowering it takes back no promise.
    pub back_order_limit: i64,
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
    /// Somebody ends a promise that is not there, or returns what was not sold. As above.
    #[error("fewer units are owed or sold than the movement ends")]
    NotOwed,
    #[error("no more units may be promised before they come in")]
    BeyondLimit,
    #[error("a stock row counts at most {} units", StockLevel::MAX_UNITS)]
    TooMany,
}

impl StockLevel {
    /// Far above any warehouse and far below the end of the integers, so that sums of rows stay exact.
    pub const MAX_UNITS: i64 = 1_000_000_000_000;

    pub fn empty(kind: SupplyKind) -> Self {
        Self {
            kind,
            available: 0,
            held: 0,
            sold: 0,
            returned: 0,
            received: 0,
            back_ordered: 0,
            back_order_limit: 0,
            version: 0,
        }
    }

    /// Applies a movement of `units`. `Received` and `Returned` leave debts as they are: whoever adds units covers next.
    ///
    /// # Errors
    /// [`LevelError`]; the row is as it was.
    pub fn apply(self, kind: MovementKind, units: u32) -> Result<Self, LevelError> {
        let units = i64::from(units);
        let counted = self.kind.is_counted();
        let next = match kind {
            MovementKind::Received => {
                Self { available: self.available + units, received: self.received + units, ..self }
            }
            // What is not counted cannot be counted wrongly.
            MovementKind::Found | MovementKind::Lost if !counted => return Err(LevelError::Short),
            MovementKind::Found => Self { available: self.available + units, received: self.received + units, ..self },
            // What was promised before it came in stands in the books as available for a moment, and is not there to be lost.
            MovementKind::Lost if self.available < units || self.received < units => return Err(LevelError::Short),
            MovementKind::Lost => Self { available: self.available - units, received: self.received - units, ..self },
            MovementKind::BackOrdered if !counted || self.back_ordered + units > self.back_order_limit => {
                return Err(LevelError::BeyondLimit);
            }
            MovementKind::BackOrdered => {
                Self { available: self.available + units, back_ordered: self.back_ordered + units, ..self }
            }
            MovementKind::Held if !counted => Self { held: self.held + units, received: self.received + units, ..self },
            MovementKind::Held if self.available < units => return Err(LevelError::Short),
            MovementKind::Held => Self { available: self.available - units, held: self.held + units, ..self },
            MovementKind::Covered if self.back_ordered < units || self.available < units => {
                return Err(LevelError::NotOwed);
            }
            MovementKind::Covered => {
                Self { available: self.available - units, back_ordered: self.back_ordered - units, ..self }
            }
            MovementKind::Released | MovementKind::Sold if self.held < units => return Err(LevelError::NotHeld),
            MovementKind::Released if !counted => {
                Self { held: self.held - units, received: self.received - units, ..self }
            }
            MovementKind::Released => Self { available: self.available + units, held: self.held - units, ..self },
            MovementKind::Sold => Self { held: self.held - units, sold: self.sold + units, ..self },
            MovementKind::Returned if self.sold - self.returned < units => return Err(LevelError::NotOwed),
            MovementKind::Returned if !counted => {
                Self { returned: self.returned + units, received: self.received - units, ..self }
            }
            MovementKind::Returned => {
                Self { available: self.available + units, returned: self.returned + units, ..self }
            }
        };
        next.moved()
    }

    /// The equation of a stock row, and that nothing is negative.
    pub fn balances(&self) -> bool {
        let parts = [self.available, self.held, self.sold, self.returned, self.received, self.back_ordered];
        parts.iter().all(|units| *units >= 0)
            && self.available + self.held + self.sold - self.returned == self.received + self.back_ordered
            && (self.kind.is_counted() || self.available == 0)
    }

    /// What may be said about units of this kind: so many are there, and so many more may be promised.
    pub fn availability(kind: SupplyKind, available: i64, room: i64) -> Availability {
        let units = |count: i64| u32::try_from(count.max(0)).unwrap_or(u32::MAX);
        match kind {
            SupplyKind::Counted | SupplyKind::Serialised if room > 0 => {
                Availability::BackOrder { there: units(available), room: units(room) }
            }
            SupplyKind::Counted | SupplyKind::Serialised => Availability::Counted(units(available)),
            SupplyKind::MadeToOrder => Availability::MadeToOrder,
            SupplyKind::Unlimited => Availability::Digital,
        }
    }

    fn moved(self) -> Result<Self, LevelError> {
        let moved = Self { version: self.version + 1, ..self };
        if moved.received > Self::MAX_UNITS || moved.back_ordered > Self::MAX_UNITS {
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
    /// Units for sale, and how many more may be promised before they come in.
    BackOrder {
        there: u32,
        room: u32,
    },
    MadeToOrder,
    Digital,
}

/// The words shoppers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    InStock,
    Low,
    /// None are there; they are sent when they come in.
    BackOrder,
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
            Self::BackOrder { there: 0, .. } => Level::BackOrder,
            Self::BackOrder { there, .. } => Self::Counted(there).level(),
            Self::MadeToOrder => Level::MadeToOrder,
            Self::Digital => Level::Digital,
        }
    }

    /// Units that could be ordered now; the largest number where nothing is counted.
    pub fn units(self) -> u32 {
        match self {
            Self::Counted(units) => units,
            Self::BackOrder { there, room } => there.saturating_add(room),
            Self::MadeToOrder | Self::Digital => u32::MAX,
        }
    }
}

impl Level {
    pub const ALL: [Self; 6] = [Self::InStock, Self::Low, Self::BackOrder, Self::Out, Self::MadeToOrder, Self::Digital];

    /// The level of that code.
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.code() == code)
    }

    /// How far away the goods are, the nearest first: what a product with several forms says of itself.
    pub fn distance(self) -> u8 {
        match self {
            Self::Digital => 0,
            Self::InStock => 1,
            Self::Low => 2,
            Self::MadeToOrder => 3,
            Self::BackOrder => 4,
            Self::Out => 5,
        }
    }

    /// As the public API spells it.
    pub fn code(self) -> &'static str {
        match self {
            Self::InStock => "in_stock",
            Self::Low => "low",
            Self::BackOrder => "back_order",
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
            (MovementKind::Found, 5, Ok((15, 4, 2, 21))),
            (MovementKind::Lost, 10, Ok((0, 4, 2, 6))),
            (MovementKind::Lost, 11, Err(LevelError::Short)),
            (MovementKind::Held, 10, Ok((0, 14, 2, 16))),
            (MovementKind::Held, 11, Err(LevelError::Short)),
            (MovementKind::Released, 4, Ok((14, 0, 2, 16))),
            (MovementKind::Released, 5, Err(LevelError::NotHeld)),
            (MovementKind::Sold, 4, Ok((10, 0, 6, 16))),
            (MovementKind::Sold, 5, Err(LevelError::NotHeld)),
            (MovementKind::Returned, 2, Ok((12, 4, 2, 16))),
            (MovementKind::Returned, 3, Err(LevelError::NotOwed)),
            (MovementKind::BackOrdered, 1, Err(LevelError::BeyondLimit)),
            (MovementKind::Covered, 1, Err(LevelError::NotOwed)),
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
            let level = StockLevel::empty(kind).apply(MovementKind::Held, 1_000_000).unwrap();
            assert_eq!((level.available, level.held, level.received), (0, 1_000_000, 1_000_000));
            assert_eq!(level.clone().apply(MovementKind::Released, 1_000_000).unwrap().received, 0);
            let sold = level.apply(MovementKind::Sold, 1_000_000).unwrap();
            assert_eq!(sold.sold, 1_000_000);
            let back = sold.apply(MovementKind::Returned, 400_000).unwrap();
            assert_eq!((back.available, back.returned, back.received), (0, 400_000, 600_000));
        }
    }

    #[test]
    fn serial_numbers_are_printed_with_their_sku() {
        let serial = SerialNumber { sku: Sku::parse("GA-1").unwrap(), number: 42 };
        assert_eq!(serial.to_string(), "GA-1-000042");
    }

    #[test]
    fn no_more_is_promised_beyond_what_came_in_than_the_limit_allows() {
        let level = StockLevel { back_order_limit: 3, ..counted(0, 0, 0) };
        let level = level.apply(MovementKind::BackOrdered, 3).unwrap().apply(MovementKind::Held, 3).unwrap();
        assert_eq!((level.available, level.held, level.received, level.back_ordered), (0, 3, 0, 3));
        assert_eq!(level.clone().apply(MovementKind::BackOrdered, 1), Err(LevelError::BeyondLimit));
        // A lower limit takes nothing back.
        let lowered = StockLevel { back_order_limit: 0, ..level };
        assert_eq!(lowered.clone().apply(MovementKind::BackOrdered, 1), Err(LevelError::BeyondLimit));
        let covered = lowered.apply(MovementKind::Received, 5).unwrap().apply(MovementKind::Covered, 3).unwrap();
        assert_eq!((covered.available, covered.received, covered.back_ordered), (2, 5, 0));
    }

    #[test]
    fn a_row_cannot_grow_without_limit() {
        let full = counted(StockLevel::MAX_UNITS, 0, 0);
        assert_eq!(full.apply(MovementKind::Received, 1), Err(LevelError::TooMany));
    }

    #[test]
    fn pages_say_how_much_is_left_in_words() {
        let table = [
            (Availability::Counted(0), "out", 0),
            (Availability::Counted(5), "low", 5),
            (Availability::Counted(6), "in_stock", 6),
            (Availability::BackOrder { there: 0, room: 3 }, "back_order", 3),
            (Availability::BackOrder { there: 2, room: 3 }, "low", 5),
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
        prop::collection::vec((prop::sample::select(MovementKind::ALL.to_vec()), 0_u32..20), 0..60)
    }

    proptest! {
        #[test]
        fn the_equation_holds_after_any_sequence(kind in prop::sample::select(SupplyKind::ALL.to_vec()), limit in 0_i64..30, steps in movements()) {
            let mut level = StockLevel { back_order_limit: limit, ..StockLevel::empty(kind) };
            let mut sums = std::collections::HashMap::new();
            for (movement, units) in steps {
                // Nothing that is not counted is ever received; receipts of such SKUs have no units.
                let units = if movement == MovementKind::Received && !kind.is_counted() { 0 } else { units };
                if let Ok(after) = level.clone().apply(movement, units) {
                    prop_assert!(after.balances(), "{:?}", after);
                    prop_assert_eq!(after.version, level.version + 1);
                    prop_assert!(after.back_ordered <= limit);
                    *sums.entry(movement).or_insert(0) += i64::from(units);
                    level = after;
                }
            }
            let sum = |kind| sums.get(&kind).copied().unwrap_or(0);
            use MovementKind::{BackOrdered, Covered, Held, Released, Returned, Sold};
            prop_assert_eq!(
                (level.held, level.sold, level.returned, level.back_ordered),
                (sum(Held) - sum(Released) - sum(Sold), sum(Sold), sum(Returned), sum(BackOrdered) - sum(Covered))
            );
        }
    }
}
