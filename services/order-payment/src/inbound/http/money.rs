//! Money and tax in JSON.

use common::{Money, Prices};
use serde::Serialize;

use crate::domain::{LineTax, OrderTax, Reduction};

#[derive(Debug, Serialize)]
pub struct MoneyView {
    amount: String,
    currency: &'static str,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self { amount: money.amount_string(), currency: money.currency().code() }
    }
}

/// What a promotion takes off a line.
#[derive(Debug, Serialize)]
pub struct ReductionView {
    promotion: String,
    revision: i64,
    amount: MoneyView,
}

impl From<&Reduction> for ReductionView {
    fn from(reduction: &Reduction) -> Self {
        Self { promotion: reduction.promotion.clone(), revision: reduction.revision, amount: reduction.amount.into() }
    }
}

/// The tax of a whole order or basket. Net and tax make the total.
#[derive(Debug, Serialize)]
pub struct OrderTaxView {
    /// Whether the shown unit prices contain the tax.
    included: bool,
    /// A country, or a state of one.
    place: &'static str,
    net: MoneyView,
    amount: MoneyView,
}

impl From<OrderTax> for OrderTaxView {
    fn from(tax: OrderTax) -> Self {
        Self {
            included: tax.prices == Prices::Inclusive,
            place: tax.place.code(),
            net: tax.parts.net.into(),
            amount: tax.parts.tax.into(),
        }
    }
}

/// The tax of one line.
#[derive(Debug, Serialize)]
pub struct LineTaxView {
    class: &'static str,
    rate_percent: String,
    net: MoneyView,
    amount: MoneyView,
    gross: MoneyView,
}

impl From<LineTax> for LineTaxView {
    fn from(tax: LineTax) -> Self {
        Self {
            class: tax.class.code(),
            rate_percent: tax.rate.percent(),
            net: tax.parts.net.into(),
            amount: tax.parts.tax.into(),
            gross: tax.parts.gross.into(),
        }
    }
}
