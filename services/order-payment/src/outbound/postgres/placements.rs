//! New orders, many at once: people, orders, lines and history in one statement.
//!
//! Decided here: an order that exists already is left out with everything that belongs to it, and its place is told; whoever
//! asked decides what that means.

use std::collections::HashSet;

use common::Prices;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::tax::LineTaxColumns;
use crate::domain::{Order, OrderStep, Reduction};
use crate::usecases::Change;

/// The step of a change that does nothing but place an order for a person, with a coupon or without. One that sets store credit aside does more.
pub fn placement(change: &Change) -> Option<&OrderStep> {
    let Change { person, order, coupon: _, attempts, ledger, refunds, orphans, findings, action, answer: _ } = change;
    let step = order.as_ref().filter(|step| step.from.is_none())?;
    let books = attempts.is_empty() && ledger.is_empty() && refunds.is_empty() && orphans.is_empty();
    let alone = books && findings.is_empty() && action.is_none();
    (person.is_some() && alone).then_some(step)
}

#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    users: Vec<Uuid>,
    regions: Vec<&'static str>,
    statuses: Vec<&'static str>,
    amounts: Vec<Decimal>,
    currencies: Vec<&'static str>,
    totals: Vec<i64>,
    credits: Vec<i64>,
    addresses: Vec<Value>,
    tokens: Vec<&'a str>,
    fingerprints: Vec<&'a [u8]>,
    versions: Vec<i64>,
    created: Vec<chrono::DateTime<chrono::Utc>>,
    deadlines: Vec<chrono::DateTime<chrono::Utc>>,
    at: Vec<chrono::DateTime<chrono::Utc>>,
    tax_places: Vec<Option<&'static str>>,
    net: Vec<Option<i64>>,
    tax: Vec<Option<i64>>,
    lines: Lines<'a>,
}

#[derive(Default)]
struct Lines<'a> {
    orders: Vec<Uuid>,
    numbers: Vec<i16>,
    skus: Vec<&'a str>,
    names: Vec<&'a str>,
    quantities: Vec<i32>,
    prices: Vec<i64>,
    options: Vec<Value>,
    /// Whether the listed price has the tax in it; `None` like the tax itself.
    tax_included: Vec<Option<bool>>,
    tax: LineTaxColumns,
    reduced_by: Vec<i64>,
    reductions: Vec<Value>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, step: &'a OrderStep) {
        let order = &step.order;
        let address = order.address.open();
        self.ids.push(order.id.uuid());
        self.users.push(order.user.uuid());
        self.regions.push(order.region.code());
        self.statuses.push(order.status.code());
        self.amounts.push(order.total.amount());
        self.currencies.push(order.total.currency().code());
        self.totals.push(order.total.minor());
        self.credits.push(order.credit.minor());
        self.addresses.push(json!({
            "name": address.name, "line1": address.line1, "line2": address.line2,
            "city": address.city, "postal_code": address.postal_code, "country": address.country,
        }));
        self.tokens.push(order.token.open().as_str());
        self.fingerprints.push(order.fingerprint.as_slice());
        self.versions.push(order.version);
        self.created.push(order.created_at);
        self.deadlines.push(order.deadline_at);
        self.at.push(step.at);
        self.tax_places.push(order.tax.map(|tax| tax.place.code()));
        self.net.push(order.tax.map(|tax| tax.parts.net.minor()));
        self.tax.push(order.tax.map(|tax| tax.parts.tax.minor()));
        self.lines.push(order);
    }
}

impl<'a> Lines<'a> {
    fn push(&mut self, order: &'a Order) {
        for (number, line) in order.lines.iter().enumerate() {
            self.orders.push(order.id.uuid());
            self.numbers.push(i16::try_from(number).unwrap_or(i16::MAX));
            self.skus.push(line.sku.as_str());
            self.names.push(line.name.as_str());
            self.quantities.push(i32::try_from(line.quantity).unwrap_or(i32::MAX));
            self.prices.push(line.unit_price.minor());
            let options = line.options.iter().map(|(key, value)| (key.clone(), json!(value)));
            self.options.push(options.collect::<serde_json::Map<_, _>>().into());
            self.tax_included.push(line.tax.map(|_| order.region.prices() == Prices::Inclusive));
            self.tax.push(line);
            self.reduced_by.push(line.reductions.iter().map(|reduction| reduction.amount.minor()).sum());
            let reductions = line.reductions.iter().map(|Reduction { promotion, revision, amount }| {
                json!({"promotion": promotion, "revision": revision, "minor": amount.minor()})
            });
            self.reductions.push(reductions.collect::<Vec<_>>().into());
        }
    }
}

