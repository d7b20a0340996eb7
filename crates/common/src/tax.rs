//! Tax on one amount: rates, classes, places, and the one rounding there is. The facts come from `topology.toml` through
//! [`Region`](crate::Region). Not decided here: how the tax of a whole order is spread over its lines, which is the order's.

use std::fmt;
use std::str::FromStr;

use crate::money::{Money, MoneyError};

/// Which of a place's rates a product has; its family tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaxClass {
    Standard,
    Reduced,
    Digital,
    /// Never taxed.
    Zero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a tax class")]
pub struct UnknownTaxClass;

impl TaxClass {
    pub const ALL: [Self; 4] = [Self::Standard, Self::Reduced, Self::Digital, Self::Zero];

    pub fn code(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Reduced => "reduced",
            Self::Digital => "digital",
            Self::Zero => "zero",
        }
    }
}

impl FromStr for TaxClass {
    type Err = UnknownTaxClass;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|class| class.code() == text).ok_or(UnknownTaxClass)
    }
}

/// Whether the price that people are shown contains the tax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prices {
    Inclusive,
    /// It is added at checkout, by destination.
    Exclusive,
}

/// Which amounts the tax of an order is rounded on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoundTax {
    /// Each line by itself.
    Line,
    /// The sum of all lines of one rate; the lines share the result.
    Total,
}

/// What becomes of exactly half a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ties {
    /// Away from zero.
    HalfUp,
    /// To the even neighbour.
    HalfEven,
}

/// A share of the net amount, from 0 to 100 percent, exact to a millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaxRate(u32);

const WHOLE: u32 = 1_000_000;

impl TaxRate {
    pub const ZERO: Self = Self(0);

    /// `None` above 100 percent.
    pub fn new(millionths: u32) -> Option<Self> {
        (millionths <= WHOLE).then_some(Self(millionths))
    }

    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Percent without needless zeros: `19`, `8.875`.
    pub fn percent(self) -> String {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:04}").trim_end_matches('0').to_owned() }
    }

    /// The tax in minor units that `amount` contains (inclusive) or is to bear (exclusive), rounded once.
    pub fn tax_on(self, amount_minor: i64, prices: Prices, ties: Ties) -> i64 {
        let (whole, share) = self.fraction(amount_minor, prices);
        // Rounded on the magnitude, so that what is given back is what was taken.
        let (negative, whole) = (whole < 0, whole.unsigned_abs());
        let (quotient, twice) = (whole / share, whole % share * 2);
        let up = match ties {
            Ties::HalfUp => twice >= share,
            Ties::HalfEven => twice > share || (twice == share && quotient % 2 == 1),
        };
        let rounded = i64::try_from(quotient + u128::from(up)).unwrap_or(i64::MAX);
        if negative { -rounded } else { rounded }
    }

    /// The exact tax as a fraction: numerator and (positive) denominator.
    pub fn fraction(self, amount_minor: i64, prices: Prices) -> (i128, u128) {
        let denominator = match prices {
            Prices::Inclusive => WHOLE + self.0,
            Prices::Exclusive => WHOLE,
        };
        (i128::from(amount_minor) * i128::from(self.0), u128::from(denominator))
    }

    /// As [`TaxRate::tax_on`], for money.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when the tax does not fit.
    pub fn of(self, amount: Money, prices: Prices, ties: Ties) -> Result<Money, MoneyError> {
        Money::from_minor(self.tax_on(amount.minor(), prices, ties), amount.currency())
    }
}

/// Where the tax of a delivery is owed: a country, or a state of one.
#[derive(Clone, Copy)]
pub struct TaxPlace(&'static PlaceFacts);

impl TaxPlace {
    pub(crate) fn of(facts: &'static PlaceFacts) -> Self {
        Self(facts)
    }

    /// ISO 3166: `DE`, `US-VA`.
    pub fn code(self) -> &'static str {
        self.0.code
    }

    pub fn country(self) -> &'static str {
        self.0.country
    }

    pub fn rate(self, class: TaxClass) -> TaxRate {
        match class {
            TaxClass::Standard => TaxRate(self.0.standard),
            TaxClass::Reduced => TaxRate(self.0.reduced),
            TaxClass::Digital => TaxRate(self.0.digital),
            TaxClass::Zero => TaxRate::ZERO,
        }
    }
}

