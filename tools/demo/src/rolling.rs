//! The load of a rolling update: shoppers search, read pages, ask for recommendations, log in, click and order through the edge.
//!
//! Decided here: who asks what and how often (from the seed alone), and what is counted afterwards. Not decided here: which processes are
//! replaced meanwhile and which counts are promised (`cargo xtask rolling`, and `cargo xtask matrix`, where an earlier release answers too).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use xtask::drill::rolling::told::{Told, click};

use crate::api::{Call, Reply};
use crate::campaign::may_end;
use crate::catalog_drill::judge::{Question, Verdict, judge};
use crate::catalog_drill::say;
use crate::closing_check::{Databases, Findings, units, unsent};
use crate::crowd::{Asked, Plan, Shop, ask_on};
use crate::generate::spread;
use crate::orders::Counter;
use crate::plan::PlannedOrder;
use crate::stack::Stack;

pub struct RollingOptions {
    pub seed: u64,
}

/// People of one load. Each logs in again long before a token is old, so that no other request has to.
const SHOPPERS: usize = 8;

/// Of a hundred orders, so many are paid with a card that is refused.
const DECLINED_PERCENT: usize = 5;

/// Clicks of one report.
const CLICKS: u64 = 3;

/// Longest wait until everything has come to its end, and between two looks.
const SETTLING: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Search,
    Page,
    Recommendation,
    Order,
    Click,
    VisitorClick,
    LogIn,
}

impl Kind {
    /// The load has to be there, not to be heavy: below all limits, and a login costs the identity provider a password hash.
    fn plans() -> [(Kind, Plan); 7] {
        [
            (Kind::Search, Plan::new("searches", 2, 60)),
            (Kind::Page, Plan::new("product pages", 2, 40)),
            (Kind::Recommendation, Plan::new("recommendations", 2, 60)),
            (Kind::Order, Plan::new("orders", 2, 250)),
            (Kind::Click, Plan::new("reports of clicks with a token", 2, 300)),
            (Kind::VisitorClick, Plan::new("reports of clicks by visitors", 2, 150)),
            (Kind::LogIn, Plan::new("log-ins", 1, 1_500)),
        ]
    }
}

/// # Errors
/// The shop does not let people in, has too little to ask for, or a database does not answer. `false`: it ran, and something is missing.
pub async fn rolling(stack: &Stack, options: &RollingOptions) -> anyhow::Result<bool> {
    let shop = Shop::open(stack, SHOPPERS).await?;
    let crowd = Crowd {
        counter: &shop.counter(stack),
        shop: &shop,
        orders: AtomicUsize::new(0),
        accepted: Mutex::default(),
        clicks: AtomicU64::new(0),
        accepted_clicks: Mutex::default(),
    };
    let ask = async |kind, _, dice: &str| crowd.ask(kind, dice).await;
    let Asked { counts, repeated } = ask_on(&stack.api, &Kind::plans(), options.seed, ask).await?;
    let (clicks, orders) = (taken(crowd.accepted_clicks), taken(crowd.accepted));
    let told = Told { run: shop.run.clone(), asked: counts, repeated, clicks, ..Told::default() };
    let told = settled(stack, told, &orders).await?;
    say(&serde_json::to_string(&told)?)?;
    Ok(told.books_agree && told.orders_missing == 0 && told.orders_untrue == 0 && told.unsent == 0)
}