/// Writes the orders of `steps` that do not exist yet, and the people who placed them. Gives back which were written.
///
/// The foreign keys are checked at the end of the statement, so its parts need no order. People are sorted: two batches
/// with the same newcomers then wait for each other and not in a circle. When somebody became known is of no interest to
/// anybody but an operator; the database's clock will do.
pub async fn insert(tx: &mut PgConnection, steps: &[&OrderStep]) -> Result<HashSet<Uuid>, sqlx::Error> {
    let mut columns = Columns::default();
    for step in steps {
        columns.push(step);
    }
    let written: Vec<Uuid> = sqlx::query_scalar(
        "WITH asked AS (
             SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::bigint[],
                                  $8::jsonb[], $9::text[], $10::bytea[], $11::bigint[], $12::timestamptz[], $13::timestamptz[],
                                  $14::timestamptz[], $15::bigint[], $16::text[], $17::bigint[], $18::bigint[])
                  AS asked (order_id, user_id, region, status, total_amount, currency, total_minor, shipping_address,
                            payment_token, fingerprint, version, created_at, deadline_at, at, credit_minor, tax_place,
                            net_minor, tax_minor)),
         people AS (
             INSERT INTO order_users (user_id, residency_region, known_since)
             SELECT DISTINCT user_id, region, now() FROM asked ORDER BY user_id
             ON CONFLICT (user_id) DO NOTHING),
         placed AS (
             INSERT INTO orders (order_id, user_id, residency_region, status, total_amount, currency, total_minor,
                                 shipping_address, payment_token, fingerprint, version, created_at, deadline_at,
                                 credit_minor, tax_place, net_minor, tax_minor)
             SELECT order_id, user_id, region, status::order_status, total_amount, currency, total_minor,
                    shipping_address, payment_token, fingerprint, version, created_at, deadline_at,
                    credit_minor, tax_place, net_minor, tax_minor FROM asked
             ON CONFLICT (order_id) DO NOTHING RETURNING order_id),
         written_lines AS (
             INSERT INTO order_lines (order_id, line_no, sku, name, quantity, unit_price_minor, options, price_revision,
                                      tax_class, tax_rate, tax_included, net_minor, tax_minor, gross_minor,
                                      reduction_minor, reductions)
             SELECT order_id, line_no, sku, name, quantity, price, options, revision, class, rate, included, net, tax, gross,
                    reduced_by, reductions
             FROM UNNEST($19::uuid[], $20::smallint[], $21::text[], $22::text[], $23::int[], $24::bigint[], $25::jsonb[],
                         $26::bigint[], $27::text[], $28::int[], $29::boolean[], $30::bigint[], $31::bigint[], $32::bigint[],
                         $33::bigint[], $34::jsonb[])
                  AS line (order_id, line_no, sku, name, quantity, price, options, revision, class, rate, included, net, tax, gross,
                           reduced_by, reductions)
             JOIN placed USING (order_id)),
         told AS (
             INSERT INTO order_history (order_id, version, status, at)
             SELECT order_id, version, status::order_status, at FROM asked JOIN placed USING (order_id))
         SELECT order_id FROM placed",
    )
    .bind(columns.ids)
    .bind(columns.users)
    .bind(columns.regions)
    .bind(columns.statuses)
    .bind(columns.amounts)
    .bind(columns.currencies)
    .bind(columns.totals)
    .bind(columns.addresses)
    .bind(columns.tokens)
    .bind(columns.fingerprints)
    .bind(columns.versions)
    .bind(columns.created)
    .bind(columns.deadlines)
    .bind(columns.at)
    .bind(columns.credits)
    .bind(columns.tax_places)
    .bind(columns.net)
    .bind(columns.tax)
    .bind(columns.lines.orders)
    .bind(columns.lines.numbers)
    .bind(columns.lines.skus)
    .bind(columns.lines.names)
    .bind(columns.lines.quantities)
    .bind(columns.lines.prices)
    .bind(columns.lines.options)
    .bind(columns.lines.tax.revisions)
    .bind(columns.lines.tax.classes)
    .bind(columns.lines.tax.rates)
    .bind(columns.lines.tax_included)
    .bind(columns.lines.tax.net)
    .bind(columns.lines.tax.tax)
    .bind(columns.lines.tax.gross)
    .bind(columns.lines.reduced_by)
    .bind(columns.lines.reductions)
    .fetch_all(tx)
    .await?;
    Ok(written.into_iter().collect())
}
