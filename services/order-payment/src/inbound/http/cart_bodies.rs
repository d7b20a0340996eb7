//! The JSON shapes of baskets and quotes, in and out.

use std::collections::BTreeMap;

use chassis::extract::distinct;
use common::TaxPlace;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bodies::{LineView, MoneyBody, instant, present};
use super::money::{LineTaxView, MoneyView, OrderTaxView, ReductionView};
use crate::domain::basket::RawLine;
use crate::usecases::change_cart::RawPlace;
use crate::usecases::price_locks::{Issued, Requote};
use crate::usecases::view_cart::{CartLineView, CartView, Standing};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartBody {
    pub lines: Vec<CartLineBody>,
    #[serde(default, deserialize_with = "present")]
    pub ship_to: Option<ShipToBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartLineBody {
    sku: String,
    quantity: u32,
    #[serde(default, deserialize_with = "distinct")]
    options: BTreeMap<String, String>,
}

impl From<CartLineBody> for RawLine {
    fn from(line: CartLineBody) -> Self {
        Self { sku: line.sku, quantity: line.quantity, options: line.options.into_iter().collect() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShipToBody {
    country: String,
    #[serde(default)]
    postal_code: String,
}

impl From<ShipToBody> for RawPlace {
    fn from(body: ShipToBody) -> Self {
        Self { country: body.country, postal_code: body.postal_code }
    }
}

/// One line, whose SKU stands in the path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneLineBody {
    /// 0 takes it out.
    quantity: u32,
    #[serde(default, deserialize_with = "distinct")]
    options: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "present")]
    expected_unit_price: Option<MoneyBody>,
}

impl OneLineBody {
    /// The line, and the price that was shown beside it.
    pub fn of(self, sku: String) -> (RawLine, Option<(String, String)>) {
        let shown = self.expected_unit_price.map(|shown| (shown.amount, shown.currency));
        (RawLine { sku, quantity: self.quantity, options: self.options.into_iter().collect() }, shown)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CouponBody {
    pub code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeBody {
    pub visitor_id: String,
}

#[derive(Serialize)]
struct PlaceView {
    country: &'static str,
    /// Where the tax is owed: the country, or a state of it.
    place: &'static str,
}

impl From<TaxPlace> for PlaceView {
    fn from(place: TaxPlace) -> Self {
        Self { country: place.country(), place: place.code() }
    }
}

#[derive(Serialize)]
struct LockView {
    #[serde(skip_serializing_if = "Option::is_none")]
    price_lock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_lock_expires_at: Option<String>,
}

impl From<Option<&Issued>> for LockView {
    fn from(lock: Option<&Issued>) -> Self {
        Self {
            price_lock: lock.map(|lock| lock.text.open().to_owned()),
            price_lock_expires_at: lock.map(|lock| instant(lock.expires_at)),
        }
    }
}

#[derive(Serialize)]
struct CartJson {
    lines: Vec<CartLineJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ship_to: Option<PlaceView>,
    /// At list prices.
    subtotal: MoneyView,
    /// What promotions take off that.
    #[serde(skip_serializing_if = "Option::is_none")]
    discount: Option<MoneyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupon: Option<CouponJson>,
    payable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_payable: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<MoneyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<OrderTaxView>,
    #[serde(flatten)]
    lock: LockView,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct CouponJson {
    code: String,
    /// `ok`: it is reckoned in, and an order names it. Otherwise why it is not.
    state: &'static str,
}

#[derive(Serialize)]
struct CartLineJson {
    sku: String,
    quantity: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price: Option<MoneyView>,
    /// As the product's page shows it: the same number is the same price.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    /// The price when the line was put in, when it is another one now.
    #[serde(skip_serializing_if = "Option::is_none")]
    carted_unit_price: Option<MoneyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reductions: Vec<ReductionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax: Option<LineTaxView>,
}

impl From<&CartLineView> for CartLineJson {
    fn from(view: &CartLineView) -> Self {
        let (wanted, carted, offer) = (&view.line.line, view.line.carted, view.offer.as_ref());
        Self {
            sku: wanted.sku.to_string(),
            quantity: wanted.quantity,
            options: wanted.options.iter().cloned().collect(),
            state: view.state.code(),
            name: offer.map(|offer| offer.name.clone()),
            unit_price: offer.map(|offer| offer.unit_price.into()),
            revision: offer.map(|offer| offer.revision),
            carted_unit_price: offer
                .is_none_or(|offer| offer.unit_price != carted.unit_price)
                .then(|| carted.unit_price.into()),
            // How many there are is said only where it matters.
            available: offer.map(|offer| offer.available).filter(|available| *available < wanted.quantity),
            reductions: offer.into_iter().flat_map(|offer| &offer.reductions).map(ReductionView::from).collect(),
            tax: view.tax.map(LineTaxView::from),
        }
    }
}

/// One basket, for its owner.
pub fn cart(view: &CartView) -> impl Serialize {
    let (total, tax, lock, not_payable) = match &view.standing {
        Standing::Payable { total, tax, lock } => (Some(*total), *tax, Some(lock), None),
        Standing::NotPayable(why) => (None, None, None, Some(why.code())),
    };
    CartJson {
        lines: view.lines.iter().map(CartLineJson::from).collect(),
        ship_to: view.cart.place.map(PlaceView::from),
        subtotal: view.subtotal.into(),
        discount: (!view.discount.is_zero()).then(|| view.discount.into()),
        coupon: view
            .cart
            .coupon
            .as_ref()
            .zip(view.coupon)
            .map(|(code, state)| CouponJson { code: code.to_string(), state: state.code() }),
        payable: not_payable.is_none(),
        not_payable,
        total: total.map(MoneyView::from),
        tax: tax.map(OrderTaxView::from),
        lock: lock.into(),
        expires_at: view.cart.expires_at.map(instant),
    }
}

#[derive(Serialize)]
struct QuoteJson {
    total: MoneyView,
    tax: OrderTaxView,
    lines: Vec<LineView>,
    #[serde(flatten)]
    lock: LockView,
}

/// What an order would cost now, for the refusal of one that expected another total.
pub fn requoted(requote: &Requote) -> Value {
    let quote = QuoteJson {
        total: requote.priced.total().into(),
        tax: requote.priced.tax.into(),
        lines: requote.priced.lines.iter().map(LineView::from).collect(),
        lock: requote.lock.as_ref().into(),
    };
    // It has text keys only, so it always becomes JSON.
    serde_json::to_value(quote).unwrap_or_default()
}