fn taken<T>(collected: Mutex<Vec<T>>) -> Vec<T> {
    collected.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until nothing is under way any more and adds to `told` what the books say then.
async fn settled(stack: &Stack, told: Told, orders: &[(Uuid, &'static str)]) -> anyhow::Result<Told> {
    let (ended, until) = (Instant::now(), Instant::now() + SETTLING);
    let databases = Databases::open(stack).await?;
    let findings = databases.settled_within(stack, None, SETTLING).await?;
    let mut waiting = unsent(stack).await?;
    while waiting > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        waiting = unsent(stack).await?;
    }
    let ids: Vec<Uuid> = orders.iter().map(|(id, _)| *id).collect();
    let (ends, orders_untrue) = ends(orders, &databases.ends(&ids).await?);
    Ok(Told {
        orders: orders.len(),
        orders_missing: usize::try_from(databases.missing(&ids).await?)?,
        orders_untrue,
        ends,
        books: books(&findings),
        books_agree: findings.is_good(),
        unsent: waiting,
        settled_after_s: ended.elapsed().as_secs_f64(),
        ..told
    })
}

/// Card and end to number of orders, and how many ended otherwise than their card allows.
fn ends(orders: &[(Uuid, &'static str)], found: &BTreeMap<Uuid, String>) -> (BTreeMap<String, usize>, usize) {
    let (mut table, mut untrue): (BTreeMap<String, usize>, usize) = (BTreeMap::new(), 0);
    for (id, card) in orders {
        // An order that is in no book is counted as missing.
        let Some(end) = found.get(id) else { continue };
        *table.entry(format!("{card} {end}")).or_default() += 1;
        untrue += usize::from(!may_end(card, end));
    }
    (table, untrue)
}

/// The sums of the closing check, and everything that it has found when they are not good.
fn books(findings: &Findings) -> Vec<String> {
    let sums = findings.money.iter().map(|(currency, sums)| {
        let (orders, ledger, gateway) = (units(sums.orders), units(sums.ledger), units(sums.gateway));
        format!("completed {orders} {currency}, ledger {ledger} {currency}, gateway {gateway} {currency}")
    });
    let bad = (!findings.is_good()).then(|| format!("{findings:?}"));
    sums.chain(bad).collect()
}

/// Everybody who asks, and what the shop has promised to them.
struct Crowd<'a> {
    counter: &'a Counter<'a>,
    shop: &'a Shop,
    /// Orders that were sent.
    orders: AtomicUsize,
    /// Orders that were accepted, with their cards.
    accepted: Mutex<Vec<(Uuid, &'static str)>>,
    /// Clicks that were sent.
    clicks: AtomicU64,
    accepted_clicks: Mutex<Vec<u64>>,
}

impl Crowd<'_> {
    async fn ask(&self, kind: Kind, dice: &str) -> Verdict {
        match kind {
            Kind::Search => {
                let search = self.shop.assortment.search(dice);
                let path = search.path(spread(&format!("size-{dice}")));
                judge(Question::SearchOfAnyRelease(search.first.as_deref()), self.get(&path, None).await)
            }
            Kind::Page => {
                let sku = self.shop.assortment.sku(dice);
                judge(Question::Page(sku), self.get(&format!("/v1/products/{sku}"), None).await)
            }
            Kind::Recommendation => self.recommendation(dice).await,
            Kind::Order => self.order(dice).await,
            Kind::Click => match self.token(dice).await {
                Ok(token) => self.clicks(dice, Some(&token)).await,
                Err(error) => judge(Question::Write, Err(error)),
            },
            Kind::VisitorClick => self.clicks(dice, None).await,
            Kind::LogIn => self.log_in(dice).await,
        }
    }

    async fn get(&self, path: &str, token: Option<&str>) -> anyhow::Result<Reply> {
        self.counter.api.once(&Call { path, token, ..Call::default() }).await
    }

    async fn token(&self, dice: &str) -> anyhow::Result<String> {
        let shoppers = &self.shop.shoppers;
        shoppers[spread(dice) % shoppers.len()].token(self.counter.api).await
    }

    /// Of every two, one for a person and one for a stranger.
    async fn recommendation(&self, dice: &str) -> Verdict {
        let answer = if spread(&format!("whose-{dice}")).is_multiple_of(2) {
            match self.token(dice).await {
                Ok(token) => self.get("/v1/recommendations?kind=for_you&limit=5", Some(&token)).await,
                Err(error) => Err(error),
            }
        } else {
            self.get("/v1/recommendations?kind=trending&limit=5", None).await
        };
        judge(Question::Write, answer)
    }

    async fn log_in(&self, dice: &str) -> Verdict {
        // In turn, so that nobody's token grows old.
        let number: usize = dice.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let shoppers = &self.shop.shoppers;
        judge(Question::Write, shoppers[number % shoppers.len()].log_in_once(self.counter.api).await)
    }

    async fn order(&self, dice: &str) -> Verdict {
        let order = self.planned(dice);
        let answer = self.counter.order_once(&order).await;
        let id: Option<Uuid> =
            answer.as_ref().ok().and_then(|reply| reply.body["order_id"].as_str().and_then(|id| id.parse().ok()));
        match (judge(Question::Write, answer), id) {
            (Verdict::Good, Some(id)) => {
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).push((id, order.card));
                Verdict::Good
            }
            (Verdict::Good, None) => Verdict::Failed("accepted without an id".to_owned()),
            (other, _) => other,
        }
    }

    fn planned(&self, dice: &str) -> PlannedOrder {
        let roll = |what: &str| spread(&format!("{what}-{dice}"));
        let sku = self.shop.skus[roll("sku") % self.shop.skus.len()].clone();
        let units = if roll("units").is_multiple_of(4) { 2 } else { 1 };
        let card = if roll("card") % 100 < DECLINED_PERCENT { "tok_declined" } else { "tok_ok" };
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        PlannedOrder { number, shopper: roll("buyer") % self.shop.shoppers.len(), lines: vec![(sku, units)], card }
    }

    /// Reports clicks, as a person or as a browser that nobody has logged in with.
    async fn clicks(&self, dice: &str, token: Option<&str>) -> Verdict {
        let first = self.clicks.fetch_add(CLICKS, Ordering::Relaxed);
        let numbers = first..first + CLICKS;
        let sku = self.shop.assortment.sku(dice);
        let events: Vec<Value> = numbers
            .clone()
            .map(|number| json!({"event_id": click(&self.shop.run, number), "type": "view", "sku": sku}))
            .collect();
        let body = match token {
            Some(_) => Value::from(events),
            None => json!({"visitor_id": common::ids::random().to_string(), "events": events}),
        };
        let call = Call { method: Method::POST, path: "/v1/events", token, body: Some(&body), ..Call::default() };
        let answer = self.counter.api.once(&call).await;
        let accepted = answer.as_ref().map(|reply| accepted_of(reply, numbers)).unwrap_or_default();
        let all = accepted.len() as u64 == CLICKS;
        self.accepted_clicks.lock().unwrap_or_else(PoisonError::into_inner).extend(accepted);
        match judge(Question::Write, answer) {
            Verdict::Good if !all => Verdict::Failed("clicks were refused".to_owned()),
            verdict => verdict,
        }
    }
}

/// The clicks of a report that its answer calls accepted.
fn accepted_of(reply: &Reply, numbers: Range<u64>) -> Vec<u64> {
    if !reply.status.is_success() || reply.body["accepted"].as_u64().is_none() {
        return Vec::new();
    }
    let rejected = reply.body["rejected"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refused = |index: u64| rejected.iter().any(|one| one["index"].as_u64() == Some(index));
    (0..).zip(numbers).filter(|(index, _)| !refused(*index)).map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn only_clicks_that_an_answer_calls_accepted_have_to_be_in_the_topic() {
        for (status, body, accepted) in [
            (202, json!({"accepted": 3, "rejected": []}), vec![6, 7, 8]),
            (202, json!({"accepted": 2, "rejected": [{"index": 1, "code": "invalid-field"}]}), vec![6, 8]),
            (202, Value::Null, vec![]),
            (503, json!({"accepted": 3}), vec![]),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let reply = Reply { status, body, replayed: false, etag: String::new() };
            assert_eq!(accepted_of(&reply, 6..9), accepted, "{reply:?}");
        }
    }

    #[test]
    fn an_order_that_ended_against_its_card_is_counted_and_one_without_an_end_is_somebody_elses_count() {
        let id = Uuid::from_u128;
        let orders = [(id(1), "tok_ok"), (id(2), "tok_declined"), (id(3), "tok_declined"), (id(4), "tok_ok")];
        let found = BTreeMap::from([
            (id(1), "COMPLETED".to_owned()),
            (id(2), "COMPENSATED PAYMENT_DECLINED".to_owned()),
            // Planted: a refused card has paid.
            (id(3), "COMPLETED".to_owned()),
        ]);
        let (table, untrue) = ends(&orders, &found);
        assert_eq!((table.len(), table["tok_ok COMPLETED"], untrue), (3, 1, 1));
    }
}
