//! How the tax of an order comes about. Decided here: that net and tax make the gross amount of each line and of the whole,
//! whichever side a region shows, and how a tax that is rounded on a total is shared by its lines. The rates and the rounding
//! of one amount are facts of the region (`common::tax`).
//!
//! Splitting a line into `n` lines changes the tax by at most `n - 1` minor units where each line is rounded by itself, and
//! not at all where the total is.

use common::{Money, MoneyError, Prices, Region, RoundTax, TaxClass, TaxPlace, TaxRate, Ties};

/// The rules of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaxRules {
    pub prices: Prices,
    pub round: RoundTax,
    pub ties: Ties,
}

impl TaxRules {
    pub fn of(region: Region) -> Self {
        Self { prices: region.prices(), round: region.round_tax(), ties: region.tax_ties() }
    }
}

/// The tax of one line, frozen in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTax {
    pub class: TaxClass,
    pub rate: TaxRate,
    pub parts: Parts,
}

/// The tax of one order, frozen in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderTax {
    /// Where it is owed.
    pub place: TaxPlace,
    pub prices: Prices,
    pub parts: Parts,
}

/// An amount in its parts; `net + tax = gross`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub net: Money,
    pub tax: Money,
    pub gross: Money,
}

impl Parts {
    /// # Errors
    /// [`MoneyError::OutOfRange`] when the gross amount does not fit.
    fn of(listed: Money, tax_minor: i64, prices: Prices) -> Result<Self, MoneyError> {
        let tax = Money::from_minor(tax_minor, listed.currency())?;
        match prices {
            Prices::Inclusive => Ok(Self { net: listed.checked_sub(tax)?, tax, gross: listed }),
            Prices::Exclusive => Ok(Self { net: listed, tax, gross: listed.checked_add(tax)? }),
        }
    }

    /// # Errors
    /// As for [`Money::checked_add`].
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        Ok(Self {
            net: self.net.checked_add(other.net)?,
            tax: self.tax.checked_add(other.tax)?,
            gross: self.gross.checked_add(other.gross)?,
        })
    }
}

/// The parts of each amount, in the order given. The amounts are what the region shows: with the tax in them or without.
///
/// # Errors
/// [`MoneyError::OutOfRange`] when a gross amount does not fit.
pub fn assess(listed: &[(Money, TaxRate)], rules: TaxRules) -> Result<Vec<Parts>, MoneyError> {
    let taxes = match rules.round {
        RoundTax::Line => {
            listed.iter().map(|(amount, rate)| rate.tax_on(amount.minor(), rules.prices, rules.ties)).collect()
        }
        RoundTax::Total => shared(listed, rules),
    };
    listed.iter().zip(taxes).map(|((amount, _), tax)| Parts::of(*amount, tax, rules.prices)).collect()
}

/// The tax of all amounts of one rate, rounded once. Each amount gets its share rounded down; the units that are left go to
/// those that lost most by it, the first of equals first.
fn shared(listed: &[(Money, TaxRate)], rules: TaxRules) -> Vec<i64> {
    let mut taxes = vec![0; listed.len()];
    let mut rates: Vec<_> = listed.iter().map(|(_, rate)| *rate).collect();
    rates.sort_unstable();
    rates.dedup();
    for rate in rates {
        let mine: Vec<usize> = (0..listed.len()).filter(|index| listed[*index].1 == rate).collect();
        let sum: i64 = mine.iter().map(|index| listed[*index].0.minor()).sum();
        let mut left = rate.tax_on(sum, rules.prices, rules.ties);
        let mut lost: Vec<(i128, usize)> = Vec::with_capacity(mine.len());
        for index in mine {
            let (numerator, denominator) = rate.fraction(listed[index].0.minor(), rules.prices);
            let denominator = i128::try_from(denominator).unwrap_or(i128::MAX);
            let share = i64::try_from(numerator.div_euclid(denominator)).unwrap_or(i64::MAX);
            taxes[index] = share;
            left -= share;
            lost.push((numerator.rem_euclid(denominator), index));
        }
        lost.sort_by_key(|&(remainder, index)| (std::cmp::Reverse(remainder), index));
        for (_, index) in lost.into_iter().take(usize::try_from(left).unwrap_or_default()) {
            taxes[index] += 1;
        }
    }
    taxes
}

#[cfg(test)]
mod tests {
    use common::Currency;
    use proptest::prelude::*;

    use super::*;

    fn rules(prices: Prices, round: RoundTax, ties: Ties) -> TaxRules {
        TaxRules { prices, round, ties }
    }

    fn listed(currency: Currency, amounts: &[(i64, u32)]) -> Vec<(Money, TaxRate)> {
        let amount =
            |&(minor, rate): &(i64, u32)| (Money::from_minor(minor, currency).unwrap(), TaxRate::new(rate).unwrap());
        amounts.iter().map(amount).collect()
    }

    fn taxes(amounts: &[(i64, u32)], rules: TaxRules) -> Vec<i64> {
        assess(&listed(Currency::Eur, amounts), rules).unwrap().iter().map(|parts| parts.tax.minor()).collect()
    }

