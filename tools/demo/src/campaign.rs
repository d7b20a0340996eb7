//! A campaign: very many small orders with every fault the gateway knows, while somebody else kills processes and restarts the
//! broker; a few charges are made at the gateway without any order. At its end nothing may be missing, doubled, stuck or different by a cent,
//! and money without an order must be found and back.
//!
//! Decided here: who orders what and how it is paid (from the seed alone), that each order is repeated with its key until it is
//! answered, and what must be true at the end. Not decided here: what is killed and when (`cargo xtask campaign`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::StreamExt as _;
use reqwest::Method;
use uuid::Uuid;

use crate::closing_check::Databases;
use crate::generate::{Supply, catalog, spread};
use crate::orders::{ClickCount, Counter, Placed, pages};
use crate::plan::PlannedOrder;
use crate::run::sign_up;
use crate::seed::staff;
use crate::stack::Stack;
use crate::stock::{ReceiptLine, receive};
use crate::strays::{self, Made, Till};

pub struct CampaignOptions {
    pub orders: usize,
    pub seed: u64,
    /// Orders under way at once.
    pub concurrency: usize,
    /// People who order.
    pub buyers: usize,
}

/// How payments go, in ten thousandths; the rest is [`GOOD`].
const CARDS: [(&str, usize); 12] = [
    ("tok_declined", 300),
    ("tok_insufficient", 100),
    ("tok_timeout_charged", 60),
    ("tok_timeout_not_charged", 60),
    ("tok_error500_charged", 100),
    ("tok_reset", 100),
    ("tok_webhook_twice", 100),
    ("tok_webhook_early", 100),
    ("tok_webhook_late", 100),
    ("tok_webhook_lost", 50),
    ("tok_webhook_only", 30),
    ("tok_slow", 20),
];
const GOOD: &str = "tok_ok";

/// Of ten thousand orders, so many are sent twice at the same moment with one key.
const TWICE: usize = 200;
/// Of ten thousand orders, so many are cancelled right after they were accepted.
const CANCELLED: usize = 100;

/// Lines of one order and units of one line: many small orders, because each is one saga however large it is.
const MOST_LINES: usize = 3;
const MOST_UNITS: usize = 2;

/// Products of the campaign, so that some are wanted by many at once.
const PRODUCTS: usize = 120;
/// Of these, so many have too little on the shelf: being sold out is part of the campaign.
const SHORT: usize = 4;

/// Longest wait until everything has come to its end: the resolution of an unknown outcome asks every 15 minutes at last.
const SETTLING: Duration = Duration::from_secs(30 * 60);

/// What is done with an order besides placing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twist {
    None,
    /// Two requests with one key at once.
    Twice,
    Cancel,
}

/// Order `number` of a campaign: the same for the same seed.
fn planned(seed: u64, number: usize, buyers: usize, skus: &[String]) -> (PlannedOrder, Twist) {
    let dice = |what: &str| spread(&format!("{seed}-{what}-{number}"));
    let mut lines: Vec<(String, u32)> = Vec::new();
    for line in 0..=dice("lines") % MOST_LINES {
        let sku = &skus[dice(&format!("sku{line}")) % skus.len()];
        if !lines.iter().any(|(known, _)| known == sku) {
            let units = 1 + dice(&format!("units{line}")) % MOST_UNITS;
            lines.push((sku.clone(), u32::try_from(units).unwrap_or(1)));
        }
    }
    let mut card = dice("card") % 10_000;
    let troubled = CARDS.iter().find(|(_, share)| {
        let hit = card < *share;
        card = card.saturating_sub(*share);
        hit
    });
    let twist = match dice("twist") % 10_000 {
        roll if roll < TWICE => Twist::Twice,
        roll if roll < TWICE + CANCELLED => Twist::Cancel,
        _ => Twist::None,
    };
    let card = troubled.map_or(GOOD, |(token, _)| *token);
    (PlannedOrder { number, shopper: dice("buyer") % buyers.max(1), lines, card }, twist)
}

