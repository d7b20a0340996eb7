//! What may go back of what was paid: by amount, by lines, or all of it, to the card or as store credit.
//!
//! A refund is decided knowing every one before it. What stands and what is open never exceeds what was paid, to the card
//! never what was taken from it, and of a line never more than was bought; the database says the same under the order's
//! lock. Not decided here: who may ask (the use case) and how the money gets back (`settle`).

use std::str::FromStr;

use chrono::{DateTime, Utc};
use common::{Money, OrderId, RefundId, Sku, UserId};

use super::order::UnknownName;
use super::{Order, OrderStatus, PricedLine};

/// Refunds of one order: what one answer of a gateway lists, or one look goes through, so that a refund in doubt is always found.
pub const MOST_REFUNDS: usize = 100;
/// Words that say why.
pub const LONGEST_REASON: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundTarget {
    Card,
    StoreCredit,
}

impl RefundTarget {
    pub const ALL: [Self; 2] = [Self::Card, Self::StoreCredit];

    pub fn code(self) -> &'static str {
        match self {
            Self::Card => "CARD",
            Self::StoreCredit => "STORE_CREDIT",
        }
    }
}

impl FromStr for RefundTarget {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|target| target.code() == text).ok_or(UnknownName)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundState {
    /// Accepted and durable; the gateway has not said yes yet.
    Open,
    /// The money is back and in the books.
    Done,
    /// The gateway will not; a person has to.
    Refused,
}

impl RefundState {
    pub const ALL: [Self; 3] = [Self::Open, Self::Done, Self::Refused];

    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Done => "DONE",
            Self::Refused => "REFUSED",
        }
    }
}

