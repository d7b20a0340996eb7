//! The run: people sign up and shop, cards fail in all the ways they do, and at the end everything is added up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::StreamExt as _;
use reqwest::Method;
use uuid::Uuid;

use crate::api::Call;
use crate::baskets::{self, Basket, MAX_LINES, MAX_UNITS};
use crate::closing_check::{Databases, StockSums, units};
use crate::follow::{Seen, follow};
use crate::generate::{Supply, catalog};
use crate::import;
use crate::orders::{ClickCount, Counter, Placed, pages};
use crate::plan::{PlannedOrder, TROUBLE, plan, trouble_each};
use crate::seed::staff;
use crate::shopper::{PEOPLE, Shopper};
use crate::stack::{Stack, dataset};
use crate::stock::{ReceiptLine, receive};

pub struct RunOptions {
    pub orders: usize,
    pub declined_percent: usize,
    pub seed: u64,
    pub concurrency: usize,
    pub datasets: Option<PathBuf>,
}

/// People of one run. All are new, so that signing up is part of every run.
const SHOPPERS: usize = 12;
/// Refused cards of one person, about: well below what is taken for card testing.
const DECLINED_EACH: usize = 1;
const RUN_PASSWORD: &str = "ShopSphere-run-1";

/// Orders followed live.
const FOLLOWED: usize = 3;

/// Sign-ups under way at once.
const SIGN_UPS: usize = 4;

/// Longest wait until the last order has come to its end.
const LAST_ORDER: Duration = Duration::from_secs(180);

/// Between two looks at the lists of orders.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Gadgets with fewer units than this on the shelf are not refilled: a shop has empty shelves, too.
const SCARCE: i64 = 10;

/// # Errors
/// The shop refuses what it should not, or does not answer. `false`: it ran, and the books do not agree.
pub async fn run(stack: &Stack, options: &RunOptions) -> anyhow::Result<bool> {
    // Names the run: its people, its keys and its receipts are its own, however often it is run.
    let run = common::ids::time_ordered().simple().to_string()[..12].to_owned();
    let (baskets, source) = baskets(options)?;
    let products = products(stack).await?;
    let people = SHOPPERS.max(baskets.len() * options.declined_percent.min(100) / 100 / DECLINED_EACH);
    let planned = plan(&baskets, &products.skus, people, options.declined_percent, options.seed);
    println!("run {run}: {} baskets of {source}, products: {}", planned.len(), products.source);
    println!(
        "           at most {MAX_LINES} lines per order and {MAX_UNITS} units per line; each stock code always stands for the same product"
    );
    let declined =
        planned.iter().filter(|order| order.card.contains("declined") || order.card.contains("insufficient")).count();
    println!("cards      {declined} refused; {} each of {}", trouble_each(planned.len()), TROUBLE.join(", "));

    let shoppers = sign_up(stack, &run, people).await?;
    let touched = touched(&planned);
    let pages = pages(&stack.api, &touched).await?;
    if pages.is_empty() && !planned.is_empty() {
        bail!("the shop has none of the products; run `demo seed` first");
    }
    println!("products   {} different ones, prices read from their pages", pages.len());
    let databases = Databases::open(stack).await?;
    refill(stack, &databases, &planned, &run).await?;
    let before = databases.stock_sums(Some(&touched)).await?;

    let started = Instant::now();
    let counter = Counter {
        api: &stack.api,
        region: stack.region,
        run: &run,
        shoppers: &shoppers,
        pages: &pages,
        clicks: ClickCount::default(),
    };
    let outcome = place_all(&counter, &planned, options.concurrency).await;
    let placing = started.elapsed();
    tell_placed(&outcome, &counter, planned.len(), placing);
    let late = wait_for_the_last(stack, &shoppers, &outcome.accepted).await?;
    let findings = databases.settled(stack, Some(&outcome.accepted)).await?;
    let after = databases.stock_sums(Some(&touched)).await?;

    println!("--- closing check");
    findings.print();
    tell_stock(before, after);
    tell_times(databases.durations_ms(&outcome.accepted).await?, started.elapsed());
    println!("repeated   {}; {} orders answered from an earlier try", stack.api.repeats(), outcome.replayed);
    let region = databases.settled(stack, None).await?;
    let difference: i64 = region.money.values().map(|sums| sums.difference()).max().unwrap_or(0);
    println!(
        "region     difference {} over everything so far, {} double charges",
        units(difference),
        region.charged_twice.len()
    );
    let complete = outcome.failed.is_empty() && late == 0;
    for failure in outcome.failed.iter().take(5) {
        println!("PROBLEM    {failure}");
    }
    let good = complete && findings.is_good() && region.is_good();
    println!("{}", if good { "the books agree" } else { "THE BOOKS DO NOT AGREE, or something is stuck" });
    Ok(good)
}

