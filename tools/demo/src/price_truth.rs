//! The price truth: very many baskets while staff changes prices and promotions without a pause. Of every order that is accepted, what
//! the gateway took must not be more than the last total its shopper was shown.
//!
//! Decided here: who wants what and how it is ordered (from the seed alone): at once or after a while, with the lock or without, with
//! the coupon or without; a refusal `price-changed` is accepted as it was shown in half of the cases. Every basket is that of a new
//! browser, as locks of browsers are good for whoever logs in there. A season of baskets has products and promotions of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use common::{Currency, Money};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{Api, Call, Reply};
use crate::closing_check::Databases;
use crate::gateway_books::GatewayBooks;
use crate::generate::spread;
use crate::orders::address;
use crate::run::sign_up;
use crate::seed::staff;
use crate::shopper::Shopper;
use crate::stack::Stack;
use crate::stock::{ReceiptLine, receive};

pub struct TruthOptions {
    pub carts: usize,
    pub seed: u64,
    /// Baskets under way at once.
    pub concurrency: usize,
    pub buyers: usize,
}

/// Products whose prices change, so that each changes often while somebody has it in a basket.
const PRODUCTS: usize = 20;
const MOST_LINES: usize = 3;
const MOST_UNITS: u32 = 4;
/// Baskets until other products and promotions take the place of these: every change leaves a revision for ever, and the stand-in for
/// MongoDB reads all of a product's to find its newest. A hundred thousand baskets on the same twenty products would measure that.
const SEASON: usize = 2_000;
/// Between two changes of a price, and of a promotion: faster than anybody fills in a form.
const PRICE_PAUSE: Duration = Duration::from_millis(25);
const PROMOTION_PAUSE: Duration = Duration::from_millis(100);
/// The longest that a basket is looked at before it is ordered, in milliseconds.
const LONGEST_LOOK: usize = 500;
/// Longest wait until every accepted order has come to its end.
const SETTLING: Duration = Duration::from_secs(30 * 60);

/// What is decided about basket `number`: the same for the same seed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    lines: Vec<(usize, u32)>,
    buyer: usize,
    with_lock: bool,
    with_coupon: bool,
    look_ms: u64,
    /// Orders again at the price that a refusal showed.
    insists: bool,
}

fn planned(seed: u64, number: usize, buyers: usize) -> Plan {
    let dice = |what: &str| spread(&format!("{seed}-{what}-{number}"));
    let mut lines: Vec<(usize, u32)> = Vec::new();
    for line in 0..=dice("lines") % MOST_LINES {
        let product = dice(&format!("product{line}")) % PRODUCTS;
        if lines.iter().all(|(known, _)| *known != product) {
            lines.push((product, 1 + u32::try_from(dice(&format!("units{line}"))).unwrap_or(0) % MOST_UNITS));
        }
    }
    Plan {
        lines,
        buyer: dice("buyer") % buyers.max(1),
        with_lock: dice("lock") % 3 > 0,
        with_coupon: dice("coupon") % 4 == 0,
        look_ms: (dice("look") % LONGEST_LOOK) as u64,
        insists: dice("insists") % 2 == 0,
    }
}

/// An accepted order beside the last total that its shopper saw.
struct Accepted {
    order: Uuid,
    shown: Money,
    total: Money,
}

#[derive(Default)]
struct Outcome {
    accepted: Vec<Accepted>,
    refused: BTreeMap<String, usize>,
    failed: Vec<String>,
    /// Accepted at another price than the first one shown, because its refusal showed it.
    at_second_sight: usize,
    reduced: usize,
}

/// Everything that one season shares.
struct Truth<'a> {
    stack: &'a Stack,
    options: &'a TruthOptions,
    /// Of the run and the season: part of every name.
    name: String,
    shoppers: &'a [Shopper],
    staff: &'a Shopper,
    started: Instant,
    changes: AtomicU64,
    over: AtomicBool,
}

