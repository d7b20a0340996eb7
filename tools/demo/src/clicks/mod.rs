//! The load of `cargo xtask clicks`: very many visitors click, pages ask for recommendations, people withdraw their consent, for as long as
//! somebody holds our standard input open; then what was accepted is compared with what the topic and Redis hold. And the feed of `cargo
//! xtask clicks --memory`.
//!
//! Decided here: how many do what, and how long everything may take to be counted afterwards. Not decided here: what is killed meanwhile
//! and which counts are promised (`cargo xtask clicks`).

mod counted;
mod crowd;
pub mod feed;
mod pages;
mod people;
mod phases;
mod stream;
mod withdrawals;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use xtask::drill::clicks::told::{Clicks, Requests, Told};
use xtask::drill::told::{BEGINS, ENDS};
use xtask::ports::Port;

use self::counted::{compare, fact, is_whole, metric, missing_bad, of_bad};
use self::crowd::{Crowd, Sent};
use self::people::{EVENTS, People};
use self::phases::Phases;
use self::stream::Stream;
use crate::api::Call;
use crate::catalog_drill::say;
use crate::run::sign_up;
use crate::stack::Stack;

pub struct ClickOptions {
    pub seed: u64,
    /// Requests with clicks under way at once.
    pub connections: usize,
}

/// Pages that ask one question after the other.
const ASKERS: usize = 3;
/// People with an account who withdraw, one after the other: enough for the first half hour.
const SHOPPERS: usize = 40;
/// Longest wait from the end of the load until nothing waits on the intake's disk and before the scorer, and until then everything is
/// counted. A scorer that was killed finds its place again within a quarter of a minute.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);
const COUNTED_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks. The scorer tells its lag anew every five seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looks in a row that have to find nothing waiting, so that one between two tellings does not count.
const LOOKS: u32 = 4;
/// Longest wait for a page of metrics.
const METRICS: Duration = Duration::from_secs(5);
/// Longest wait for an answer of Redis: hundreds of profiles, on a machine that does something else.
const REDIS: Duration = Duration::from_secs(20);

/// # Errors
/// The shop has too little to click on, lets nobody in, or what was counted cannot be read.
pub async fn clicks(stack: &Stack, options: &ClickOptions) -> anyhow::Result<bool> {
    let run = name_of_run();
    let (people, skus) = (People::new(&run, stack.region.code()), products(stack).await?);
    let shoppers = sign_up(stack, &run, SHOPPERS).await?;
    let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(2)).no_proxy().build()?;
    let phases = Phases::listen();
    let url = format!("{}/v1/events", stack.url(Port::UserHttp));
    let crowd = Crowd::new(&people, &skus, &phases, &http, url, options.seed);
    say(BEGINS)?;
    let began = Instant::now();
    let pages = stack.url(Port::PersonalizationHttp);
    let sending = join_all((0..options.connections.max(1)).map(|_| crowd.send_on()));
    let asking = join_all((0..ASKERS).map(|who| pages::ask_on(&crowd, &pages, who)));
    let withdrawing = withdrawals::withdraw_on(&stack.api, &shoppers, &skus, &run, &phases);
    let (_, asked, (mut withdrawals, withdrawn)) = futures::join!(sending, asking, withdrawing);
    say(ENDS)?;
    let (seconds, ended) = (began.elapsed().as_secs_f64(), Instant::now());
    let (sent, requests) = crowd.into_sent();
    let waiting = settled(stack).await;
    let mut redis = open(stack).await?;
    let stream =
        Stream::open(&people, sent.keys().copied(), stack.region, &stream::settings(stack.address(Port::Kafka)))?;
    stream.to_the_end().await?;
    let (mut clicks, mut examples) = counted(&people, &skus, &sent, &stream, &mut redis).await?;
    let settled_after_s = ended.elapsed().as_secs_f64();
    clicks.foreign += stream.look(|found| found.foreign);
    examples.extend(stream.look(|found| missing_bad(&sent, found)));
    withdrawals.kept = withdrawals::kept(&people, &withdrawn, &mut redis).await?;
    let stats: String = redis::cmd("INFO").arg("stats").query_async(&mut redis).await?;
    let told = Told {
        run,
        people: sent.len() as u64,
        seconds,
        requests,
        clicks,
        bad: stream.look(|found| of_bad(&sent, found)),
        pages: pages::together(asked),
        withdrawals,
        evicted: fact(&stats, "evicted_keys"),
        waiting,
        settled_after_s,
        examples,
    };
    check_sums(&told.requests, &told.clicks)?;
    say(&serde_json::to_string(&told)?)?;
    Ok(is_whole(&told.clicks) && told.clicks.lost == 0)
}

