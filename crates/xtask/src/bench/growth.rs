//! What millions of orders in the tables do to the next one: two PostgreSQL side by side, one with them and one with ten
//! thousand, asked at one rate.
//!
//! Decided here: how the tables are filled and that what was filled is whole. Filling takes minutes, so it is done once
//! (`bench prepare`) and kept for as long as the migrations are the same.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::abba::{self, Better, Turn};
use super::results::Side;
use super::rig::{Fsync, Rig, Role};
use super::{Invalid, Measured, Missing, Options, orders};
use crate::ports::Port;
use crate::stack::{self, postgres};
use crate::{layout, os};

/// Where nobody says otherwise.
pub const MANY: u64 = 5_000_000;
const FEW: u64 = 10_000;
/// Orders that are made by one statement: bounds its temporary files.
const CHUNK: u64 = 100_000;
const CONNECTIONS: usize = 64;
/// Percentiles want more than a turn for throughput.
const LATENCY_TURN: u64 = 2;
/// The rig that is kept.
const KEPT: u16 = 1;
/// Loading may be lost with the machine; what is loaded may not, and is flushed before it counts.
const LOADING: [&str; 8] = [
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=8GB",
    "work_mem=64MB",
    "maintenance_work_mem=256MB",
];

pub const SETTINGS: &[&str] = &[
    "orders of 3 lines each over HTTP in open loop over 64 connections, at half of what the fuller tables accept in closed loop; latency counts from the scheduled send",
    "two clusters with an order-payment process each, asked in turns; the tables were filled with completed, paid orders of a year: lines, history, attempts, books, requests, published events",
    "filled by generate_series with check constraints on; foreign keys, totals and books are checked by query afterwards, then VACUUM (FREEZE, ANALYZE)",
    "shared_buffers is 128 MB, so the indexes of the fuller tables are many times larger; they do fit into the memory of the machine",
    super::POSTGRES,
    "processor 0: PostgreSQL and order-payment; the others: generator, stand-ins, Redis",
];

pub fn pairs(options: &Options, fsync: Fsync, count: usize) -> Result<Measured> {
    let mut many = Rig::bare(options, KEPT)?;
    let many_orders = options.orders;
    if !mark(&many, many_orders)?.is_file() {
        bail!(Missing("the tables are not filled; `bench prepare` does it once".to_owned()));
    }
    let mut few = Rig::servers(options, fsync)?;
    few.order_payment(&[], &[Role::Serve])?;
    fill(&few, FEW)?;
    many.launch(fsync)?;
    many.order_payment(&[], &[Role::Serve])?;
    for rig in [&few, &many] {
        sql(rig, "CHECKPOINT")?;
    }
    let before = [orders_of(&few)?, orders_of(&many)?];
    let accepted = [Cell::new(0), Cell::new(0)];
    let mut full = 0.0;
    for (rig, accepted) in [&few, &many].into_iter().zip(&accepted) {
        let warm = orders::warm(rig)?;
        let (turn, count) = orders::closed_loop(rig, CONNECTIONS, options.warm_up_s)?;
        accepted.set(warm + count);
        full = turn.side.per_second;
    }
    let rate = full / 2.0;
    println!("{many_orders} orders: saturated at {full:.0} per second; both run at {rate:.0}");
    let seconds = options.side_s * LATENCY_TURN;
    let pairs = abba::pairs(
        count,
        ("ms", Better::Less),
        &mut || abba::in_time(|| paced(&many, rate, seconds, &accepted[1])),
        &mut || abba::in_time(|| paced(&few, rate, seconds, &accepted[0])),
    )?;
    for ((rig, before), accepted) in [&few, &many].into_iter().zip(before).zip(&accepted) {
        let stored = orders_of(rig)? - before;
        if stored < accepted.get() {
            bail!(Invalid(format!("{} orders were accepted and {stored} stored", accepted.get())));
        }
        println!("{} accepted, {stored} stored beside {before}", accepted.get());
    }
    let facts = vec![format!(
        "saturated at {full:.0} orders per second with {many_orders} orders in the tables; both ran at {rate:.0}"
    )];
    Ok(Measured { fdatasync_us: few.fdatasync_us, pairs, facts })
}