/// What became of all orders.
#[derive(Default)]
struct Outcome {
    /// Each accepted order with the card it was paid with.
    accepted: Vec<(Uuid, &'static str)>,
    replayed: usize,
    sent_twice: usize,
    cancels: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
    /// Charges that were made without an order.
    strays: Vec<Made>,
    failed: Vec<String>,
}

/// # Errors
/// The shop does not let the buyers in, or a database does not answer. `false`: it ran, and a promise is broken.
pub async fn campaign(stack: &Stack, options: &CampaignOptions) -> anyhow::Result<bool> {
    let run = common::ids::time_ordered().simple().to_string()[..12].to_owned();
    let skus: Vec<String> = catalog()
        .into_iter()
        .filter(|offer| matches!(offer.supply, Supply::Counted(_) | Supply::Serialised(_)))
        .map(|offer| offer.product.sku)
        .take(PRODUCTS)
        .collect();
    println!("campaign {run}: {} orders, seed {}, {} at once", options.orders, options.seed, options.concurrency);
    let shoppers = sign_up(stack, &run, options.buyers).await?;
    let pages = pages(&stack.api, &skus).await?;
    if pages.len() != skus.len() {
        bail!("the shop shows {} of {} products; run `./dev seed` first", pages.len(), skus.len());
    }
    let databases = Databases::open(stack).await?;
    fill_shelves(stack, options, &skus, &run).await?;

    let started = Instant::now();
    let counter = Counter {
        api: &stack.api,
        region: stack.region,
        run: &run,
        shoppers: &shoppers,
        pages: &pages,
        clicks: ClickCount::default(),
    };
    let till = Till::at(stack)?;
    let outcome = place_all((&counter, &till), options, &skus, started).await;
    let seconds = started.elapsed().as_secs_f64();
    tell(&outcome, options.orders, seconds);
    println!("repeated   {}", stack.api.repeats());

    let findings = databases.settled_within(stack, None, SETTLING).await?;
    println!("settled    {:.0} s after the last answer", started.elapsed().as_secs_f64() - seconds);
    println!("--- closing check over everything in this region");
    findings.print();
    let ids: Vec<Uuid> = outcome.accepted.iter().map(|(id, _)| *id).collect();
    let lost = databases.missing(&ids).await?;
    println!("accepted   {} orders were answered with 2xx, {lost} of them are missing", ids.len());
    let goods = databases.goods(&ids).await?;
    goods.print();
    let untrue = tell_ends(&outcome, &databases.ends(&ids).await?);
    let astray = strays::tell(stack, &databases, &outcome.strays).await?;
    for failure in outcome.failed.iter().take(10) {
        println!("PROBLEM    {failure}");
    }
    if untrue > 0 {
        println!("PROBLEM    {untrue} orders did not end as their card says");
    }
    let good =
        findings.is_good() && goods.is_good() && outcome.failed.is_empty() && lost == 0 && untrue == 0 && astray == 0;
    println!("{}", if good { "CAMPAIGN HOLDS" } else { "CAMPAIGN FAILED" });
    Ok(good)
}

/// Books in what will be ordered, but for a few products that run short.
async fn fill_shelves(stack: &Stack, options: &CampaignOptions, skus: &[String], run: &str) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..options.orders {
        for (sku, units) in planned(options.seed, number, options.buyers, skus).0.lines {
            *wanted.entry(sku).or_default() += units;
        }
    }
    for sku in skus.iter().take(SHORT) {
        // Half of the demand is met; the rest learns that it is sold out.
        wanted.entry(sku.clone()).and_modify(|units| *units /= 2);
    }
    let supplies: BTreeMap<String, Supply> =
        catalog().into_iter().map(|offer| (offer.product.sku, offer.supply)).collect();
    let lines: Vec<ReceiptLine> = wanted
        .into_iter()
        .filter(|(_, units)| *units > 0)
        .filter_map(|(sku, units)| {
            let mut line = ReceiptLine::of(&sku, *supplies.get(&sku)?);
            line.quantity = units;
            Some(line)
        })
        .collect();
    let staff = staff(&stack.api).await?;
    receive(&stack.api, &staff, &format!("campaign-{run}"), &lines).await?;
    println!("stock      {} products booked in, {SHORT} of them with half of what will be wanted", lines.len());
    Ok(())
}