/// Two ways of counting the same: a load that has lost count of its own requests judges nothing.
fn check_sums(requests: &Requests, clicks: &Clicks) -> anyhow::Result<()> {
    for (what, requests, clicks) in [
        ("accepted", requests.accepted, clicks.accepted),
        ("unknown", requests.unknown, clicks.unknown),
        ("refused", requests.refused, clicks.refused),
    ] {
        if requests * EVENTS as u64 != clicks {
            bail!("{requests} requests are {what}, and {clicks} clicks");
        }
    }
    Ok(())
}

/// Names one load, as long in each.
fn name_of_run() -> String {
    common::ids::time_ordered().simple().to_string()[..12].to_owned()
}

/// Products to click on.
async fn products(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let call = Call { path: "/v1/products?limit=100", ..Call::default() };
    let list = stack.api.call(&call).await?.success("products")?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let skus: Vec<String> = items.iter().filter_map(|item| item["sku"].as_str().map(str::to_owned)).collect();
    if skus.len() < EVENTS {
        bail!("{} products are too few; run `./dev seed` first", skus.len());
    }
    Ok(skus)
}

/// The Redis of the region, as an operator sees it.
async fn open(stack: &Stack) -> anyhow::Result<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{}", stack.address(Port::Redis)))?;
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(REDIS));
    client.get_multiplexed_async_connection_with_config(&patient).await.context("Redis does not answer")
}

/// A page of metrics.
async fn get(url: &str) -> anyhow::Result<String> {
    let http = reqwest::Client::builder().no_proxy().timeout(METRICS).build()?;
    let answer = http.get(url).send().await.context("metrics are not answered")?;
    Ok(answer.text().await?)
}

/// Waits until nothing waits on the intake's disk and before the scorer; gives what still does when the time is over.
async fn settled(stack: &Stack) -> u64 {
    let until = Instant::now() + SETTLED_WITHIN;
    let (mut waiting, mut looks) = (u64::MAX, 0);
    while looks < LOOKS && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        // Whoever does not answer is not done.
        waiting = waits(stack).await.unwrap_or(u64::MAX);
        looks = if waiting == 0 { looks + 1 } else { 0 };
    }
    waiting
}

async fn waits(stack: &Stack) -> anyhow::Result<u64> {
    let intake = get(&format!("{}/metrics", stack.url(Port::UserAdmin))).await?;
    let scorer = get(&format!("{}/metrics", stack.url(Port::PersonalizationWorkAdmin))).await?;
    let spilled = metric(&intake, "shopsphere_clicks_spill_bytes", "");
    let behind = metric(&scorer, "shopsphere_consumer_lag_records", "group=\"personalization\"");
    Ok((spilled + behind) as u64)
}

/// Compares until everything is counted, or the time for it is over.
async fn counted(
    people: &People,
    skus: &[String],
    sent: &Sent,
    stream: &Stream,
    redis: &mut MultiplexedConnection,
) -> anyhow::Result<(Clicks, Vec<String>)> {
    let until = Instant::now() + COUNTED_WITHIN;
    loop {
        let found = stream.look(|found| found.clicks.clone());
        let (clicks, examples) = compare(people, skus, sent, &found, redis).await?;
        if is_whole(&clicks) || Instant::now() >= until {
            return Ok((clicks, examples));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_lost_count_of_its_requests_judges_nothing() {
        let requests = Requests { accepted: 2, unknown: 1, ..Requests::default() };
        let clicks = Clicks { accepted: 60, unknown: 30, ..Clicks::default() };
        assert!(check_sums(&requests, &clicks).is_ok());
        assert!(check_sums(&requests, &Clicks { accepted: 59, ..clicks }).is_err());
    }
}