/// # Errors
/// The shop does not let the buyers in, or somebody does not answer. `false`: it ran, and somebody was charged more than shown.
pub async fn price_truth(stack: &Stack, options: &TruthOptions) -> anyhow::Result<bool> {
    let run = common::ids::time_ordered().simple().to_string()[..12].to_owned();
    println!("price truth {run}: {} baskets, seed {}, {} at once", options.carts, options.seed, options.concurrency);
    let (shoppers, staff) = (sign_up(stack, &run, options.buyers).await?, staff(&stack.api).await?);
    let (started, mut outcome, mut changes) = (Instant::now(), Outcome::default(), 0);
    for (season, first) in (0..options.carts).step_by(SEASON).enumerate() {
        let truth = Truth {
            stack,
            options,
            name: format!("{run}-{season}"),
            shoppers: &shoppers,
            staff: &staff,
            started,
            changes: AtomicU64::new(0),
            over: AtomicBool::new(false),
        };
        truth.season(first..options.carts.min(first + SEASON), &mut outcome).await?;
        changes += truth.changes.load(Ordering::Relaxed);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("changes    {changes} of prices and promotions in {seconds:.0} s ({:.1} per s)", changes as f64 / seconds);
    println!(
        "baskets    {} ordered, {} of them at the price that a refusal showed, {} with a reduction; refused: {:?}",
        outcome.accepted.len(),
        outcome.at_second_sight,
        outcome.reduced,
        outcome.refused
    );
    println!("repeated   {}", stack.api.repeats());
    for failure in outcome.failed.iter().take(10) {
        println!("PROBLEM    {failure}");
    }
    let above = judge(stack, &outcome).await?;
    let good = above == 0 && outcome.failed.is_empty() && !outcome.accepted.is_empty();
    println!("{}", if good { "PRICES ARE TRUE" } else { "PRICES ARE NOT TRUE" });
    Ok(good)
}

/// Compares what was shown with what was accepted and what the gateway took; gives how many paid more than shown.
async fn judge(stack: &Stack, outcome: &Outcome) -> anyhow::Result<usize> {
    let ids: Vec<Uuid> = outcome.accepted.iter().map(|accepted| accepted.order).collect();
    Databases::open(stack).await?.settled_within(stack, Some(&ids), SETTLING).await?;
    let books = GatewayBooks::read(stack.gateway_url()).await?;
    let (mut above, mut below, mut unpaid) = (0, 0, 0);
    for Accepted { order, shown, total } in &outcome.accepted {
        let taken = books.of_order(*order);
        if total.minor() > shown.minor() || taken > shown.minor() {
            above += 1;
            if above <= 10 {
                println!("ABOVE      {order}: shown {shown}, accepted {total}, taken {taken} minor units");
            }
        }
        below += usize::from(taken > 0 && taken < shown.minor());
        unpaid += usize::from(taken == 0);
    }
    println!("charged    {above} above shown, {below} below shown, {unpaid} not charged (given up)");
    Ok(above)
}

impl Truth<'_> {
    /// Opens, is shopped in while prices and promotions change, and closes.
    async fn season(&self, baskets: Range<usize>, outcome: &mut Outcome) -> anyhow::Result<()> {
        self.open_shop(baskets.clone()).await?;
        let shopping = async {
            self.shop(baskets, outcome).await;
            self.over.store(true, Ordering::Relaxed);
        };
        let ((), prices, promotions) = futures::join!(shopping, self.change_prices(), self.change_promotions());
        prices?;
        promotions?;
        self.close_shop().await
    }

    fn sku(&self, product: usize) -> String {
        format!("PT-{}-{product:02}", self.name)
    }

    fn currency(&self) -> Currency {
        self.stack.region.currency()
    }

    fn code(&self) -> String {
        format!("PT-{}", self.name)
    }

    async fn by_staff(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Reply> {
        self.staff.call(&self.stack.api, method, path, None, body).await
    }

    async fn put_product(&self, product: usize, change: u64) -> anyhow::Result<()> {
        let minor = 500 + i64::try_from(spread(&format!("{}-price-{product}-{change}", self.options.seed)) % 20_000)?;
        let price = Money::from_minor(minor, self.currency())?;
        let body = json!({
            "family": "gadget", "category": "gadgets/price-truth", "brand": "Lumen",
            "texts": {"en": {"name": format!("Lamp {product} of changing price"), "description": ""}},
            "prices": {self.currency().code(): price.amount_string()},
        });
        let path = format!("/v1/admin/products/{}", self.sku(product));
        self.by_staff(Method::PUT, &path, Some(&body)).await?.success("price").map(drop)
    }

    /// One of three promotions: off the category, off the basket, by coupon. Some changes end one, the next makes it again.
    async fn put_promotion(&self, which: usize, change: u64) -> anyhow::Result<()> {
        let path = format!("/v1/admin/promotions/pt-{}-{which}", self.name);
        let dice = |what: &str| spread(&format!("{}-{what}-{which}-{change}", self.options.seed));
        if change > 0 && dice("ends") % 4 == 0 {
            let reply = self.by_staff(Method::DELETE, &path, None).await?;
            return if reply.status.as_u16() == 404 { Ok(()) } else { reply.success("end of a promotion").map(drop) };
        }
        let mut body =
            json!({"title": "Price truth", "priority": dice("priority") % 10, "stacks": dice("stacks") % 2 == 0});
        let amount = Money::from_minor(1 + i64::try_from(dice("amount") % 900)?, self.currency())?;
        match which {
            0 => {
                body["percent"] = json!(format!("{}.{:02}", dice("percent") % 60, 1 + dice("part") % 99));
                body["target"] = json!({"categories": ["gadgets/price-truth"]});
            }
            1 => {
                body["amount"] = json!({self.currency().code(): amount.amount_string()});
                // Not the whole shop: other baskets than ours cost what they cost.
                body["target"] =
                    json!({"skus": (0..PRODUCTS / 2).map(|product| self.sku(product)).collect::<Vec<_>>()});
            }
            _ => {
                body["percent"] = json!(format!("{}", 1 + dice("percent") % 40));
                body["target"] = json!({"basket": true});
                body["coupon"] = json!({"code": self.code()});
            }
        }
        self.by_staff(Method::PUT, &path, Some(&body)).await?.success("promotion").map(drop)
    }

    async fn open_shop(&self, baskets: Range<usize>) -> anyhow::Result<()> {
        for product in 0..PRODUCTS {
            self.put_product(product, 0).await?;
        }
        for which in 0..3 {
            self.put_promotion(which, 0).await?;
        }
        let mut wanted: BTreeMap<usize, u32> = BTreeMap::new();
        for number in baskets {
            for (product, units) in planned(self.options.seed, number, self.options.buyers).lines {
                *wanted.entry(product).or_default() += units;
            }
        }
        let line = |(product, quantity)| ReceiptLine { sku: self.sku(product), quantity, kind: "counted" };
        let lines: Vec<_> = wanted.into_iter().map(line).collect();
        receive(&self.stack.api, self.staff, &format!("truth-{}", self.name), &lines).await.map(drop)
    }

    async fn close_shop(&self) -> anyhow::Result<()> {
        for which in 0..3 {
            let path = format!("/v1/admin/promotions/pt-{}-{which}", self.name);
            self.by_staff(Method::DELETE, &path, None).await?;
        }
        Ok(())
    }

    async fn change_prices(&self) -> anyhow::Result<()> {
        let mut change = 0;
        while !self.over.load(Ordering::Relaxed) {
            change += 1;
            let product = spread(&format!("{}-which-{change}", self.options.seed)) % PRODUCTS;
            self.put_product(product, change).await?;
            self.changes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PRICE_PAUSE).await;
        }
        Ok(())
    }

    async fn change_promotions(&self) -> anyhow::Result<()> {
        let mut change = 0;
        while !self.over.load(Ordering::Relaxed) {
            change += 1;
            self.put_promotion(usize::try_from(change % 3)?, change).await?;
            self.changes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PROMOTION_PAUSE).await;
        }
        Ok(())
    }

    async fn shop(&self, baskets: Range<usize>, outcome: &mut Outcome) {
        let TruthOptions { carts, seed, concurrency, buyers } = *self.options;
        let report_every = (carts / 50).max(100);
        let mut done = baskets.start;
        let baskets = baskets.map(|number| async move {
            let plan = planned(seed, number, buyers);
            (number, self.basket(number, &plan).await)
        });
        let mut baskets = futures::stream::iter(baskets).buffer_unordered(concurrency.max(1));
        while let Some((number, ended)) = baskets.next().await {
            done += 1;
            match ended {
                Ok(Ended::Accepted { accepted, at_second_sight, reduced }) => {
                    outcome.at_second_sight += usize::from(at_second_sight);
                    outcome.reduced += usize::from(reduced);
                    outcome.accepted.push(accepted);
                }
                Ok(Ended::Refused(code)) => *outcome.refused.entry(code).or_default() += 1,
                Err(error) => outcome.failed.push(format!("basket {number}: {error:#}")),
            }
            if done.is_multiple_of(report_every) {
                let rate = done as f64 / self.started.elapsed().as_secs_f64();
                println!("           {done:>7} of {carts} baskets · {rate:.0} per s");
            }
        }
    }

    /// Fills a basket, looks at it, orders it.
    async fn basket(&self, number: usize, plan: &Plan) -> anyhow::Result<Ended> {
        let (api, shopper) = (&self.stack.api, &self.shoppers[plan.buyer]);
        let visitor = common::ids::random();
        let address = address(shopper, self.stack.region);
        let lines: Vec<Value> =
            plan.lines.iter().map(|(product, units)| json!({"sku": self.sku(*product), "quantity": units})).collect();
        let ship_to = json!({"country": address["country"], "postal_code": address["postal_code"]});
        let path = format!("/v1/cart?visitor_id={visitor}");
        let body = json!({"lines": lines, "ship_to": ship_to});
        let reply = change_cart(api, &path, "\"0\"", &body).await?;
        let tag = reply.etag.clone();
        let mut cart = reply.success("basket")?;
        if plan.with_coupon {
            let path = format!("/v1/cart/coupon?visitor_id={visitor}");
            let reply = change_cart(api, &path, &tag, &json!({"code": self.code()})).await?;
            // The coupon's promotion has just ended, or not begun again: then the basket is ordered without.
            if reply.status.as_u16() != 422 {
                cart = reply.success("coupon")?;
            }
        }
        let coupon = (cart["coupon"]["state"] == "ok").then(|| cart["coupon"]["code"].clone());
        let reduced = !cart["discount"].is_null();
        if cart["payable"] != Value::Bool(true) {
            return Ok(Ended::Refused(format!("not-payable {}", cart["not_payable"].as_str().unwrap_or_default())));
        }
        tokio::time::sleep(Duration::from_millis(plan.look_ms)).await;
        let mut order = json!({
            "lines": lines, "shipping_address": address, "payment": {"method": "card", "token": "tok_ok"},
            "expected_total": cart["total"],
        });
        if plan.with_lock {
            order["price_lock"] = cart["price_lock"].clone();
        }
        if let Some(code) = coupon {
            order["coupon"] = code;
        }
        let reply = self.order(shopper, &format!("truth-{}-{number}", self.name), &order).await?;
        if reply.code() != "price-changed" || !plan.insists {
            return ended(reply, &order, false, reduced);
        }
        if plan.with_lock {
            bail!("a good lock was answered with price-changed: {}", reply.body);
        }
        order["expected_total"] = reply.body["quote"]["total"].clone();
        order["price_lock"] = reply.body["quote"]["price_lock"].clone();
        let reply = self.order(shopper, &format!("truth-{}-{number}-again", self.name), &order).await?;
        ended(reply, &order, true, reduced)
    }

    async fn order(&self, shopper: &Shopper, key: &str, order: &Value) -> anyhow::Result<Reply> {
        shopper.call(&self.stack.api, Method::POST, "/v1/orders", Some(key), Some(order)).await
    }
}

