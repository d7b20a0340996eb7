//! Accepted orders against one-row INSERTs, on one PostgreSQL, at the same moment of the same machine.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::results::Side;
use super::rig::{Fsync, Rig, Role};
use super::{Invalid, Measured, Options};
use crate::ports::Port;

/// Connections of the shoppers: more than what one commit takes together, so that two lanes can be full.
const CONNECTIONS: usize = 192;
/// Clients of pgbench: one-row INSERTs are fastest between 8 and 32 of them, and slow disks want the more.
const CLIENTS: usize = 32;
/// How long a process that has just started may refuse everything.
const WARM_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(2);
pub const INSERT_TABLE: &str =
    "CREATE TABLE bench_insert (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload TEXT NOT NULL)";
pub const INSERT: &str = "INSERT INTO bench_insert (payload) VALUES (repeat('x', 100));\n";

pub const SETTINGS: &[&str] = &[
    "orders of 3 lines each, POST /v1/orders over 192 kept-alive connections in closed loop; every 201 counts, nothing else does",
    "one order-payment process in role serve with its default settings; its work role does not run, so nothing is published or reserved meanwhile",
    "real: token signature (ES256), session in Redis, idempotency, fence, outbox, constraints and deferred checks",
    "stood in for, on the generator's processor: the issuer's key set (fetched once) and the catalog's gRPC quote at one fixed price",
    "against: pgbench -M prepared, 32 clients, one thread, INSERT of one 100-byte row per transaction into a table with a primary key",
    super::POSTGRES,
    "processor 0: PostgreSQL and order-payment; the others: generator, stand-ins, Redis, pgbench",
];

/// Orders that share commits, as many as the service's default.
pub fn batched(options: &Options, fsync: Fsync, count: usize) -> Result<Measured> {
    pairs(options, fsync, count, "64")
}

/// Each order with a commit of its own.
pub fn single(options: &Options, fsync: Fsync, count: usize) -> Result<Measured> {
    pairs(options, fsync, count, "1")
}

fn pairs(options: &Options, fsync: Fsync, count: usize, max_together: &str) -> Result<Measured> {
    let mut rig = Rig::servers(options, fsync)?;
    rig.order_payment(&[("SHOPSPHERE__ORDERS__MAX_TOGETHER", max_together)], &[Role::Serve])?;
    rig.sql(INSERT_TABLE)?;
    let accepted = Cell::new(0);
    accepted.set(warm(&rig)?);
    // Unoptimised programs cannot serve as many and would only refuse.
    let connections = if options.debug { CONNECTIONS / 12 } else { CONNECTIONS };
    let ours = |seconds| {
        let (turn, count) = closed_loop(&rig, connections, seconds)?;
        accepted.set(accepted.get() + count);
        Ok(turn)
    };
    let theirs = |seconds| inserts(&rig, seconds);
    ours(options.warm_up_s)?;
    theirs(options.warm_up_s)?;
    let pairs =
        abba::pairs(count, ("per s", Better::More), &mut || ours(options.side_s), &mut || theirs(options.side_s))?;
    all_there(&rig, accepted.get())?;
    Ok(Measured::new(rig.fdatasync_us, pairs))
}

/// A few orders before the crowd comes: a process that has not opened its connections yet would refuse most of it. Gives how many
/// were accepted.
pub fn warm(rig: &Rig) -> Result<u64> {
    let words = ["--connections", "4", "--most", "200"].map(str::to_owned);
    let began = Instant::now();
    loop {
        match load(rig, &words) {
            Ok((said, _)) => return said["accepted"].as_u64().context("the load says how many orders were accepted"),
            // A breaker that opened while everything was starting closes after a while.
            Err(error) if error.is::<Invalid>() && began.elapsed() < WARM_WITHIN => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

/// What the generator says after a run of `load orders` with `words`, and what it cost.
pub fn load(rig: &Rig, words: &[String]) -> Result<(Value, super::cpu::Used)> {
    let run = || -> Result<Value> {
        let mut command = rig.load();
        command
            .args(["orders", "--address", &rig.stack.ports.address(Port::OrderPaymentHttp), "--tokens"])
            .arg(rig.tokens())
            .args(words);
        Ok(serde_json::from_str(&crate::os::output(&mut command)?)?)
    };
    let (said, used) = rig.watched(&["postgres", "order-payment-serve"], "load", run)?;
    // A refusal under closed loop means that a limit of ours was met, and an answer that never came that nothing can be said.
    if said["others"].as_object().is_some_and(|others| !others.is_empty()) {
        println!("besides the accepted: {}", said["others"]);
    }
    if said["accepted"].as_u64().unwrap_or(0) == 0 {
        bail!(Invalid(format!("no order was accepted: {}", said["others"])));
    }
    Ok((said, used))
}

/// Orders in closed loop, and how many were accepted.
pub fn closed_loop(rig: &Rig, connections: usize, seconds: u64) -> Result<(Turn, u64)> {
    let words = ["--connections", &connections.to_string(), "--seconds", &seconds.to_string()].map(str::to_owned);
    let (said, used) = load(rig, &words)?;
    let accepted = said["accepted"].as_u64().context("the load says how many orders were accepted")?;
    let value = said["accepted_per_s"].as_f64().context("the load says its rate")?;
    let side = Side { per_second: value, per_cpu_second: accepted as f64 / f64::max(used.tested, 0.01), cpu: used.by };
    Ok((Turn { side, foreign: used.foreign }, accepted))
}

fn inserts(rig: &Rig, seconds: u64) -> Result<Turn> {
    let run = || rig.pgbench(INSERT, CLIENTS, seconds);
    let (value, used) = rig.watched(&["postgres", "pgbench"], "pgbench", run)?;
    let done = value * seconds as f64;
    let side = Side { per_second: value, per_cpu_second: done / f64::max(used.tested, 0.01), cpu: used.by };
    Ok(Turn { side, foreign: used.foreign })
}

/// The promise of the bench: every accepted order is there, whole, with its answer and its event. Orders whose answer the load
/// did not wait for may be there too, one for each of its connections and run.
pub fn all_there(rig: &Rig, accepted: u64) -> Result<()> {
    let counts = rig.sql(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM requests), (SELECT count(*) FROM outbox),
                (SELECT count(*) FROM order_history), (SELECT count(*) FROM order_lines)",
    )?;
    let counts: Vec<u64> = counts.trim().split('|').filter_map(|count| count.parse().ok()).collect();
    match counts[..] {
        [orders, requests, events, history, lines]
            if orders >= accepted
                && requests == orders
                && events == orders
                && history == orders
                && lines == 3 * orders =>
        {
            println!("{accepted} accepted, {orders} stored, each with three lines, answer, history and event");
            Ok(())
        }
        _ => bail!(Invalid(format!(
            "{accepted} orders were accepted; orders, requests, events, history, lines: {counts:?}"
        ))),
    }
}