fn paced(rig: &Rig, rate: f64, seconds: u64, accepted: &Cell<u64>) -> Result<Option<Turn>> {
    let words =
        ["--connections", &CONNECTIONS.to_string(), "--seconds", &seconds.to_string(), "--rate", &rate.to_string()];
    let (said, used) = orders::load(rig, &words.map(str::to_owned))?;
    let count = said["accepted"].as_u64().unwrap_or(0);
    accepted.set(accepted.get() + count);
    let Some(value) = said["p99_ms"].as_f64() else { return Ok(None) };
    let side = Side { per_second: value, per_cpu_second: count as f64 / f64::max(used.tested, 0.01), cpu: used.by };
    Ok(Some(Turn { side, foreign: used.foreign }))
}

/// Fills the tables that are kept, unless they are there.
///
/// # Errors
/// When they cannot be filled, or are not whole.
pub fn prepare(options: &Options) -> Result<()> {
    let mut rig = Rig::bare(options, KEPT)?;
    let orders = options.orders;
    let mark = mark(&rig, orders)?;
    if mark.is_file() {
        return Ok(());
    }
    println!("filling tables with {orders} orders; this is done once");
    let began = Instant::now();
    stack::wipe(&rig.stack.layout)?;
    postgres::initialise(&rig.stack)?;
    rig.launch_with(Fsync::Raw, &LOADING)?;
    postgres::provision(&rig.stack)?;
    rig.migrate()?;
    fill(&rig, orders)?;
    sql(&rig, "CHECKPOINT")?;
    rig.end();
    os::output(&mut std::process::Command::new("sync"))?;
    fs::write(&mark, "").context("note that the tables are filled")?;
    println!("filled in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Names the migrations under which the tables were filled.
fn mark(rig: &Rig, orders: u64) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    orders.hash(&mut hasher);
    include_str!("growth.sql").hash(&mut hasher);
    for folder in ["messaging", "order_payment"] {
        let folder = layout::checkout().join("migrations").join(folder);
        let files: BTreeSet<PathBuf> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
        for file in files {
            fs::read(&file)?.hash(&mut hasher);
        }
    }
    Ok(rig.stack.layout.state.join(format!("data/filled-{:016x}", hasher.finish())))
}

fn fill(rig: &Rig, orders: u64) -> Result<()> {
    if orders > MANY {
        bail!("the keys of the script are spread over at most {MANY} orders");
    }
    let began = Instant::now();
    for first in (1..=orders).step_by(usize::try_from(CHUNK)?) {
        os::check_interrupted()?;
        let last = (first + CHUNK - 1).min(orders);
        let script = include_str!("growth.sql").replace("FIRST", &first.to_string()).replace("LAST", &last.to_string());
        sql(rig, &script)?;
        if last.is_multiple_of(10 * CHUNK) {
            println!("{last} orders after {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    sql(rig, "VACUUM (FREEZE, ANALYZE)")?;
    whole(rig, orders)
}

/// What triggers and foreign keys would have said.
fn whole(rig: &Rig, orders: u64) -> Result<()> {
    let counts = sql(
        rig,
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM requests),
                (SELECT count(*) FROM payment_attempts), (SELECT count(*) FROM ledger_transactions),
                (SELECT count(*) FROM orders JOIN order_users USING (user_id)),
                (SELECT count(*) FROM (SELECT order_id FROM order_lines GROUP BY order_id
                     HAVING count(*) = 3 AND sum(gross_minor) = 3000 AND sum(net_minor) = 2520 AND sum(tax_minor) = 480) whole JOIN orders USING (order_id)),
                (SELECT count(*) FROM order_history told JOIN orders USING (order_id, version, status)),
                (SELECT count(*) FROM payment_attempts JOIN orders USING (order_id)),
                (SELECT count(*) FROM ledger_transactions JOIN payment_attempts USING (attempt_id, order_id)),
                (SELECT count(*) FROM (SELECT transaction_id FROM ledger_entries GROUP BY transaction_id HAVING count(*) = 2 AND sum(amount_minor) = 0) balanced
                     JOIN ledger_transactions USING (transaction_id))",
    )?;
    let counts: Vec<u64> = counts.trim().split('|').filter_map(|count| count.parse().ok()).collect();
    if counts.len() != 10 || counts.iter().any(|count| *count != orders) {
        bail!("the filled tables are not whole: {orders} orders, {counts:?}");
    }
    Ok(())
}

fn orders_of(rig: &Rig) -> Result<u64> {
    sql(rig, "SELECT count(*) FROM orders")?.trim().parse().context("a count of orders")
}

fn sql(rig: &Rig, script: &str) -> Result<String> {
    postgres::psql(rig.stack.ports.of(Port::Postgres), postgres::SUPERUSER, "order_payment", script)
}