fn baskets(options: &RunOptions) -> anyhow::Result<(Vec<Basket>, String)> {
    match dataset(options.datasets.as_deref(), baskets::FILE)? {
        Some(file) => Ok((baskets::from_file(&file, options.orders)?, "the Online Retail dataset".to_owned())),
        None => Ok((baskets::invented(options.orders, options.seed), "our own making (no dataset found)".to_owned())),
    }
}

struct Products {
    skus: Vec<String>,
    source: String,
}

/// What can be bought: the demo catalog, and the imported one when the shop has it.
async fn products(stack: &Stack) -> anyhow::Result<Products> {
    let mut skus: Vec<String> = catalog().into_iter().map(|offer| offer.product.sku).collect();
    let demo = skus.len();
    let imported = match dataset(None, import::FILE)? {
        Some(file) => import::read(&file)?.into_iter().map(|product| product.sku).collect(),
        None => Vec::new(),
    };
    let Some(probe) = imported.last() else {
        return Ok(Products { skus, source: format!("{demo} of the demo catalog") });
    };
    let path = format!("/v1/products/{probe}");
    let known = stack.api.call(&Call { path: &path, ..Call::default() }).await?.status.is_success();
    if known {
        skus.extend(imported);
    }
    let source = format!(
        "{demo} of the demo catalog{}",
        if known { format!(" and {} imported", skus.len() - demo) } else { String::new() }
    );
    Ok(Products { skus, source })
}

fn touched(planned: &[PlannedOrder]) -> Vec<String> {
    let mut skus: Vec<String> = planned.iter().flat_map(|order| &order.lines).map(|(sku, _)| sku.clone()).collect();
    skus.sort();
    skus.dedup();
    skus
}

/// Signs up `count` new people and logs them in.
///
/// # Errors
/// The shop does not let them in.
pub async fn sign_up(stack: &Stack, run: &str, count: usize) -> anyhow::Result<Vec<Shopper>> {
    let started = Instant::now();
    let shoppers: Vec<Shopper> = (0..count)
        .map(|number| {
            Shopper::new(
                format!("run-{run}-{:02}@shopsphere.example", number + 1),
                RUN_PASSWORD,
                PEOPLE[number % PEOPLE.len()],
            )
        })
        .collect();
    let (api, region) = (&stack.api, stack.region.code());
    let languages = stack.region.languages();
    let joining = shoppers
        .iter()
        .enumerate()
        .map(|(number, shopper)| shopper.join(api, region, languages[number % languages.len()]));
    let joined: Vec<anyhow::Result<()>> = futures::stream::iter(joining).buffer_unordered(SIGN_UPS).collect().await;
    joined.into_iter().collect::<anyhow::Result<()>>()?;
    println!("people     {count} signed up and logged in ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(shoppers)
}

/// Books in what the run will buy and the shelves do not hold, so that it can be run again and again. Scarce goods stay scarce.
async fn refill(stack: &Stack, databases: &Databases, planned: &[PlannedOrder], run: &str) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    for (sku, units) in planned.iter().flat_map(|order| &order.lines) {
        *wanted.entry(sku.clone()).or_default() += i64::from(*units);
    }
    let skus: Vec<String> = wanted.keys().cloned().collect();
    let shelves = databases.shelves(&skus).await?;
    let scarce: Vec<String> = catalog()
        .into_iter()
        .filter(|offer| matches!(offer.supply, Supply::Serialised(units) if i64::from(units) < SCARCE))
        .map(|offer| offer.product.sku)
        .collect();
    let mut lines = Vec::new();
    for (sku, (kind, available)) in shelves {
        let missing = wanted.get(&sku).map_or(0, |wanted| wanted - available);
        let kind = match kind.as_str() {
            "counted" => "counted",
            "serialised" => "serialised",
            _ => continue,
        };
        if missing > 0 && !scarce.contains(&sku) {
            lines.push(ReceiptLine { sku, quantity: u32::try_from(missing).unwrap_or(u32::MAX), kind });
        }
    }
    if !lines.is_empty() {
        let staff = staff(&stack.api).await?;
        receive(&stack.api, &staff, &format!("run-{run}"), &lines).await?;
    }
    let units: u64 = lines.iter().map(|line| u64::from(line.quantity)).sum();
    println!(
        "stock      {units} units of {} products booked in for this run; what is scarce stays scarce",
        lines.len()
    );
    Ok(())
}

/// What became of all planned orders.
#[derive(Default)]
struct Outcome {
    accepted: Vec<Uuid>,
    replayed: usize,
    refused: BTreeMap<String, usize>,
    failed: Vec<String>,
}

