//! From the catalog's prices to the total of an order. Exact arithmetic in minor units; what does not fit is refused, never
//! rounded or wrapped.

use common::{Currency, Money, Sku};

/// One line with its price, frozen in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricedLine {
    pub sku: Sku,
    pub name: String,
    pub quantity: u32,
    pub unit_price: Money,
    /// What the shopper chose for a made-to-order product, by key.
    pub options: Vec<(String, String)>,
}

/// The largest charge card gateways take: eight digits of minor units. It lies below what an order can hold.
pub const LARGEST_CHARGE_MINOR: i64 = 99_999_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteProblem {
    #[error("the total is higher than one payment can be")]
    TooMuch,
    #[error("a price is not a positive amount of {0}")]
    CrookedPrice(Currency),
}

/// The sum over all lines.
///
/// # Errors
/// [`QuoteProblem`]; a price of another currency or of zero is a fault of the catalog, not of the shopper.
pub fn total(lines: &[PricedLine], currency: Currency) -> Result<Money, QuoteProblem> {
    let mut total = Money::zero(currency);
    for line in lines {
        if line.unit_price.currency() != currency || line.unit_price.minor() < 1 {
            return Err(QuoteProblem::CrookedPrice(currency));
        }
        let sum = line.unit_price.times(line.quantity).and_then(|price| total.checked_add(price));
        total = sum.map_err(|_| QuoteProblem::TooMuch)?;
    }
    if total.minor() > LARGEST_CHARGE_MINOR { Err(QuoteProblem::TooMuch) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(minor: i64, quantity: u32) -> PricedLine {
        let unit_price = Money::from_minor(minor, Currency::Eur).unwrap();
        PricedLine { sku: Sku::parse("A-1").unwrap(), name: String::new(), quantity, unit_price, options: Vec::new() }
    }

    #[test]
    fn totals_that_do_not_fit_are_refused() {
        let table = [
            (vec![line(4990, 2), line(1, 1)], Ok(9981)),
            (vec![line(99_999_999, 1)], Ok(99_999_999)),
            (vec![line(99_999_999, 1), line(1, 1)], Err(QuoteProblem::TooMuch)),
            (vec![line(9_999_999_999, 99)], Err(QuoteProblem::TooMuch)),
            (vec![line(0, 1)], Err(QuoteProblem::CrookedPrice(Currency::Eur))),
            (vec![line(-5, 1)], Err(QuoteProblem::CrookedPrice(Currency::Eur))),
        ];
        for (lines, expected) in table {
            assert_eq!(total(&lines, Currency::Eur).map(Money::minor), expected);
        }
        assert_eq!(total(&[line(5, 1)], Currency::Usd), Err(QuoteProblem::CrookedPrice(Currency::Usd)));
    }

    proptest! {
        #[test]
        fn the_sum_of_the_lines_is_the_total_or_a_refusal(lines in prop::collection::vec((1_i64..9_999_999_999, 1_u32..=99), 1..50)) {
            let exact: i128 = lines.iter().map(|(minor, quantity)| i128::from(*minor) * i128::from(*quantity)).sum();
            let lines: Vec<_> = lines.into_iter().map(|(minor, quantity)| line(minor, quantity)).collect();
            match total(&lines, Currency::Eur) {
                Ok(total) => prop_assert_eq!(i128::from(total.minor()), exact),
                Err(problem) => {
                    prop_assert_eq!(problem, QuoteProblem::TooMuch);
                    prop_assert!(exact > i128::from(LARGEST_CHARGE_MINOR));
                }
            }
        }
    }
}
