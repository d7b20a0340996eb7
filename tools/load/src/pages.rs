//! Product pages over kept-alive connections on one thread: GETs that were rendered before, answers that are counted when all of their
//! bytes are there and their body is the one that was seen first.
//!
//! Closed loop for work per processor second, open loop for latency, as `orders` does it. The length of an answer is learned once for
//! each page and then only waited for: on two processors a generator that parses takes its time from whom it measures.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures::future::join_all;
use serde_json::json;

use crate::connection::Connection;

/// A send this much after its moment is late; with more than one in a thousand of these the percentiles mean nothing.
const LATE: Duration = Duration::from_millis(5);
/// Pages are asked for in strides of this, a prime that shares no factor with usual counts: neighbours in the list are not neighbours
/// in time.
const STRIDE: u64 = 7_919;

#[derive(Args)]
pub struct Load {
    /// Host and port
    #[arg(long)]
    address: String,
    /// Another server that must give the same bodies; then each page is asked for once at both and nothing is measured
    #[arg(long)]
    same_as: Option<String>,
    /// File with paths, one a line
    #[arg(long)]
    paths: PathBuf,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Requests per second in open loop; without it, closed loop
    #[arg(long)]
    rate: Option<f64>,
    /// Ask for each page once, and end
    #[arg(long)]
    once: bool,
    /// The lines are bodies of JSON to be posted to this path
    #[arg(long)]
    post_to: Option<String>,
    /// Answers differ in length from time to time
    #[arg(long)]
    varying: bool,
    /// Further header lines, such as `Accept-Encoding: gzip`
    #[arg(long)]
    header: Vec<String>,
}

#[derive(Default)]
struct Tally {
    answered: Cell<u64>,
    bytes: Cell<u64>,
    late: Cell<u64>,
    latencies: RefCell<Vec<u32>>,
    others: RefCell<BTreeMap<String, u64>>,
}

pub fn run(load: &Load) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(drive(load))
}

async fn drive(load: &Load) -> Result<()> {
    let paths = std::fs::read_to_string(&load.paths).context("read the paths")?;
    let paths: Vec<&str> = paths.lines().filter(|path| !path.is_empty()).collect();
    if paths.is_empty() || load.connections == 0 {
        bail!("nothing to ask for");
    }
    let requests: Vec<Vec<u8>> = paths.iter().map(|line| rendered(line, load)).collect();
    if let Some(other) = &load.same_as {
        return compare(load, other, &requests, &paths).await;
    }
    let opened = join_all((0..load.connections).map(|_| Connection::open(&load.address))).await;
    let connections: Vec<Connection> = opened.into_iter().collect::<Result<_>>()?;
    let (tally, next) = (Tally::default(), Cell::new(0_u64));
    let lengths = vec![0_usize; requests.len()];
    let run = Run {
        load,
        requests: &requests,
        lengths: RefCell::new(lengths),
        tally: &tally,
        next: &next,
        started: Instant::now(),
    };
    join_all(connections.into_iter().map(|connection| run.one(connection))).await;
    let seconds = run.started.elapsed().as_secs_f64();
    println!("{}", report(load, &tally, next.get(), seconds));
    Ok(())
}

