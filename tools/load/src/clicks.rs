//! How long a click takes to change an answer: a visitor whom nobody knows is recommended something, clicks, and asks until the answer
//! knows of it. Open loop: visitors come at a rate, whether the ones before them have been answered or not.
//!
//! The clock runs from the 202 of the click to the end of the first answer that was made from a profile and has other products than
//! the one before the click.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use common::{Clock as _, SystemClock, ids};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::times::Times;

/// Between two questions of a waiting visitor: adds at most this to what is measured.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// Who has waited for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

#[derive(Args)]
pub struct Clicks {
    /// Host and port where clicks are posted
    #[arg(long)]
    intake: String,
    /// Host and port where recommendations are
    #[arg(long)]
    answers: String,
    /// Visitors per second
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Products that are clicked are FA-00000 and following, so many
    #[arg(long, default_value_t = 997)]
    products: u64,
}

pub fn run(clicks: &Clicks) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, drive(clicks))
}

async fn drive(clicks: &Clicks) -> Result<()> {
    let (started, times) = (Instant::now(), Rc::new(RefCell::new(Times::default())));
    let mut under_way = Vec::new();
    for number in 0..(clicks.rate * clicks.seconds) as u64 {
        let due = started + Duration::from_secs_f64(number as f64 / clicks.rate);
        tokio::time::sleep_until(due.into()).await;
        times.borrow_mut().sent(due.elapsed());
        let visit =
            visit(clicks.intake.clone(), clicks.answers.clone(), format!("FA-{:05}", number * 31 % clicks.products));
        let times = Rc::clone(&times);
        under_way.push(tokio::task::spawn_local(async move {
            let took = visit.await?;
            times.borrow_mut().done(took);
            anyhow::Ok(())
        }));
    }
    for ended in join_all(under_way).await {
        ended??;
    }
    let mut times = times.take();
    println!(
        "{}",
        json!({"late": times.late, "p50_ms": times.percentile_ms(0.50), "p99_ms": times.percentile_ms(0.99)})
    );
    Ok(())
}

async fn visit(intake: String, answers: String, sku: String) -> Result<Duration> {
    let (mut clicking, mut asking) = (Connection::open(&intake).await?, Connection::open(&answers).await?);
    let visitor = ids::random();
    let question = format!("GET /v1/recommendations?visitor_id={visitor} HTTP/1.1\r\nHost: {answers}\r\n\r\n");
    let before = ask(&mut asking, &question).await?;
    if known(&before) {
        bail!("a visitor who has not clicked is known");
    }
    let body = json!({"visitor_id": visitor, "events": [{"event_id": ids::random(), "type": "view", "sku": sku, "at": now()}]});
    let body = body.to_string();
    let click = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {intake}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let status = clicking.exchange(click.as_bytes()).await?;
    if status != 202 {
        bail!("a click was answered with {status}");
    }
    let accepted = Instant::now();
    loop {
        let answer = ask(&mut asking, &question).await?;
        if known(&answer) && changed(&before, &answer) {
            return Ok(accepted.elapsed());
        }
        if accepted.elapsed() > LOST_AFTER {
            bail!("a click changed nothing for {} s", LOST_AFTER.as_secs());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn ask(connection: &mut Connection, question: &str) -> Result<Value> {
    let answer = connection.answer(question.as_bytes()).await?;
    if answer.status != 200 {
        bail!("a question was answered with {}", answer.status);
    }
    serde_json::from_slice(&answer.body).context("an answer is JSON")
}

/// Made from a profile: popularity alone changes an answer, too, and knows nobody.
fn known(answer: &Value) -> bool {
    answer["profile_age_ms"].is_u64() && answer["degraded"] == false
}

fn changed(before: &Value, after: &Value) -> bool {
    let products = |answer: &Value| -> Vec<Value> {
        answer["items"].as_array().into_iter().flatten().map(|item| item["sku"].clone()).collect()
    };
    products(before) != products(after)
}

/// The time as the browser library sends it.
fn now() -> String {
    SystemClock.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_list_that_knows_the_visitor_is_a_changed_answer() {
        let answer = |skus: &[&str], age: Option<u64>| {
            let items: Vec<Value> = skus.iter().map(|sku| json!({"sku": sku})).collect();
            json!({"items": items, "profile_age_ms": age, "degraded": false})
        };
        let before = answer(&["A", "B"], None);
        assert!(!known(&before));
        let popular = answer(&["B", "A"], None);
        assert!(changed(&before, &popular) && !known(&popular), "what is popular changed, and nobody is known");
        let same = answer(&["A", "B"], Some(4));
        assert!(known(&same) && !changed(&before, &same));
        let new = answer(&["C", "A"], Some(4));
        assert!(known(&new) && changed(&before, &new));
    }
}
