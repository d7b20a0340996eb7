//! Placing one order as a shopper does: look at the products, put them into the basket, pay the total that was shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use chrono::{SecondsFormat, Utc};
use common::{Currency, Money, Prices, Region, TaxRate};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{Api, Call, Reply};
use crate::plan::PlannedOrder;
use crate::shopper::Shopper;

/// Product pages read at once.
const PAGES: usize = 8;

/// Products of a basket that the shopper has looked at, for the clicks; more would only be more of the same.
const LOOKED_AT: usize = 5;

/// What a product page says that an order needs.
#[derive(Clone, Debug)]
pub struct Page {
    pub price: Money,
    /// Decides on the tax.
    pub family: String,
    /// The first choice of each option.
    pub options: BTreeMap<String, String>,
}

/// Reads the pages of `skus`; a product that is not there is absent.
///
/// # Errors
/// The shop does not answer, or shows no price.
pub async fn pages(api: &Api, skus: &[String]) -> anyhow::Result<HashMap<String, Page>> {
    let reads = skus.iter().map(|sku| async move {
        let path = format!("/v1/products/{sku}");
        let reply = api.call(&Call { path: &path, ..Call::default() }).await?;
        if reply.status.as_u16() == 404 {
            return Ok(None);
        }
        let body = reply.success("product page")?;
        Ok(Some((sku.clone(), page(&body).with_context(|| format!("the page of {sku} shows no price"))?)))
    });
    let read: Vec<anyhow::Result<Option<(String, Page)>>> =
        futures::stream::iter(reads).buffer_unordered(PAGES).collect().await;
    read.into_iter().filter_map(Result::transpose).collect()
}

fn page(body: &Value) -> Option<Page> {
    let currency: Currency = body["price"]["currency"].as_str()?.parse().ok()?;
    let price = Money::parse(body["price"]["amount"].as_str()?, currency).ok()?;
    let options = body["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = |option: &Value| Some((option["key"].as_str()?.to_owned(), option["values"][0].as_str()?.to_owned()));
    let family = body["family"].as_str()?.to_owned();
    Some(Page { price, family, options: options.iter().filter_map(first).collect() })
}

/// What became of a planned order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    Accepted {
        order: Uuid,
        /// The answer came from an earlier try.
        replayed: bool,
    },
    /// The shop said no, with its code.
    Refused(String),
}

impl Placed {
    /// The order, when there is one.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::Accepted { order, .. } => Some(*order),
            Self::Refused(_) => None,
        }
    }
}

/// Everything that placing an order needs.
pub struct Counter<'a> {
    pub api: &'a Api,
    pub region: Region,
    /// Names this run, so that its keys are its own.
    pub run: &'a str,
    pub shoppers: &'a [Shopper],
    pub pages: &'a HashMap<String, Page>,
    pub clicks: ClickCount,
}

/// Clicks that were sent. They may be lost; that they are counted says so.
#[derive(Default)]
pub struct ClickCount {
    pub accepted: AtomicU64,
    pub lost: AtomicU64,
}