fn rendered(line: &str, load: &Load) -> Vec<u8> {
    let (first, body) = match &load.post_to {
        None => (format!("GET {line} HTTP/1.1"), ""),
        Some(path) => (format!("POST {path} HTTP/1.1"), line),
    };
    let mut request = format!(
        "{first}\r\nHost: {}\r\nAccept: application/json\r\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\r\n",
        load.address
    );
    if load.post_to.is_some() {
        // Writing into a String cannot fail.
        let _ = write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    for header in &load.header {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    request.into_bytes()
}

struct Run<'a> {
    load: &'a Load,
    requests: &'a [Vec<u8>],
    /// Bytes of the whole answer by request; 0 until it was seen.
    lengths: RefCell<Vec<usize>>,
    tally: &'a Tally,
    next: &'a Cell<u64>,
    started: Instant,
}

impl Run<'_> {
    async fn one(&self, mut connection: Connection) {
        let length = Duration::from_secs_f64(self.load.seconds);
        let all = self.requests.len() as u64;
        while self.load.once || self.started.elapsed() < length {
            let number = self.next.replace(self.next.get() + 1);
            if self.load.once && number >= all {
                return;
            }
            let due = match self.load.rate {
                None => Instant::now(),
                Some(rate) => {
                    let due = self.started + Duration::from_secs_f64(number as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                    if due.elapsed() > LATE {
                        self.tally.late.set(self.tally.late.get() + 1);
                    }
                    due
                }
            };
            let place = if self.load.once { number } else { number.wrapping_mul(STRIDE) } % all;
            let place = usize::try_from(place).unwrap_or(0);
            let known = if self.load.varying { 0 } else { self.lengths.borrow()[place] };
            match connection.whole_answer(&self.requests[place], known).await {
                Ok((200, length)) => {
                    self.lengths.borrow_mut()[place] = length;
                    self.tally.answered.set(self.tally.answered.get() + 1);
                    self.tally.bytes.set(self.tally.bytes.get() + length as u64);
                    let micros = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
                    if self.load.rate.is_some() {
                        self.tally.latencies.borrow_mut().push(micros);
                    }
                }
                Ok((status, _)) => self.note(&status.to_string()),
                Err(error) => {
                    self.note(&error.to_string());
                    match Connection::open(&self.load.address).await {
                        Ok(opened) => connection = opened,
                        Err(error) => {
                            self.note(&error.to_string());
                            return;
                        }
                    }
                }
            }
        }
    }

    fn note(&self, kind: &str) {
        *self.tally.others.borrow_mut().entry(kind.to_owned()).or_default() += 1;
    }
}

/// Bodies byte by byte, and the names of headers: two servers that are measured against each other must say the same.
async fn compare(load: &Load, other: &str, requests: &[Vec<u8>], paths: &[&str]) -> Result<()> {
    let (mut one, mut two) = (Connection::open(&load.address).await?, Connection::open(other).await?);
    let (mut same, mut bytes) = (0_u64, 0_usize);
    let mut names = (Vec::new(), Vec::new());
    for (request, path) in requests.iter().zip(paths) {
        let (ours, theirs) = (one.answer(request).await?, two.answer(request).await?);
        if ours.status != 200 || theirs.status != 200 || ours.body != theirs.body {
            bail!(
                "{path}: {} with {} bytes here, {} with {} there",
                ours.status,
                ours.body.len(),
                theirs.status,
                theirs.body.len()
            );
        }
        (same, bytes) = (same + 1, bytes + ours.body.len());
        names = (ours.headers, theirs.headers);
    }
    println!(
        "{}",
        json!({"same": same, "bytes_each": bytes as u64 / same.max(1), "headers": names.0, "their_headers": names.1})
    );
    Ok(())
}

fn report(load: &Load, tally: &Tally, sent: u64, seconds: f64) -> serde_json::Value {
    let mut latencies = tally.latencies.borrow_mut();
    latencies.sort_unstable();
    let meaningful = tally.late.get() * 1_000 <= sent;
    let percentile = |share: f64| {
        let place = ((latencies.len() as f64 * share).ceil() as usize).saturating_sub(1);
        latencies.get(place).filter(|_| meaningful).map(|micros| f64::from(*micros) / 1_000.0)
    };
    json!({
        "loop": if load.rate.is_some() { "open" } else { "closed" },
        "connections": load.connections,
        "seconds": seconds,
        "answered": tally.answered.get(),
        "answered_per_s": tally.answered.get() as f64 / seconds,
        "bytes": tally.bytes.get(),
        "others": *tally.others.borrow(),
        "late": tally.late.get(),
        "p50_ms": percentile(0.50),
        "p99_ms": percentile(0.99),
    })
}