async fn place_all(
    (counter, till): (&Counter<'_>, &Till),
    options: &CampaignOptions,
    skus: &[String],
    started: Instant,
) -> Outcome {
    let done = AtomicUsize::new(0);
    let report_every = (options.orders / 50).max(100);
    let one = |number: usize| {
        let done = &done;
        async move {
            let (order, twist) = planned(options.seed, number, options.buyers, skus);
            let stray = match strays::planned(options.seed, number) {
                Some(minor) => Some(till.take(counter.run, number, minor).await),
                None => None,
            };
            let placed = carry_out(counter, &order, twist).await;
            let count = done.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_multiple_of(report_every) {
                let rate = count as f64 / started.elapsed().as_secs_f64();
                println!("           {count:>7} of {} answered · {rate:.0} per s", options.orders);
            }
            (order, twist, placed, stray)
        }
    };
    let mut placing = futures::stream::iter((0..options.orders).map(one)).buffer_unordered(options.concurrency.max(1));
    let mut outcome = Outcome::default();
    while let Some((order, twist, placed, stray)) = placing.next().await {
        match stray {
            Some(Ok(made)) => outcome.strays.push(made),
            Some(Err(error)) => outcome.failed.push(format!("charge beside order {}: {error:#}", order.number)),
            None => {}
        }
        match placed {
            Ok((Placed::Accepted { order: id, replayed }, cancel)) => {
                outcome.accepted.push((id, order.card));
                outcome.replayed += usize::from(replayed);
                if let Some(answer) = cancel {
                    *outcome.cancels.entry(answer).or_default() += 1;
                }
            }
            Ok((Placed::Refused(code), _)) => *outcome.refused.entry(code).or_default() += 1,
            Err(error) => outcome.failed.push(format!("order {}: {error:#}", order.number)),
        }
        outcome.sent_twice += usize::from(twist == Twist::Twice);
    }
    outcome
}

/// Places one order and does to it what its twist says; gives the answer to a cancellation, too.
async fn carry_out(
    counter: &Counter<'_>,
    order: &PlannedOrder,
    twist: Twist,
) -> anyhow::Result<(Placed, Option<String>)> {
    match twist {
        Twist::None => Ok((counter.order(order).await?, None)),
        Twist::Twice => {
            let (one, other) = futures::join!(counter.order(order), counter.order(order));
            let (one, other) = (one?, other?);
            if one.id() != other.id() {
                bail!("one key brought two answers: {one:?} and {other:?}");
            }
            Ok((one, None))
        }
        Twist::Cancel => {
            let placed = counter.order(order).await?;
            let Placed::Accepted { order: id, .. } = &placed else { return Ok((placed, None)) };
            let path = format!("/v1/orders/{id}/cancel");
            let key = format!("cancel-{}-{}", counter.run, order.number);
            let shopper = &counter.shoppers[order.shopper];
            let reply = shopper.call(counter.api, Method::POST, &path, Some(&key), None).await?;
            let said = if reply.status.is_success() { reply.status.as_u16().to_string() } else { reply.code() };
            Ok((placed, Some(said)))
        }
    }
}

fn tell(outcome: &Outcome, orders: usize, seconds: f64) {
    let list = |counts: &BTreeMap<String, usize>| {
        let texts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    };
    println!(
        "placed     {} of {orders} in {seconds:.0} s ({:.0} per s); refused: {}; {} without an answer",
        outcome.accepted.len(),
        orders as f64 / seconds.max(0.001),
        list(&outcome.refused),
        outcome.failed.len()
    );
    println!(
        "twins      {} orders were sent twice at once; {} answers were repeated ones",
        outcome.sent_twice, outcome.replayed
    );
    println!("cancels    {}", list(&outcome.cancels));
}

/// Per card, how its orders ended; gives the number of those that ended otherwise than their card allows.
fn tell_ends(outcome: &Outcome, ends: &BTreeMap<Uuid, String>) -> usize {
    let mut table: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (id, card) in &outcome.accepted {
        let end = ends.get(id).map_or("missing", String::as_str);
        *table.entry((card, end)).or_default() += 1;
    }
    let mut untrue = 0;
    for ((card, end), count) in table {
        let verdict = if may_end(card, end) { "" } else { "  UNTRUE" };
        println!("ended      {card:<24} {end:<32} {count:>7}{verdict}");
        untrue += if may_end(card, end) { 0 } else { count };
    }
    untrue
}

/// A refused card pays for nothing; a card that works is never called declined, whatever happened to the answers.
pub(crate) fn may_end(card: &str, end: &str) -> bool {
    match card {
        "tok_declined" | "tok_insufficient" => end.starts_with("COMPENSATED"),
        _ => end == "COMPLETED" || (end.starts_with("COMPENSATED") && end != "COMPENSATED PAYMENT_DECLINED"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skus() -> Vec<String> {
        (0..PRODUCTS).map(|number| format!("P{number}")).collect()
    }

    #[test]
    fn the_same_seed_plans_the_same_orders_and_another_one_others() {
        let skus = skus();
        let all = |seed: u64| (0..500).map(|number| planned(seed, number, 40, &skus)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn an_end_that_the_card_does_not_allow_is_seen() {
        for (card, end, allowed) in [
            ("tok_ok", "COMPLETED", true),
            ("tok_ok", "COMPENSATED OUT_OF_STOCK", true),
            ("tok_ok", "COMPENSATED PAYMENT_DECLINED", false),
            ("tok_timeout_charged", "COMPENSATED PAYMENT_DECLINED", false),
            ("tok_declined", "COMPENSATED PAYMENT_DECLINED", true),
            ("tok_declined", "COMPLETED", false),
            ("tok_ok", "PAYMENT_PENDING", false),
            ("tok_ok", "missing", false),
        ] {
            assert_eq!(may_end(card, end), allowed, "{card} {end}");
        }
    }

    #[test]
    fn every_card_and_every_twist_has_about_its_share() {
        let skus = skus();
        let all: Vec<_> = (0..20_000).map(|number| planned(7, number, 40, &skus)).collect();
        for (card, share) in CARDS {
            let count = all.iter().filter(|(order, _)| order.card == card).count();
            assert!(count >= share && count <= share * 3, "{card}: {count} of about {}", share * 2);
        }
        for (twist, share) in [(Twist::Twice, TWICE), (Twist::Cancel, CANCELLED)] {
            let count = all.iter().filter(|(_, found)| *found == twist).count();
            assert!(count >= share && count <= share * 3, "{twist:?}: {count} of about {}", share * 2);
        }
        assert!(all.iter().all(|(order, _)| (1..=MOST_LINES).contains(&order.lines.len()) && order.shopper < 40));
    }
}
