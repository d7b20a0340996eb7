//! Money on the wire: `units` and `nanos` of a currency, converted without loss in both directions.

use ::common::{Currency, Money, MoneyError};
use rust_decimal::Decimal;

use crate::common::v1;

const NANOS_PER_UNIT: i64 = 1_000_000_000;

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        let per_unit = 10_i64.pow(money.currency().exponent());
        let nanos = money.minor() % per_unit * (NANOS_PER_UNIT / per_unit);
        // A remainder of one unit is below 1e9 and fits.
        let nanos = i32::try_from(nanos).unwrap_or_default();
        Self { currency: money.currency().code().to_owned(), units: money.minor() / per_unit, nanos }
    }
}

impl TryFrom<v1::Money> for Money {
    type Error = MoneyError;

    fn try_from(wire: v1::Money) -> Result<Self, Self::Error> {
        let currency: Currency = wire.currency.parse()?;
        let signs_agree = wire.units == 0 || wire.nanos == 0 || (wire.units > 0) == (wire.nanos > 0);
        if !signs_agree || i64::from(wire.nanos).abs() >= NANOS_PER_UNIT {
            return Err(MoneyError::NotANumber);
        }
        Money::new(Decimal::from(wire.units) + Decimal::new(i64::from(wire.nanos), 9), currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn money_survives_the_wire(minor in -9_999_999_999_i64..=9_999_999_999, currency in prop::sample::select(Currency::ALL)) {
            if let Ok(money) = Money::from_minor(minor, currency) {
                prop_assert_eq!(Money::try_from(v1::Money::from(money)), Ok(money));
            }
        }
    }

    #[test]
    fn crooked_wire_amounts_are_refused() {
        let wire = |units, nanos| v1::Money { currency: "EUR".to_owned(), units, nanos };
        for crooked in [wire(1, -1), wire(0, 1_000_000_000), wire(1, 1), wire(i64::MAX, 0)] {
            assert!(Money::try_from(crooked.clone()).is_err(), "{crooked:?}");
        }
    }
}