    #[test]
    fn lines_share_a_rounded_total_or_are_rounded_each() {
        use Prices::{Exclusive, Inclusive};
        use RoundTax::{Line, Total};
        /// Amounts with their rates, the rules, and the tax of each.
        type Case<'a> = (&'a [(i64, u32)], TaxRules, &'a [i64]);
        let three = [(10, 50_000); 3];
        let table: [Case<'_>; 7] = [
            (&three, rules(Exclusive, Line, Ties::HalfUp), &[1, 1, 1]),
            (&three, rules(Exclusive, Line, Ties::HalfEven), &[0, 0, 0]),
            // 1.5 in sum
            (&three, rules(Exclusive, Total, Ties::HalfUp), &[1, 1, 0]),
            // two rates are two sums
            (&[(10, 50_000), (10, 150_000), (10, 50_000)], rules(Exclusive, Total, Ties::HalfUp), &[1, 2, 0]),
            // the one that lost more gets the unit
            (&[(11, 50_000), (19, 50_000)], rules(Exclusive, Total, Ties::HalfUp), &[1, 1]),
            (&[(4990, 190_000), (12_900, 190_000)], rules(Inclusive, Line, Ties::HalfUp), &[797, 2060]),
            (&[], rules(Inclusive, Total, Ties::HalfUp), &[]),
        ];
        for (amounts, rules, expected) in table {
            assert_eq!(taxes(amounts, rules), expected, "{amounts:?} {rules:?}");
        }
    }

    #[test]
    fn a_gross_amount_beyond_the_books_is_refused() {
        let most = listed(Currency::Eur, &[(9_999_999_999, 10_000)]);
        let exclusive = rules(Prices::Exclusive, RoundTax::Line, Ties::HalfUp);
        assert_eq!(assess(&most, exclusive), Err(MoneyError::OutOfRange));
        assert!(assess(&most, TaxRules { prices: Prices::Inclusive, ..exclusive }).is_ok());
    }

    fn any_rules() -> impl Strategy<Value = TaxRules> {
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(inclusive, line, up)| {
            rules(
                if inclusive { Prices::Inclusive } else { Prices::Exclusive },
                if line { RoundTax::Line } else { RoundTax::Total },
                if up { Ties::HalfUp } else { Ties::HalfEven },
            )
        })
    }

    /// Few rates, so that lines share them.
    fn any_rate() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), Just(50_000), Just(66_250), Just(190_000), Just(255_000), 0_u32..=1_000_000]
    }

    proptest! {
        #[test]
        fn the_parts_of_every_basket_add_up(
            amounts in prop::collection::vec((0_i64..=49_999_999, any_rate()), 0..50),
            rules in any_rules(),
            currency in prop::sample::select(Currency::ALL),
        ) {
            let listed = listed(currency, &amounts);
            let parts = assess(&listed, rules).unwrap();
            prop_assert_eq!(parts.len(), listed.len());
            for (parts, (amount, rate)) in parts.iter().zip(&listed) {
                prop_assert_eq!(parts.net.checked_add(parts.tax), Ok(parts.gross));
                prop_assert_eq!(if rules.prices == Prices::Inclusive { parts.gross } else { parts.net }, *amount);
                prop_assert!(!parts.tax.is_negative() && !parts.net.is_negative());
                // Never more than one minor unit from the exact share.
                let (numerator, denominator) = rate.fraction(amount.minor(), rules.prices);
                let distance = (i128::from(parts.tax.minor()) * denominator as i128 - numerator).unsigned_abs();
                prop_assert!(distance < denominator || (distance == denominator && denominator == 1));
            }
            if rules.round == RoundTax::Total {
                for rate in amounts.iter().map(|(_, rate)| *rate) {
                    let mine = |index: &usize| amounts[*index].1 == rate;
                    let of_rate: Vec<usize> = (0..amounts.len()).filter(mine).collect();
                    let sum: i64 = of_rate.iter().map(|index| amounts[*index].0).sum();
                    let tax: i64 = of_rate.iter().map(|index| parts[*index].tax.minor()).sum();
                    prop_assert_eq!(tax, TaxRate::new(rate).unwrap().tax_on(sum, rules.prices, rules.ties));
                }
            }
        }

        #[test]
        fn splitting_a_line_changes_no_more_than_stated(
            pieces in prop::collection::vec(0_i64..=9_999_999, 1..20), rate in any_rate(), rules in any_rules(),
        ) {
            let whole: i64 = pieces.iter().sum();
            let split: Vec<_> = pieces.iter().map(|piece| (*piece, rate)).collect();
            let (whole, split) = (taxes(&[(whole, rate)], rules)[0], taxes(&split, rules).iter().sum::<i64>());
            let bound = if rules.round == RoundTax::Total { 0 } else { pieces.len() as i64 - 1 };
            prop_assert!((whole - split).abs() <= bound, "{whole} {split}");
        }
    }
}