impl FromStr for RefundState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.code() == text).ok_or(UnknownName)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundLine {
    pub sku: Sku,
    pub quantity: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub id: RefundId,
    pub order: OrderId,
    /// Among those of its order, from 1.
    pub number: u32,
    /// The attempt that carries it to the gateway; none for store credit.
    pub attempt: Option<u32>,
    pub amount: Money,
    pub target: RefundTarget,
    pub reason: String,
    /// Empty when we sent it back by ourselves.
    pub asked_by: Option<UserId>,
    pub state: RefundState,
    /// What is given back with it; empty for an amount.
    pub lines: Vec<RefundLine>,
    pub asked_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl Refund {
    /// It is over, one way or the other.
    pub fn ended(mut self, state: RefundState, at: DateTime<Utc>) -> Self {
        self.state = state;
        self.ended_at = Some(at);
        self
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Whatever is left.
    Rest,
    Amount(Money),
    /// Each SKU once.
    Lines(Vec<RefundLine>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefundProblem {
    #[error("the order is not completed")]
    NotPaid,
    #[error("it is more than is left of what was paid")]
    Exceeds,
    #[error("line {0} is not of this order, or more than is left of it")]
    LineExceeds(usize),
    #[error("the order was paid in another currency")]
    OtherCurrency,
    #[error("the order has as many refunds as it can have")]
    TooMany,
}

/// How an order was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Paid {
    card: i64,
    credit: i64,
}

impl Paid {
    fn of(order: &Order) -> Self {
        Self { card: order.rest().minor(), credit: order.credit.minor() }
    }
}

/// The amount and where it goes. Without a wish for the target, money goes back to the card as long as the card has enough of
/// it, else it becomes store credit.
///
/// # Errors
/// [`RefundProblem`]; nothing may go back then.
pub fn decide(
    order: &Order,
    before: &[Refund],
    wish: &Wish,
    target: Option<RefundTarget>,
) -> Result<(Money, RefundTarget), RefundProblem> {
    if order.status != OrderStatus::Completed {
        return Err(RefundProblem::NotPaid);
    }
    if before.len() >= MOST_REFUNDS {
        return Err(RefundProblem::TooMany);
    }
    let paid = Paid::of(order);
    let standing = |of: Option<RefundTarget>| -> i64 {
        let counts =
            |refund: &&Refund| refund.state != RefundState::Refused && of.is_none_or(|target| refund.target == target);
        before.iter().filter(counts).map(|refund| refund.amount.minor()).sum()
    };
    let left = paid.card + paid.credit - standing(None);
    let left_on_card = (paid.card - standing(Some(RefundTarget::Card))).min(left);
    let minor = match wish {
        Wish::Rest => left,
        Wish::Amount(amount) if amount.currency() != order.total.currency() => {
            return Err(RefundProblem::OtherCurrency);
        }
        Wish::Amount(amount) => amount.minor(),
        Wish::Lines(lines) => of_lines(order, before, lines)?,
    };
    let target = target.unwrap_or(if paid.card > 0 && minor <= left_on_card {
        RefundTarget::Card
    } else {
        RefundTarget::StoreCredit
    });
    let most = if target == RefundTarget::Card { left_on_card } else { left };
    let amount = Money::from_minor(minor, order.total.currency()).map_err(|_| RefundProblem::Exceeds)?;
    if minor < 1 || minor > most { Err(RefundProblem::Exceeds) } else { Ok((amount, target)) }
}

/// What has gone back by these refunds, in minor units.
pub fn done_minor(refunds: &[Refund]) -> i64 {
    refunds.iter().filter(|refund| refund.state == RefundState::Done).map(|refund| refund.amount.minor()).sum()
}

/// Does nothing of what was paid stay with us once all these refunds stand?
pub fn is_whole(order: &Order, refunds: &[Refund]) -> bool {
    done_minor(refunds) == order.total.minor()
}

/// Are goods owed for a completed order, knowing all its refunds? Not when all of the money goes back, nor when each unit that can be carried
/// does: the catalog hears of it and sends nothing. A refund that is still on its way counts.
pub fn owes_goods(order: &Order, refunds: &[Refund]) -> bool {
    let standing = || refunds.iter().filter(|refund| refund.state != RefundState::Refused);
    let back_minor: i64 = standing().map(|refund| refund.amount.minor()).sum();
    let is_owed = |line: &PricedLine| {
        let back = standing().flat_map(|refund| &refund.lines).filter(|back| back.sku == line.sku);
        line.is_goods() && back.map(|back| back.quantity).sum::<u32>() < line.quantity
    };
    back_minor < order.total.minor() && order.lines.iter().any(is_owed)
}

fn of_lines(order: &Order, before: &[Refund], lines: &[RefundLine]) -> Result<i64, RefundProblem> {
    let mut sum = 0_i64;
    for (index, wished) in lines.iter().enumerate() {
        let bought = order.lines.iter().find(|line| line.sku == wished.sku).ok_or(RefundProblem::LineExceeds(index))?;
        let back: u32 = before
            .iter()
            .filter(|refund| refund.state != RefundState::Refused)
            .flat_map(|refund| &refund.lines)
            .filter(|line| line.sku == wished.sku)
            .map(|line| line.quantity)
            .sum();
        let after = back.saturating_add(wished.quantity);
        if wished.quantity < 1 || after > bought.quantity {
            return Err(RefundProblem::LineExceeds(index));
        }
        sum = sum.saturating_add(share(bought, after) - share(bought, back));
    }
    Ok(sum)
}

/// What `units` of a line cost, of all that it cost with its tax. Reckoned from the first unit each time, so that the parts of a line that
/// does not divide evenly still add up to the line.
fn share(line: &PricedLine, units: u32) -> i64 {
    // Orders from before tax was reckoned cost what is listed.
    let listed = i128::from(line.unit_price.minor()) * i128::from(line.quantity);
    let whole = line.tax.as_ref().map_or(listed, |tax| i128::from(tax.parts.gross.minor()));
    let quantity = i128::from(line.quantity.max(1));
    i64::try_from((2 * whole * i128::from(units) + quantity) / (2 * quantity)).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "refund_tests.rs"]
mod tests;
