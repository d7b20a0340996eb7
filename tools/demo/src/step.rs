//! A step of load: from its first second to its last people search, read pages, look at their orders and order, evenly and more than two
//! replicas are meant to have, for as long as somebody holds our standard input open. Each thing is asked once: what fails has failed.
//!
//! Decided here: who asks what and how often (from the seed alone). The load is for catalog and order-payment, and for two cores that carry
//! everything else as well, so most questions are those that cost the stores little. Not decided here: who grows, and what is promised
//! (`cargo xtask cluster scale`).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::future::join_all;
use xtask::cluster::scale::told::{Told, sums};
use xtask::drill::told::{BEGINS, ENDS};

use crate::api::Call;
use crate::catalog_drill::assortment::Assortment;
use crate::catalog_drill::judge::{Question, Tally, Verdict, judge};
use crate::catalog_drill::{say, until_input_ends};
use crate::generate::spread;
use crate::orders::{ClickCount, Counter, Page, pages};
use crate::plan::PlannedOrder;
use crate::rolling::fill_shelves;
use crate::run::sign_up;
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
    const ALL: [Kind; 4] = [Kind::Search, Kind::Page, Kind::Orders, Kind::Order];

    /// For people; how many ask one question after the other, and for how long each pauses in between. A search costs the index, and an
    /// order a saga: of those there are few.
    fn plan(self) -> (&'static str, usize, Duration) {
        let plan = |name, askers, pause_ms| (name, askers, Duration::from_millis(pause_ms));
        match self {
            Kind::Search => plan("searches", 6, 30),
            Kind::Page => plan("product pages", 6, 10),
            Kind::Orders => plan("lists of a person's orders", SHOPPERS, 10),
            Kind::Order => plan("orders", 2, 200),
        }
    }
}

/// # Errors
/// The shop does not let people in, or has too little to ask for. `false`: something failed.
pub async fn step(stack: &Stack, options: &StepOptions) -> anyhow::Result<bool> {
    let (api, seed) = (&stack.api, options.seed);
    let run = common::ids::time_ordered().simple().to_string()[..12].to_owned();
    let skus = fill_shelves(stack, &run).await?;
    let shoppers = sign_up(stack, &run, SHOPPERS).await?;
    let pages: HashMap<String, Page> = pages(api, &skus).await?;
    if pages.len() != skus.len() {
        bail!("the shop shows {} of {} products; run `./dev seed` first", pages.len(), skus.len());
    }
    let assortment = Assortment::read(api, Vec::new()).await?;
    let counter = Counter {
        api,
        region: stack.region,
        run: &run,
        shoppers: &shoppers,
        pages: &pages,
        clicks: ClickCount::default(),
    };
    let crowd = Crowd { counter: &counter, assortment: &assortment, skus: &skus, seed, orders: AtomicUsize::new(0) };
    let over = until_input_ends();
    let before = api.repeats();
    say(BEGINS)?;
    let askers = Kind::ALL.into_iter().flat_map(|kind| (0..kind.plan().1).map(move |who| (kind, who)));
    let tallies = join_all(askers.map(|(kind, who)| crowd.ask_on(kind, who, &over))).await;
    say(ENDS)?;
    let mut by_kind: BTreeMap<&str, Vec<Tally>> = BTreeMap::new();
    for (kind, tally) in tallies {
        by_kind.entry(kind.plan().0).or_default().push(tally);
    }
    let asked = by_kind.into_iter().map(|(name, tallies)| (name.to_owned(), Tally::together(tallies).counts()));
    let told = Told { asked: asked.collect(), repeated: api.repeats() != before };
    say(&serde_json::to_string(&told)?)?;
    Ok(sums(&told).1 == 0)
}

struct Crowd<'a> {
    counter: &'a Counter<'a>,
    assortment: &'a Assortment,
    skus: &'a [String],
    seed: u64,
    /// Orders that were sent.
    orders: AtomicUsize,
}

impl Crowd<'_> {
    /// Asks one question after the other until the load is over.
    async fn ask_on(&self, kind: Kind, who: usize, over: &AtomicBool) -> (Kind, Tally) {
        let mut tally = Tally::default();
        let (name, _, pause) = kind.plan();
        for number in 0_u64.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let dice = format!("{}-{name}-{who}-{number}", self.seed);
            let asked = Instant::now();
            let verdict = self.ask(kind, who, &dice).await;
            tally.note(verdict, asked.elapsed());
            tokio::time::sleep(pause).await;
        }
        (kind, tally)
    }

    async fn ask(&self, kind: Kind, who: usize, dice: &str) -> Verdict {
        let api = self.counter.api;
        match kind {
            Kind::Search => {
                let search = self.assortment.search(dice);
                let path = search.path(spread(&format!("size-{dice}")));
                let answer = api.once(&Call { path: &path, ..Call::default() }).await;
                judge(Question::Search(search.first.as_deref()), answer)
            }
            Kind::Page => {
                let sku = self.assortment.sku(dice);
                let path = format!("/v1/products/{sku}");
                judge(Question::Page(sku), api.once(&Call { path: &path, ..Call::default() }).await)
            }
            Kind::Orders => {
                let answer = match self.counter.shoppers[who].token(api).await {
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
        let sku = self.skus[roll("sku") % self.skus.len()].clone();
        PlannedOrder { number, shopper: roll("buyer") % SHOPPERS, lines: vec![(sku, 1)], card: "tok_ok" }
    }
}
