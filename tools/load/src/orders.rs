//! Orders of three lines each, over kept-alive connections on one thread.
//!
//! Closed loop for throughput: a connection sends when it has its answer. Open loop for latency: order n is due at n / rate
//! after the start, whoever is free takes the next one that is due, and the clock runs from when it was due.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use common::{Clock as _, Money, Region, SystemClock, ids};
use futures::future::join_all;
use serde_json::json;

use crate::connection::Connection;
use crate::stand_ins::PRICE_MINOR;
use crate::times::Times;

const LINES: usize = 3;
/// For so long a number of orders is tried.
const MOST_TIME: Duration = Duration::from_secs(120);
/// Different products ordered, so that no order line is like another by accident.
const SKUS: usize = 500;
#[derive(Args)]
pub struct Load {
    /// Host and port of order-payment
    #[arg(long)]
    address: String,
    /// File with tokens, one a line
    #[arg(long)]
    tokens: PathBuf,
    #[arg(long, default_value_t = 128)]
    connections: usize,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Orders per second in open loop; without it, closed loop
    #[arg(long)]
    rate: Option<f64>,
    /// No more than so many orders, however long they take
    #[arg(long)]
    most: Option<u64>,
}

#[derive(Default)]
struct Tally {
    accepted: Cell<u64>,
    /// Of the accepted.
    times: RefCell<Times>,
    others: RefCell<BTreeMap<String, u64>>,
}

pub fn run(load: &Load) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(drive(load))
}

async fn drive(load: &Load) -> Result<()> {
    let tokens = std::fs::read_to_string(&load.tokens).context("read the tokens")?;
    let tokens: Vec<&str> = tokens.lines().collect();
    if tokens.is_empty() || load.connections == 0 {
        bail!("nobody to order anything");
    }
    let requests = Requests::rendered(&load.address, &tokens)?;
    let connections = join_all((0..load.connections).map(|_| Connection::open(&load.address))).await;
    let connections: Vec<Connection> = connections.into_iter().collect::<Result<_>>()?;
    let (tally, next) = (Tally::default(), Cell::new(0_u64));
    let started_at_ms = SystemClock.now().timestamp_micros() as f64 / 1_000.0;
    let run = Run { load, requests: &requests, tally: &tally, next: &next, started: Instant::now() };
    join_all(connections.into_iter().map(|connection| run.one(connection))).await;
    let seconds = run.started.elapsed().as_secs_f64();
    let mut said = report(load, &tally, seconds);
    said["run"] = json!(requests.run);
    said["started_at_ms"] = json!(started_at_ms);
    println!("{said}");
    Ok(())
}

struct Run<'a> {
    load: &'a Load,
    requests: &'a Requests,
    tally: &'a Tally,
    next: &'a Cell<u64>,
    started: Instant,
}

impl Run<'_> {
    /// Works on one connection until the time is over. A failed exchange is counted and the connection opened again.
    async fn one(&self, mut connection: Connection) {
        let length = match self.load.most {
            Some(_) => MOST_TIME,
            None => Duration::from_secs_f64(self.load.seconds),
        };
        let most = self.load.most.unwrap_or(u64::MAX);
        while self.started.elapsed() < length && self.next.get() < most {
            let number = self.next.replace(self.next.get() + 1);
            let due = match self.load.rate {
                None => Instant::now(),
                Some(rate) => {
                    let due = self.started + Duration::from_secs_f64(number as f64 / rate);
                    if due > self.started + length {
                        break;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    self.tally.times.borrow_mut().sent(due.elapsed());
                    due
                }
            };
            match connection.exchange(&self.requests.numbered(number)).await {
                Ok(201) => {
                    self.tally.accepted.set(self.tally.accepted.get() + 1);
                    self.tally.times.borrow_mut().done(due.elapsed());
                }
                Ok(status) => self.other(status.to_string()),
                Err(_) => {
                    self.other("connection".to_owned());
                    match Connection::open(&self.load.address).await {
                        Ok(fresh) => connection = fresh,
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            }
        }
    }

    fn other(&self, kind: String) {
        *self.tally.others.borrow_mut().entry(kind).or_default() += 1;
    }
}

/// Requests rendered before the run; only the key differs from order to order.
struct Requests {
    /// Up to the key, and from after it, for one person each.
    parts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Makes the keys of this run its own.
    run: String,
}

impl Requests {
    fn rendered(address: &str, tokens: &[&str]) -> Result<Self> {
        let total = Money::from_minor(PRICE_MINOR * LINES as i64, Region::ALL[0].currency())?;
        let parts = tokens.iter().enumerate().map(|(person, token)| {
            let lines: Vec<_> =
                (0..LINES).map(|line| json!({"sku": format!("BENCH-{}", (person * LINES + line) % SKUS), "quantity": 1})).collect();
            let body = json!({
                "lines": lines,
                "shipping_address": {"name": "Ada Lovelace", "line1": "Zeil 106", "city": "Frankfurt", "postal_code": "60313", "country": "DE"},
                "payment": {"method": "card", "token": "tok_ok"},
                "expected_total": {"amount": total.amount_string(), "currency": total.currency().code()},
            })
            .to_string();
            let head = format!(
                "POST /v1/orders HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nIdempotency-Key: ",
                body.len()
            );
            (head.into_bytes(), format!("\r\n\r\n{body}").into_bytes())
        });
        Ok(Self { parts: parts.collect(), run: ids::random().simple().to_string() })
    }

    fn numbered(&self, number: u64) -> Vec<u8> {
        let place = usize::try_from(number).unwrap_or(0) % self.parts.len();
        let (head, rest) = &self.parts[place];
        [head.as_slice(), self.run.as_bytes(), format!("-{number:010}").as_bytes(), rest.as_slice()].concat()
    }
}

fn report(load: &Load, tally: &Tally, seconds: f64) -> serde_json::Value {
    let mut times = tally.times.borrow_mut();
    json!({
        "loop": if load.rate.is_some() { "open" } else { "closed" },
        "connections": load.connections,
        "seconds": seconds,
        "accepted": tally.accepted.get(),
        "accepted_per_s": tally.accepted.get() as f64 / seconds,
        "others": *tally.others.borrow(),
        "late": times.late,
        "p50_ms": times.percentile_ms(0.50),
        "p99_ms": times.percentile_ms(0.99),
    })
}