async fn place_all(counter: &Counter<'_>, planned: &[PlannedOrder], concurrency: usize) -> Outcome {
    let done = AtomicUsize::new(0);
    let report_every = (planned.len() / 10).max(1);
    let started = Instant::now();
    let place = |order: &PlannedOrder| {
        let (order, done) = (order.clone(), &done);
        async move {
            let placed = counter.place(&order).await;
            if let (Ok(Placed::Accepted { order: id, .. }), true) = (&placed, order.number < FOLLOWED) {
                tell_followed(*id, order.card, &follow(counter.api, &counter.shoppers[order.shopper], *id).await);
            }
            let count = done.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_multiple_of(report_every) {
                println!(
                    "           {count:>5} of {} placed · {:.0} per s",
                    planned.len(),
                    count as f64 / started.elapsed().as_secs_f64()
                );
            }
            (order, placed)
        }
    };
    let placing = futures::stream::iter(planned.iter().map(place)).buffer_unordered(concurrency.max(1));
    let mut outcome = Outcome::default();
    for (order, placed) in placing.collect::<Vec<_>>().await {
        match placed {
            Ok(Placed::Accepted { order, replayed }) => {
                outcome.accepted.push(order);
                outcome.replayed += usize::from(replayed);
            }
            Ok(Placed::Refused(code)) => *outcome.refused.entry(code).or_default() += 1,
            Err(error) => outcome.failed.push(format!("order {}: {error:#}", order.number)),
        }
    }
    outcome
}

fn tell_followed(order: Uuid, card: &str, seen: &Seen) {
    let steps = seen.steps.join(" → ");
    let again = if seen.reconnected > 0 { format!(", {} reconnects", seen.reconnected) } else { String::new() };
    println!("live       {}… ({card}): {steps} in {:.1} s{again}", &order.to_string()[..8], seen.lasted.as_secs_f64());
}

fn tell_placed(outcome: &Outcome, counter: &Counter<'_>, planned: usize, placing: Duration) {
    let refused: Vec<String> = outcome.refused.iter().map(|(code, count)| format!("{count} {code}")).collect();
    let refused =
        if refused.is_empty() { "none refused".to_owned() } else { format!("refused: {}", refused.join(", ")) };
    println!(
        "placed     {} of {planned} in {:.1} s ({:.0} per s); {refused}; {} without an answer",
        outcome.accepted.len(),
        placing.as_secs_f64(),
        planned as f64 / placing.as_secs_f64().max(0.001),
        outcome.failed.len()
    );
    let clicks = &counter.clicks;
    println!(
        "clicks     {} accepted, {} lost",
        clicks.accepted.load(Ordering::Relaxed),
        clicks.lost.load(Ordering::Relaxed)
    );
}

/// Looks at the shoppers' lists of orders until none is under way; returns how many still are when the time is over.
async fn wait_for_the_last(stack: &Stack, shoppers: &[Shopper], orders: &[Uuid]) -> anyhow::Result<usize> {
    let started = Instant::now();
    loop {
        let mut open = 0;
        for shopper in shoppers {
            open += open_orders(stack, shopper).await?;
        }
        if open == 0 {
            println!(
                "waited     {:.1} s until the last of {} orders had ended",
                started.elapsed().as_secs_f64(),
                orders.len()
            );
            return Ok(0);
        }
        if started.elapsed() > LAST_ORDER {
            println!("PROBLEM    {open} orders have not ended after {} s", LAST_ORDER.as_secs());
            return Ok(open);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn open_orders(stack: &Stack, shopper: &Shopper) -> anyhow::Result<usize> {
    let mut open = 0;
    let mut cursor = String::new();
    loop {
        let path = format!(
            "/v1/orders?limit=100{}",
            if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") }
        );
        let page = shopper.call(&stack.api, Method::GET, &path, None, None).await?.success("orders")?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        open +=
            items.iter().filter(|item| !matches!(item["status"].as_str(), Some("COMPLETED" | "COMPENSATED"))).count();
        match page["page"]["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(open),
        }
    }
}

fn tell_stock(before: StockSums, after: StockSums) {
    let line = |when: &str, sums: StockSums| {
        let verdict = if sums.holds() { "adds up" } else { "DOES NOT ADD UP" };
        let StockSums { received, available, held, sold, .. } = sums;
        println!("stock {when:<6} received {received}, available {available}, held {held}, sold {sold}: {verdict}");
    };
    line("before", before);
    line("after", after);
}

fn tell_times(mut durations: Vec<f64>, whole: Duration) {
    durations.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = ((durations.len() as f64 * share).ceil() as usize).clamp(1, durations.len().max(1)) - 1;
        durations.get(place).copied().unwrap_or_default()
    };
    println!(
        "time       to the end of an order: p50 {:.0} ms, p99 {:.0} ms; the whole run {:.1} s",
        at(0.5),
        at(0.99),
        whole.as_secs_f64()
    );
}