impl PartialEq for TaxPlace {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code()
    }
}

impl Eq for TaxPlace {}

impl fmt::Debug for TaxPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TaxPlace({})", self.code())
    }
}

/// What the topology says about tax in one region.
pub(crate) struct TaxFacts {
    pub prices: Prices,
    pub round: RoundTax,
    pub ties: Ties,
    pub families: &'static [(&'static str, TaxClass)],
    pub places: &'static [PlaceFacts],
}

pub(crate) struct PlaceFacts {
    pub code: &'static str,
    pub country: &'static str,
    /// First three digits of postal codes, both ends included. Empty for a country with one set of rates.
    pub postal: &'static [(u16, u16)],
    /// Rates in millionths; the build has made sure that none is above 100 percent.
    pub standard: u32,
    pub reduced: u32,
    pub digital: u32,
}

impl PlaceFacts {
    pub(crate) fn covers(&self, postal_code: &str) -> bool {
        if self.postal.is_empty() {
            return true;
        }
        let five = postal_code.get(..5).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let first_three = five.and_then(|digits| digits[..3].parse().ok());
        first_three.is_some_and(|prefix| self.postal.iter().any(|&(from, to)| (from..=to).contains(&prefix)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(millionths: u32) -> TaxRate {
        TaxRate::new(millionths).unwrap()
    }

    #[test]
    fn tax_is_rounded_once_and_by_the_rule() {
        use Prices::{Exclusive, Inclusive};
        use Ties::{HalfEven, HalfUp};
        let table = [
            (4990, 190_000, Inclusive, HalfUp, 797),
            (11_900, 190_000, Inclusive, HalfUp, 1_900),
            (1, 190_000, Inclusive, HalfUp, 0),
            (0, 190_000, Inclusive, HalfUp, 0),
            (9_999, 53_000, Exclusive, HalfUp, 530),
            (100, 66_250, Exclusive, HalfUp, 7),
            // exactly one half
            (10, 50_000, Exclusive, HalfUp, 1),
            (10, 50_000, Exclusive, HalfEven, 0),
            (30, 50_000, Exclusive, HalfUp, 2),
            (30, 50_000, Exclusive, HalfEven, 2),
            (-10, 50_000, Exclusive, HalfUp, -1),
            (9_999_999_999, 1_000_000, Exclusive, HalfUp, 9_999_999_999),
        ];
        for (amount, millionths, prices, ties, expected) in table {
            let found = rate(millionths).tax_on(amount, prices, ties);
            assert_eq!(found, expected, "{amount} at {millionths} {prices:?} {ties:?}");
        }
    }

    #[test]
    fn a_rate_reads_as_percent() {
        for (millionths, text) in [(0, "0"), (190_000, "19"), (88_750, "8.875"), (255_000, "25.5"), (1_000_000, "100")]
        {
            assert_eq!(rate(millionths).percent(), text);
        }
        assert_eq!(TaxRate::new(1_000_001), None);
        for class in TaxClass::ALL {
            assert_eq!(class.code().parse(), Ok(class));
        }
        assert_eq!("luxury".parse::<TaxClass>(), Err(UnknownTaxClass));
    }

    proptest! {
        #[test]
        fn the_tax_is_never_further_than_half_a_minor_unit_from_exact(
            amount in -9_999_999_999_i64..=9_999_999_999, millionths in 0_u32..=1_000_000, inclusive: bool, even: bool,
        ) {
            let prices = if inclusive { Prices::Inclusive } else { Prices::Exclusive };
            let ties = if even { Ties::HalfEven } else { Ties::HalfUp };
            let tax = rate(millionths).tax_on(amount, prices, ties);
            let (numerator, denominator) = rate(millionths).fraction(amount, prices);
            let distance = (i128::from(tax) * denominator as i128 - numerator).unsigned_abs();
            prop_assert!(distance * 2 <= denominator);
            // What is contained is never more than what contains it, and giving back mirrors taking.
            prop_assert!(!inclusive || tax.abs() * 2 <= amount.abs() + 1);
            prop_assert_eq!(rate(millionths).tax_on(-amount, prices, ties), -tax);
        }
    }
}
