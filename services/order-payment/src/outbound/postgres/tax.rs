//! Tax columns of orders and their lines: how they are read, and what stands in them. All of a row's are there, or none.

use common::{Currency, Money, Region, TaxRate};
use serde::Deserialize;

use crate::domain::{LineTax, OrderTax, Parts, PricedLine};

/// The columns of a line.
#[derive(Deserialize)]
pub struct LineTaxRow {
    tax_class: Option<String>,
    tax_rate: Option<u32>,
    net_minor: Option<i64>,
    tax_minor: Option<i64>,
    gross_minor: Option<i64>,
}

/// The columns of an order.
#[derive(sqlx::FromRow)]
pub struct OrderTaxRow {
    tax_place: Option<String>,
    net_minor: Option<i64>,
    tax_minor: Option<i64>,
}

/// `None` when the row makes no sense, `Some(None)` for a line from before tax was reckoned.
pub fn line_tax(row: LineTaxRow, currency: Currency) -> Option<Option<LineTax>> {
    let Some(class) = row.tax_class else { return Some(None) };
    let money = |minor: Option<i64>| Money::from_minor(minor?, currency).ok();
    let parts = Parts { net: money(row.net_minor)?, tax: money(row.tax_minor)?, gross: money(row.gross_minor)? };
    Some(Some(LineTax { class: class.parse().ok()?, rate: TaxRate::new(row.tax_rate?)?, parts }))
}

/// As [`line_tax`]; the gross amount of an order is its total.
pub fn order_tax(row: OrderTaxRow, region: Region, total: Money) -> Option<Option<OrderTax>> {
    let Some(place) = row.tax_place else { return Some(None) };
    let money = |minor: Option<i64>| Money::from_minor(minor?, total.currency()).ok();
    let parts = Parts { net: money(row.net_minor)?, tax: money(row.tax_minor)?, gross: total };
    Some(Some(OrderTax { place: region.tax_place_named(&place)?, prices: region.prices(), parts }))
}

/// The columns of many lines, one list per column.
#[derive(Default)]
pub struct LineTaxColumns {
    pub revisions: Vec<Option<i64>>,
    pub classes: Vec<Option<&'static str>>,
    pub rates: Vec<Option<i32>>,
    pub net: Vec<Option<i64>>,
    pub tax: Vec<Option<i64>>,
    pub gross: Vec<Option<i64>>,
}

impl LineTaxColumns {
    pub fn push(&mut self, line: &PricedLine) {
        self.revisions.push(line.revision);
        self.classes.push(line.tax.map(|tax| tax.class.code()));
        // A rate is at most a million.
        self.rates.push(line.tax.map(|tax| i32::try_from(tax.rate.millionths()).unwrap_or(i32::MAX)));
        self.net.push(line.tax.map(|tax| tax.parts.net.minor()));
        self.tax.push(line.tax.map(|tax| tax.parts.tax.minor()));
        self.gross.push(line.tax.map(|tax| tax.parts.gross.minor()));
    }
}