enum Ended {
    Accepted {
        accepted: Accepted,
        at_second_sight: bool,
        reduced: bool,
    },
    /// The shop said no, with its code.
    Refused(String),
}

/// What was confirmed is what was shown last.
fn ended(reply: Reply, order: &Value, at_second_sight: bool, reduced: bool) -> anyhow::Result<Ended> {
    if !reply.status.is_success() {
        return Ok(Ended::Refused(reply.code()));
    }
    let id = reply.body["order_id"].as_str().and_then(|text| text.parse().ok()).context("an order without an id")?;
    let (shown, total) = (money(&order["expected_total"])?, money(&reply.body["total_amount"])?);
    Ok(Ended::Accepted { accepted: Accepted { order: id, shown, total }, at_second_sight, reduced })
}

fn money(body: &Value) -> anyhow::Result<Money> {
    let text = |name: &str| body[name].as_str().with_context(|| format!("no {name} in {body}"));
    Ok(Money::parse(text("amount")?, text("currency")?.parse()?)?)
}

/// A repetition whose first try got through meets its own version: the basket is then read as it is.
async fn change_cart(api: &Api, path: &str, tag: &str, body: &Value) -> anyhow::Result<Reply> {
    let call = Call { method: Method::PUT, path, if_match: Some(tag), body: Some(body), ..Call::default() };
    let reply = api.call(&call).await?;
    if reply.status.as_u16() != 412 {
        return Ok(reply);
    }
    let path = path.replace("/v1/cart/coupon?", "/v1/cart?");
    api.call(&Call { path: &path, ..Call::default() }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_plans_the_same_baskets_and_all_kinds_of_them() {
        let all = |seed| (0..2_000).map(|number| planned(seed, number, 40)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        let plans = all(1);
        let share = |of: fn(&Plan) -> bool| plans.iter().filter(|plan| of(plan)).count();
        for (count, least, most) in [
            (share(|plan| plan.with_lock), 1_200, 1_470),
            (share(|plan| plan.with_coupon), 400, 600),
            (share(|plan| plan.insists), 850, 1_150),
            (share(|plan| plan.lines.len() > 1), 1_000, 1_500),
        ] {
            assert!((least..=most).contains(&count), "{count}");
        }
        assert!(plans.iter().all(|plan| !plan.lines.is_empty() && plan.buyer < 40));
    }

    #[test]
    fn what_was_shown_last_is_what_an_order_is_compared_with() {
        let reply = |status: u16, body: Value| Reply {
            status: reqwest::StatusCode::from_u16(status).unwrap(),
            body,
            replayed: false,
            etag: String::new(),
        };
        let euro = |amount: &str| json!({"amount": amount, "currency": "EUR"});
        let order = json!({"expected_total": euro("10.00")});
        let placed = json!({"order_id": Uuid::from_u128(7).to_string(), "total_amount": euro("10.01")});
        let Ok(Ended::Accepted { accepted, .. }) = ended(reply(201, placed), &order, false, true) else {
            panic!("it was accepted")
        };
        assert_eq!((accepted.shown.minor(), accepted.total.minor()), (1_000, 1_001));
        let refused = ended(reply(409, json!({"code": "out-of-stock"})), &order, false, false);
        assert!(matches!(refused, Ok(Ended::Refused(code)) if code == "out-of-stock"));
    }
}
