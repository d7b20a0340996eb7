//! What promotions take off the lines of a basket. Decided here: the order, who stands beside whom, how an amount off the whole is
//! shared by the lines (largest remainder, to the smallest unit of the currency), and that no line ever costs nothing.
//!
//! A promotion on products or categories reckons line by line and rounds half up; one on the basket reckons once, over the lines
//! that it may reduce, and shares the result by what each line can lose.

use common::{Money, MoneyError, Sku};

use super::product::CategoryPath;
use super::promotion::{Off, Promotion, PromotionId, Target};
use super::promotion_book::Standing;

/// Promotions that reduce one basket; each is named in its price lock and beside its lines.
pub const MOST_IN_A_BASKET: usize = 8;
/// Promotions that reduce one line.
pub const MOST_ON_A_LINE: usize = 3;

/// A line at its list price.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    pub sku: &'a Sku,
    pub category: &'a CategoryPath,
    pub unit_price: Money,
    pub quantity: u32,
}

/// What one promotion takes off one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub promotion: PromotionId,
    pub revision: i64,
    pub amount: Money,
}

/// A line while promotions are at it, in minor units.
struct Open<'a> {
    listed: Listed<'a>,
    left: i64,
    cuts: Vec<Cut>,
    /// Reduced by one that stands alone.
    closed: bool,
}

impl<'a> Open<'a> {
    fn new(listed: Listed<'a>) -> Result<Self, MoneyError> {
        let left = listed.unit_price.minor().checked_mul(i64::from(listed.quantity)).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { listed, left, cuts: Vec::new(), closed: false })
    }

    /// The smallest unit stays.
    fn can_lose(&self) -> i64 {
        self.left - 1
    }

    fn is_open_to(&self, promotion: &Promotion) -> bool {
        let meant = match &promotion.target {
            Target::Basket => true,
            Target::Products(skus) => skus.contains(self.listed.sku),
            Target::Categories(wanted) => {
                let mut lineage = self.listed.category.lineage();
                lineage.any(|above| wanted.iter().any(|wanted| wanted.as_str() == above))
            }
        };
        let beside = promotion.stacks || self.cuts.is_empty();
        meant && beside && !self.closed && self.cuts.len() < MOST_ON_A_LINE && self.can_lose() > 0
    }
}

/// What comes off each of `lines`, in their order, when `offers` are tried one after the other.
///
/// # Errors
/// [`MoneyError`] when a line costs more than there are numbers for.
pub fn reduce(lines: &[Listed<'_>], offers: &[&Standing]) -> Result<Vec<Vec<Cut>>, MoneyError> {
    let mut lines = lines.iter().map(|listed| Open::new(*listed)).collect::<Result<Vec<_>, MoneyError>>()?;
    let mut applied = 0;
    for Standing { revision, promotion } in offers {
        if applied == MOST_IN_A_BASKET {
            break;
        }
        let meant: Vec<usize> = (0..lines.len()).filter(|index| lines[*index].is_open_to(promotion)).collect();
        let amounts = match promotion.target {
            Target::Basket => off_the_whole(&promotion.off, &meant, &lines),
            Target::Categories(_) | Target::Products(_) => {
                meant.iter().map(|index| off_one(&promotion.off, &lines[*index])).collect()
            }
        };
        applied += usize::from(amounts.iter().any(|amount| *amount > 0));
        for (index, minor) in meant.into_iter().zip(amounts).filter(|(_, minor)| *minor > 0) {
            let line = &mut lines[index];
            let amount = Money::from_minor(minor, line.listed.unit_price.currency())?;
            line.left -= minor;
            line.closed = !promotion.stacks;
            line.cuts.push(Cut { promotion: promotion.id.clone(), revision: *revision, amount });
        }
    }
    Ok(lines.into_iter().map(|line| line.cuts).collect())
}

fn off_one(off: &Off, line: &Open<'_>) -> i64 {
    let wanted = match off {
        Off::Percent(hundredths) => share_of(line.left, *hundredths),
        Off::Amount(amounts) => amounts
            .usual_in(line.listed.unit_price.currency())
            .map_or(0, |amount| amount.minor().saturating_mul(i64::from(line.listed.quantity))),
    };
    wanted.min(line.can_lose())
}

/// For each of `meant` its part of what comes off all of them together.
fn off_the_whole(off: &Off, meant: &[usize], lines: &[Open<'_>]) -> Vec<i64> {
    let Some(first) = meant.first() else { return Vec::new() };
    let sum: i64 = meant.iter().map(|index| lines[*index].left).sum();
    let wanted = match off {
        Off::Percent(hundredths) => share_of(sum, *hundredths),
        Off::Amount(amounts) => amounts.usual_in(lines[*first].listed.unit_price.currency()).map_or(0, Money::minor),
    };
    let weights: Vec<i64> = meant.iter().map(|index| lines[*index].can_lose()).collect();
    shared(wanted.min(weights.iter().sum()), &weights)
}

/// Rounded half up.
fn share_of(minor: i64, hundredths: u32) -> i64 {
    let share = (i128::from(minor) * i128::from(hundredths) + 5_000) / 10_000;
    i64::try_from(share).unwrap_or(i64::MAX)
}

/// `total` in parts as the weights are. Each gets its share rounded down; the units that are left go to those that lost most
/// by it, the first of equals first. No part is larger than its weight as long as the total is not larger than all of them.
fn shared(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if sum == 0 || total <= 0 {
        return vec![0; weights.len()];
    }
    let mut left = total;
    let mut parts = Vec::with_capacity(weights.len());
    let mut lost: Vec<(i128, usize)> = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let exact = i128::from(total) * i128::from(*weight);
        let part = i64::try_from(exact / sum).unwrap_or(i64::MAX);
        left -= part;
        parts.push(part);
        lost.push((exact % sum, index));
    }
    lost.sort_by_key(|&(remainder, index)| (std::cmp::Reverse(remainder), index));
    for (_, index) in lost.into_iter().take(usize::try_from(left).unwrap_or_default()) {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
#[path = "discount_tests.rs"]
mod tests;