impl Counter<'_> {
    /// Places `order`, with the same key until there is an answer.
    ///
    /// # Errors
    /// No answer within the patience of the client.
    pub async fn place(&self, order: &PlannedOrder) -> anyhow::Result<Placed> {
        let shopper = &self.shoppers[order.shopper];
        self.click(shopper, order, "view").await;
        let placed = self.order(order).await?;
        if matches!(placed, Placed::Accepted { .. }) {
            self.click(shopper, order, "buy").await;
        }
        Ok(placed)
    }

    /// Only the order itself, without a look at the products.
    ///
    /// # Errors
    /// No answer within the patience of the client.
    pub async fn order(&self, order: &PlannedOrder) -> anyhow::Result<Placed> {
        let shopper = &self.shoppers[order.shopper];
        let Some(body) = self.body(shopper, order) else { return Ok(Placed::Refused("nothing-to-order".to_owned())) };
        let key = format!("demo-{}-{}", self.run, order.number);
        let reply = shopper.call(self.api, Method::POST, "/v1/orders", Some(&key), Some(&body)).await?;
        if !reply.status.is_success() {
            return Ok(Placed::Refused(reply.code()));
        }
        let replayed = reply.replayed;
        let id = reply.body["order_id"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .context("an accepted order has no id")?;
        Ok(Placed::Accepted { order: id, replayed })
    }

    /// One try to place an order, for whoever counts those that fail.
    ///
    /// # Errors
    /// No answer.
    pub async fn order_once(&self, order: &PlannedOrder) -> anyhow::Result<Reply> {
        let shopper = &self.shoppers[order.shopper];
        let body = self.body(shopper, order).context("there is nothing to order")?;
        let key = format!("demo-{}-{}", self.run, order.number);
        let token = shopper.token(self.api).await?;
        let call = Call {
            method: Method::POST,
            path: "/v1/orders",
            token: Some(&token),
            key: Some(&key),
            body: Some(&body),
            ..Call::default()
        };
        self.api.once(&call).await
    }

    fn body(&self, shopper: &Shopper, order: &PlannedOrder) -> Option<Value> {
        let address = address(shopper, self.region);
        let mut total = Money::zero(self.region.currency());
        let place = self.region.tax_place(address["country"].as_str()?, address["postal_code"].as_str()?)?;
        let (mut lines, mut rates) = (Vec::new(), BTreeMap::new());
        for (sku, units) in &order.lines {
            let Some(page) = self.pages.get(sku) else { continue };
            let price = page.price.times(*units).ok()?;
            total = total.checked_add(price).ok()?;
            let rate = rates.entry(place.rate(self.region.tax_class(&page.family)));
            let of_rate = rate.or_insert(Money::zero(price.currency()));
            *of_rate = of_rate.checked_add(price).ok()?;
            lines.push(json!({"sku": sku, "quantity": units, "options": page.options}));
        }
        if lines.is_empty() {
            return None;
        }
        if self.region.prices() == Prices::Exclusive {
            total = with_tax(total, rates, self.region)?;
        }
        Some(json!({
            "lines": lines,
            "shipping_address": address,
            "payment": {"method": "card", "token": order.card},
            "expected_total": {"amount": total.amount_string(), "currency": total.currency().code()},
        }))
    }

    /// Tells the shop what was looked at or bought. One try: a click is not worth a second.
    async fn click(&self, shopper: &Shopper, order: &PlannedOrder, kind: &str) {
        let at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let known = order.lines.iter().filter(|(sku, _)| self.pages.contains_key(sku)).take(LOOKED_AT);
        let events: Vec<Value> = known
            .enumerate()
            .map(|(place, (sku, _))| {
                json!({"event_id": format!("{}-{}-{kind}-{place}", self.run, order.number), "type": kind, "sku": sku, "at": at})
            })
            .collect();
        let sent = events.len() as u64;
        let accepted = self.send_clicks(shopper, events).await.unwrap_or(0);
        self.clicks.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.clicks.lost.fetch_add(sent.saturating_sub(accepted), Ordering::Relaxed);
    }

    async fn send_clicks(&self, shopper: &Shopper, events: Vec<Value>) -> anyhow::Result<u64> {
        let token = shopper.token(self.api).await?;
        let body = Value::from(events);
        let call = Call {
            method: Method::POST,
            path: "/v1/events",
            token: Some(&token),
            body: Some(&body),
            ..Call::default()
        };
        let answer = self.api.once(&call).await?.success("clicks")?;
        Ok(answer["accepted"].as_u64().unwrap_or_default())
    }
}

/// Where prices are shown without tax, the total that the shopper confirms has it on top: one rounding per rate, which is how
/// the region with such prices has it.
fn with_tax(total: Money, rates: BTreeMap<TaxRate, Money>, region: Region) -> Option<Money> {
    rates.into_iter().try_fold(total, |total, (rate, amount)| {
        let tax = rate.of(amount, Prices::Exclusive, region.tax_ties()).ok()?;
        total.checked_add(tax).ok()
    })
}

/// An address in the first country the region ships to that we know a street in.
pub fn address(shopper: &Shopper, region: Region) -> Value {
    const STREETS: [(&str, &str, &str, &str); 4] = [
        ("DE", "Mainzer Landstraße 12", "Frankfurt am Main", "60325"),
        ("US", "210 Elm Street", "Ashburn", "20147"),
        ("SG", "18 Robinson Road", "Singapore", "048547"),
        ("FR", "7 rue des Tisserands", "Lyon", "69004"),
    ];
    let known = STREETS.iter().find(|(country, ..)| region.countries().contains(country)).unwrap_or(&STREETS[0]);
    let (country, line1, city, postal_code) = known;
    let name = format!("{} {}", shopper.first_name, shopper.last_name);
    json!({"name": name, "line1": line1, "city": city, "postal_code": postal_code, "country": country})
}
