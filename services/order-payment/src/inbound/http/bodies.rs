//! The JSON shapes of orders, in and out.

use std::collections::BTreeMap;

use chassis::extract::distinct;
use chrono::{DateTime, SecondsFormat, Utc};
use common::Private;
use messaging::StoredAnswer;
use serde::{Deserialize, Deserializer, Serialize};

use super::money::{LineTaxView, MoneyView, OrderTaxView, ReductionView};
use super::refunds::RefundView;
use crate::domain::basket::{RawCredit, RawLine, RawOrder};
use crate::domain::price_lock::LockText;
use crate::domain::{Order, PricedLine, ShippingAddress};
use crate::usecases::views::{OrderCard, OrderView, StatusChange};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderBody {
    lines: Vec<LineBody>,
    shipping_address: AddressBody,
    payment: PaymentBody,
    expected_total: MoneyBody,
    #[serde(default, deserialize_with = "present")]
    price_lock: Option<String>,
    #[serde(default, deserialize_with = "present")]
    coupon: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineBody {
    sku: String,
    quantity: u32,
    #[serde(default, deserialize_with = "distinct")]
    options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressBody {
    name: String,
    line1: String,
    #[serde(default)]
    line2: Option<String>,
    city: String,
    postal_code: String,
    country: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PaymentBody {
    method: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    store_credit: Option<CreditBody>,
}

/// `true`, or an amount.
#[derive(Deserialize)]
#[serde(untagged)]
enum CreditBody {
    AsMuchAsThereIs(bool),
    Amount(MoneyBody),
}

impl From<CreditBody> for RawCredit {
    fn from(body: CreditBody) -> Self {
        match body {
            CreditBody::AsMuchAsThereIs(true) => Self::AsMuchAsThereIs,
            CreditBody::AsMuchAsThereIs(false) => Self::Nothing,
            CreditBody::Amount(money) => Self::Amount(money.amount, money.currency),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoneyBody {
    pub amount: String,
    pub currency: String,
}

/// `null` is not the same as absent.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(body: D) -> Result<Option<T>, D::Error> {
    T::deserialize(body).map(Some)
}

impl From<OrderBody> for RawOrder {
    fn from(body: OrderBody) -> Self {
        let OrderBody { lines, shipping_address: address, payment, expected_total, price_lock, coupon } = body;
        let line = |line: LineBody| RawLine {
            sku: line.sku,
            quantity: line.quantity,
            options: line.options.into_iter().collect(),
        };
        let AddressBody { name, line1, line2, city, postal_code, country } = address;
        Self {
            lines: lines.into_iter().map(line).collect(),
            address: Private::new(ShippingAddress { name, line1, line2, city, postal_code, country }),
            method: payment.method,
            token: Private::new(payment.token),
            credit: payment.store_credit.map_or(RawCredit::Nothing, RawCredit::from),
            expected_total: (expected_total.amount, expected_total.currency),
            price_lock: price_lock.map(LockText::new),
            coupon,
        }
    }
}

#[derive(Serialize)]
pub(super) struct LineView {
    sku: String,
    name: String,
    quantity: u32,
    unit_price: MoneyView,
    /// Off the whole line; its tax is that of what is left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reductions: Vec<ReductionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<LineTaxView>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
}

impl From<&PricedLine> for LineView {
    fn from(line: &PricedLine) -> Self {
        Self {
            sku: line.sku.to_string(),
            name: line.name.clone(),
            quantity: line.quantity,
            unit_price: line.unit_price.into(),
            reductions: line.reductions.iter().map(ReductionView::from).collect(),
            tax: line.tax.map(LineTaxView::from),
            options: line.options.iter().cloned().collect(),
        }
    }
}

#[derive(Serialize)]
struct PlacedView {
    order_id: String,
    status: &'static str,
    total_amount: MoneyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<OrderTaxView>,
    lines: Vec<LineView>,
    created_at: String,
}

/// The answer to a placed order: what was accepted, as it was then. The same order gives the same bytes.
pub fn placed(order: &Order) -> StoredAnswer {
    let view = PlacedView {
        order_id: order.id.to_string(),
        status: crate::domain::OrderStatus::Created.code(),
        total_amount: order.total.into(),
        tax: order.tax.map(OrderTaxView::from),
        lines: order.lines.iter().map(LineView::from).collect(),
        created_at: instant(order.created_at),
    };
    StoredAnswer { status: 201, body: bytes(&view) }
}

#[derive(Serialize)]
struct CancelView {
    order_id: String,
    cancel_requested: bool,
}

/// The answer to a wish to cancel.
pub fn cancel_requested(order: &Order) -> StoredAnswer {
    StoredAnswer { status: 202, body: bytes(&CancelView { order_id: order.id.to_string(), cancel_requested: true }) }
}

#[derive(Serialize)]
struct AddressView<'a> {
    name: &'a str,
    line1: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line2: Option<&'a str>,
    city: &'a str,
    postal_code: &'a str,
    country: &'a str,
}

#[derive(Serialize)]
struct PaymentView {
    state: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_credit: Option<MoneyView>,
}

#[derive(Serialize)]
struct ShipmentView {
    shipment_id: String,
    fulfilment_centre: String,
    created_at: String,
}

#[derive(Serialize)]
pub struct ChangeView {
    status: &'static str,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl From<&StatusChange> for ChangeView {
    fn from(change: &StatusChange) -> Self {
        Self { status: change.status.code(), at: instant(change.at), reason: change.reason.map(|reason| reason.code()) }
    }
}

#[derive(Serialize)]
struct FullView<'a> {
    order_id: String,
    status: &'static str,
    total_amount: MoneyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<OrderTaxView>,
    lines: Vec<LineView>,
    shipping_address: AddressView<'a>,
    payment: PaymentView,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipment: Option<ShipmentView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refunds: Vec<RefundView>,
    history: Vec<ChangeView>,
    created_at: String,
}

/// One order, for its owner.
pub fn full(view: &OrderView) -> impl Serialize {
    let address = view.address.open();
    FullView {
        order_id: view.id.to_string(),
        status: view.status.code(),
        total_amount: view.total.into(),
        tax: view.tax.map(OrderTaxView::from),
        lines: view.lines.iter().map(LineView::from).collect(),
        shipping_address: AddressView {
            name: &address.name,
            line1: &address.line1,
            line2: address.line2.as_deref(),
            city: &address.city,
            postal_code: &address.postal_code,
            country: &address.country,
        },
        payment: PaymentView {
            state: view.payment.map_or("NONE", |state| state.code()),
            attempts: view.attempts,
            store_credit: (!view.credit.is_zero()).then(|| view.credit.into()),
        },
        shipment: view.shipment.as_ref().map(|shipment| ShipmentView {
            shipment_id: shipment.id.to_string(),
            fulfilment_centre: shipment.fulfilment_centre.clone(),
            created_at: instant(shipment.created_at),
        }),
        refunds: view.refunds.iter().map(RefundView::from).collect(),
        history: view.history.iter().map(ChangeView::from).collect(),
        created_at: instant(view.created_at),
    }
}

#[derive(Serialize)]
pub struct CardView {
    order_id: String,
    status: &'static str,
    total_amount: MoneyView,
    line_count: u32,
    created_at: String,
}

impl From<&OrderCard> for CardView {
    fn from(card: &OrderCard) -> Self {
        Self {
            order_id: card.id.to_string(),
            status: card.status.code(),
            total_amount: card.total.into(),
            line_count: card.line_count,
            created_at: instant(card.created_at),
        }
    }
}

#[derive(Serialize)]
pub struct ListView {
    pub items: Vec<CardView>,
    pub page: PageView,
}

#[derive(Serialize)]
pub struct PageView {
    pub next_cursor: Option<String>,
}

pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// These types have text keys and no maps of other kinds, so they always become JSON.
pub(super) fn bytes(view: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(view).unwrap_or_default()
}
