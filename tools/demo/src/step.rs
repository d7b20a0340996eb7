//! A step of load: from its first second to its last people search, read pages, look at their orders and order, evenly and more than two
//! replicas are meant to have.
//!
//! Decided here: who asks what and how often (from the seed alone). The load is for catalog and order-payment, and for two cores that carry
//! everything else as well, so most questions are those that cost the stores little. Not decided here: who grows, and what is promised
//! (`cargo xtask cluster scale`).

use std::sync::atomic::{AtomicUsize, Ordering};

use xtask::cluster::scale::told::{Told, sums};

use crate::api::Call;
use crate::catalog_drill::judge::{Question, Verdict, judge};
use crate::catalog_drill::say;
use crate::crowd::{Plan, Shop, ask_on};
use crate::generate::spread;
use crate::orders::Counter;
use crate::plan::PlannedOrder;
use crate::stack::Stack;

pub struct StepOptions {
    pub seed: u64,
}

/// People of one load; each asks for their orders, one answer after the other.
const SHOPPERS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Search,
    Page,
    Orders,
    Order,
}

impl Kind {
    /// A search costs the index, and an order a saga: of those there are few, because index and stores share the processors with the pods
    /// that start, and what they need for themselves is not what grows.
    fn plans() -> [(Kind, Plan); 4] {
        [
            (Kind::Search, Plan::new("searches", 1, 100)),
            (Kind::Page, Plan::new("product pages", 6, 10)),
            (Kind::Orders, Plan::new("lists of a person's orders", SHOPPERS, 10)),
            (Kind::Order, Plan::new("orders", 1, 200)),
        ]
    }
}

/// # Errors
/// The shop does not let people in, or has too little to ask for. `false`: something failed.
pub async fn step(stack: &Stack, options: &StepOptions) -> anyhow::Result<bool> {
    let shop = Shop::open(stack, SHOPPERS).await?;
    let crowd = Crowd { counter: &shop.counter(stack), shop: &shop, orders: AtomicUsize::new(0) };
    let ask = async |kind, who, dice: &str| crowd.ask(kind, who, dice).await;
    let asked = ask_on(&stack.api, &Kind::plans(), options.seed, ask).await?;
    let told = Told { asked: asked.counts, repeated: asked.repeated };
    say(&serde_json::to_string(&told)?)?;
    Ok(sums(&told).1 == 0)
}

struct Crowd<'a> {
    counter: &'a Counter<'a>,
    shop: &'a Shop,
    /// Orders that were sent.
    orders: AtomicUsize,
}

impl Crowd<'_> {
    async fn ask(&self, kind: Kind, who: usize, dice: &str) -> Verdict {
        let api = self.counter.api;
        match kind {
            Kind::Search => {
                let search = self.shop.assortment.search(dice);
                let path = search.path(spread(&format!("size-{dice}")));
                let answer = api.once(&Call { path: &path, ..Call::default() }).await;
                judge(Question::Search(search.first.as_deref()), answer)
            }
            Kind::Page => {
                let sku = self.shop.assortment.sku(dice);
                let path = format!("/v1/products/{sku}");
                judge(Question::Page(sku), api.once(&Call { path: &path, ..Call::default() }).await)
            }
            Kind::Orders => {
                let answer = match self.shop.shoppers[who].token(api).await {
                    Ok(token) => api.once(&Call { path: "/v1/orders", token: Some(&token), ..Call::default() }).await,
                    Err(error) => Err(error),
                };
                judge(Question::Write, answer)
            }
            Kind::Order => judge(Question::Write, self.counter.order_once(&self.planned(dice)).await),
        }
    }

    fn planned(&self, dice: &str) -> PlannedOrder {
        let roll = |what: &str| spread(&format!("{what}-{dice}"));
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        let sku = self.shop.skus[roll("sku") % self.shop.skus.len()].clone();
        PlannedOrder { number, shopper: roll("buyer") % SHOPPERS, lines: vec![(sku, 1)], card: "tok_ok" }
    }
}
