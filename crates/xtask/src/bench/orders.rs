//! Accepted orders against one-row INSERTs, on one PostgreSQL, at the same moment of the same machine.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::results::{Pair, Side};
use super::rig::{Fsync, Rig, generator};
use super::{Invalid, cpu};
use crate::ports::Port;

const WARM_UP_S: u64 = 3;
const SIDE_S: u64 = 4;
/// Connections of the shoppers: more than what one commit takes together, so that two lanes can be full.
const CONNECTIONS: usize = 192;
/// Clients of pgbench: one-row INSERTs are fastest between 8 and 32 of them, and slow disks want the more.
const CLIENTS: usize = 32;
pub const INSERT: &str = "INSERT INTO bench_insert (payload) VALUES (repeat('x', 100));\n";

pub const SETTINGS: &[&str] = &[
    "orders of 3 lines each, POST /v1/orders over 192 kept-alive connections in closed loop; every 201 counts, nothing else does",
    "one order-payment process in role serve with its default settings; its work role does not run, so nothing is published or reserved meanwhile",
    "real: token signature (ES256), session in Redis, idempotency, fence, outbox, constraints and deferred checks",
    "stood in for, on the generator's processor: the issuer's key set (fetched once) and the catalog's gRPC quote at one fixed price",
    "against: pgbench -M prepared, 32 clients, one thread, INSERT of one 100-byte row per transaction into a table with a primary key",
    "PostgreSQL with fsync, full_page_writes and synchronous_commit on, no standby, shared_buffers 128 MB, data checksums",
    "processor 0: PostgreSQL and order-payment; the others: generator, stand-ins, Redis, pgbench",
];

/// Pairs in the order A B B A …, on servers of their own.
pub fn pairs(fsync: Fsync, count: usize, max_together: &str) -> Result<(f64, Vec<Pair>)> {
    let mut rig = Rig::servers(fsync)?;
    rig.order_payment(&[("SHOPSPHERE__ORDERS__MAX_TOGETHER", max_together)])?;
    rig.sql("CREATE TABLE bench_insert (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload TEXT NOT NULL)")?;
    let mut accepted = orders(&rig, WARM_UP_S)?.accepted;
    inserts(&rig, WARM_UP_S)?;
    let mut pairs = Vec::with_capacity(count);
    for number in 0..count {
        let (ours, theirs) = if number % 2 == 0 {
            let ours = orders(&rig, SIDE_S)?;
            (ours, inserts(&rig, SIDE_S)?)
        } else {
            let theirs = inserts(&rig, SIDE_S)?;
            (orders(&rig, SIDE_S)?, theirs)
        };
        accepted += ours.accepted;
        let ratio = ours.side.per_second / theirs.side.per_second;
        println!(
            "pair {}: {:.0} orders/s, {:.0} inserts/s, ratio {ratio:.2}, others had {:.0} % of the machine",
            number + 1,
            ours.side.per_second,
            theirs.side.per_second,
            ours.foreign.max(theirs.foreign) * 100.0
        );
        pairs.push(Pair { ratio, foreign: ours.foreign.max(theirs.foreign), ours: ours.side, theirs: theirs.side });
    }
    all_there(&rig, accepted)?;
    Ok((rig.fdatasync_us, pairs))
}

struct Measured {
    side: Side,
    accepted: u64,
    foreign: f64,
}

/// What was done, the processor time of each party, that of what is measured, and the share of the machine that was foreign.
type Watched<T> = (T, Vec<(String, f64)>, f64, f64);

/// Processor time of every party while `work` runs, and the share of the machine that belonged to nobody here.
fn watched<T>(rig: &Rig, tested: &[&str], generator: &str, work: impl FnOnce() -> Result<T>) -> Result<Watched<T>> {
    let parties = || -> Vec<(String, f64)> {
        let servers = ["postgres", "order-payment-serve", "redis"];
        let mut parties: Vec<(String, f64)> =
            servers.iter().map(|name| ((*name).to_owned(), rig.cpu_of(name))).collect();
        parties.push(("stand-ins".to_owned(), rig.cpu_of_stand_ins()));
        parties.push((generator.to_owned(), cpu::of_ended_children()));
        parties
    };
    let (before, machine) = (parties(), cpu::of_machine());
    let done = work()?;
    let machine = cpu::of_machine() - machine;
    let used: Vec<(String, f64)> =
        parties().into_iter().zip(before).map(|((name, after), (_, before))| (name, after - before)).collect();
    let ours: f64 = used.iter().map(|(_, seconds)| seconds).sum();
    let foreign = if machine > 0.0 { ((machine - ours) / machine).max(0.0) } else { 0.0 };
    let of_tested = used.iter().filter(|(name, _)| tested.contains(&name.as_str())).map(|(_, seconds)| seconds).sum();
    Ok((done, used, of_tested, foreign))
}

fn orders(rig: &Rig, seconds: u64) -> Result<Measured> {
    let load = || -> Result<Value> {
        let mut command: Command = generator(&rig.stack);
        command
            .arg(rig.stack.layout.binaries(true).join("load"))
            .args(["orders", "--address", &rig.stack.ports.address(Port::OrderPaymentHttp), "--tokens"])
            .arg(rig.tokens())
            .args(["--connections", &CONNECTIONS.to_string(), "--seconds", &seconds.to_string()]);
        Ok(serde_json::from_str(&crate::os::output(&mut command)?)?)
    };
    let (said, cpu, tested, foreign) = watched(rig, &["postgres", "order-payment-serve"], "load", load)?;
    let accepted = said["accepted"].as_u64().context("the load says how many orders were accepted")?;
    if accepted == 0 {
        bail!(Invalid(format!("no order was accepted: {}", said["others"])));
    }
    // A refusal under closed loop means that a limit of ours was met, and an answer that never came that nothing can be said.
    if said["others"].as_object().is_some_and(|others| !others.is_empty()) {
        println!("besides the accepted: {}", said["others"]);
    }
    let per_second = said["accepted_per_s"].as_f64().context("the load says its rate")?;
    let side = Side { per_second, per_cpu_second: accepted as f64 / f64::max(tested, 0.01), cpu };
    Ok(Measured { side, accepted, foreign })
}

fn inserts(rig: &Rig, seconds: u64) -> Result<Measured> {
    let (per_second, cpu, tested, foreign) =
        watched(rig, &["postgres", "pgbench"], "pgbench", || rig.pgbench(INSERT, CLIENTS, seconds))?;
    let done = per_second * seconds as f64;
    let side = Side { per_second, per_cpu_second: done / f64::max(tested, 0.01), cpu };
    Ok(Measured { side, accepted: 0, foreign })
}

/// The promise of the bench: every accepted order is there, whole, with its answer and its event. Orders whose answer the load
/// did not wait for may be there too, one for each of its connections and run.
fn all_there(rig: &Rig, accepted: u64) -> Result<()> {
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
