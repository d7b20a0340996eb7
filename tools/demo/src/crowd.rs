//! A load through the edge, as the drills of a whole region have it: a shop with something to sell, and a crowd in which everybody asks one
//! question after the other for as long as somebody holds our standard input open. Each thing is asked once: what fails has failed.
//!
//! Not decided here: who asks what and how often (`rolling`, `step`), and what is promised (`cargo xtask rolling`, `cluster drill`, `cluster
//! scale`).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::future::join_all;
use xtask::drill::told::{BEGINS, Counts, ENDS};

use crate::api::Api;
use crate::catalog_drill::assortment::Assortment;
use crate::catalog_drill::judge::{Tally, Verdict};
use crate::catalog_drill::{say, until_input_ends};
use crate::generate::{Supply, catalog};
use crate::orders::{ClickCount, Counter, Page, pages};
use crate::run::sign_up;
use crate::seed::staff;
use crate::shopper::Shopper;
use crate::stack::Stack;
use crate::stock::{ReceiptLine, receive};

/// Products that are ordered, and the units of each that are booked in: many times what a load orders.
const PRODUCTS: usize = 40;
const UNITS: u32 = 400;

/// What there is to ask for, and who pays.
pub struct Shop {
    /// Names this load.
    pub run: String,
    /// Products that can be ordered.
    pub skus: Vec<String>,
    pub shoppers: Vec<Shopper>,
    pub assortment: Assortment,
    pages: HashMap<String, Page>,
}

impl Shop {
    /// Books in what will be ordered and lets `shoppers` people in.
    ///
    /// # Errors
    /// The shop does not let people in, or has too little to ask for.
    pub async fn open(stack: &Stack, shoppers: usize) -> anyhow::Result<Shop> {
        let run = common::ids::time_ordered().simple().to_string()[..12].to_owned();
        let skus = fill_shelves(stack, &run).await?;
        let shoppers = sign_up(stack, &run, shoppers).await?;
        let pages = pages(&stack.api, &skus).await?;
        if pages.len() != skus.len() {
            bail!("the shop shows {} of {} products; run `./dev seed` first", pages.len(), skus.len());
        }
        let assortment = Assortment::read(&stack.api, Vec::new()).await?;
        Ok(Shop { run, skus, shoppers, assortment, pages })
    }

    /// Where its people order.
    pub fn counter<'a>(&'a self, stack: &'a Stack) -> Counter<'a> {
        Counter {
            api: &stack.api,
            region: stack.region,
            run: &self.run,
            shoppers: &self.shoppers,
            pages: &self.pages,
            clicks: ClickCount::default(),
        }
    }
}

/// Gives the products that can be ordered.
async fn fill_shelves(stack: &Stack, run: &str) -> anyhow::Result<Vec<String>> {
    let offers = catalog().into_iter();
    let offers = offers.filter(|offer| matches!(offer.supply, Supply::Counted(_) | Supply::Serialised(_)));
    let lines: Vec<ReceiptLine> = offers
        .take(PRODUCTS)
        .map(|offer| {
            let mut line = ReceiptLine::of(&offer.product.sku, offer.supply);
            line.quantity = UNITS;
            line
        })
        .collect();
    receive(&stack.api, &staff(&stack.api).await?, &format!("crowd-{run}"), &lines).await?;
    Ok(lines.into_iter().map(|line| line.sku).collect())
}

/// One kind of question: what people call it, how many ask one after the other, and for how long each pauses in between.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub askers: usize,
    pub pause: Duration,
}

impl Plan {
    pub fn new(name: &'static str, askers: usize, pause_ms: u64) -> Plan {
        Plan { name, askers, pause: Duration::from_millis(pause_ms) }
    }
}

/// What became of what was asked.
pub struct Asked {
    pub counts: BTreeMap<String, Counts>,
    /// The client has repeated a request, so the counts do not tell everything.
    pub repeated: bool,
}

/// Has everybody ask until the load is over. `ask` is told the kind, who of its askers it is, and dice that follow from the seed alone.
///
/// # Errors
/// Standard output cannot be written to.
pub async fn ask_on<Kind: Copy>(
    api: &Api,
    kinds: &[(Kind, Plan)],
    seed: u64,
    ask: impl AsyncFn(Kind, usize, &str) -> Verdict,
) -> anyhow::Result<Asked> {
    let over = until_input_ends();
    let before = api.repeats();
    say(BEGINS)?;
    let one = async |kind: Kind, plan: Plan, who: usize| {
        let mut tally = Tally::default();
        for number in 0_u64.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let dice = format!("{seed}-{}-{who}-{number}", plan.name);
            let asked = Instant::now();
            let verdict = ask(kind, who, &dice).await;
            tally.note(verdict, asked.elapsed());
            tokio::time::sleep(plan.pause).await;
        }
        (plan.name, tally)
    };
    let askers = kinds.iter().flat_map(|(kind, plan)| (0..plan.askers).map(move |who| (*kind, *plan, who)));
    let tallies = join_all(askers.map(|(kind, plan, who)| one(kind, plan, who))).await;
    say(ENDS)?;
    let mut by_kind: BTreeMap<&str, Vec<Tally>> = BTreeMap::new();
    for (name, tally) in tallies {
        by_kind.entry(name).or_default().push(tally);
    }
    let counts = by_kind.into_iter().map(|(name, tallies)| (name.to_owned(), Tally::together(tallies).counts()));
    Ok(Asked { counts: counts.collect(), repeated: api.repeats() != before })
}
