//! One SKU that everybody wants: our reservations, folded, against a row lock for each, on one PostgreSQL.

use std::cell::Cell;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::results::Side;
use super::rig::{Fsync, Rig, generator};
use super::{Invalid, Measured, Options};
use crate::os;
use crate::ports::Port;
use crate::stack::postgres;

/// The catalog's stock half without a broker: `services/catalog/examples`.
pub const PROGRAM: &str = "bench_stock";
const BUYERS: usize = 128;
const SKU: &str = "BENCH-0";
/// Sold out at the end, by the same buyers.
const SCARCE: &str = "BENCH-SCARCE";
/// More than a minute can sell.
const UNITS: u32 = 10_000_000;
const SCARCE_UNITS: u64 = 1_000;

pub const SETTINGS: &[&str] = &[
    "a buyer orders one unit of the same SKU, waits for its commit, and orders again; 128 of them on both sides",
    "ours: fence, inbox, reservation, line, allocation, movement, stock row and outbox for each, by the code of the service (PgStock and its reservation batcher); no Kafka in between",
    "against: pgbench -M prepared, 128 clients, one thread: BEGIN, SELECT FOR UPDATE, UPDATE, INSERT into an outbox with a random key, COMMIT",
    super::POSTGRES,
    "processor 0: PostgreSQL; the others: the buyers of either side, with the batcher in their process",
    "checked: units held = answers, nothing below zero; then 1,000 units are sold out and every buyer is refused",
];

const THEIR_TABLES: &str = "
    CREATE TABLE bench_stock (sku TEXT PRIMARY KEY, available BIGINT NOT NULL CHECK (available >= 0)) WITH (fillfactor = 50);
    INSERT INTO bench_stock VALUES ('HOT', 1000000000);
    CREATE TABLE bench_outbox (id UUID PRIMARY KEY, seq BIGINT GENERATED ALWAYS AS IDENTITY, payload TEXT NOT NULL);";

const THEIRS: &str = "BEGIN;
SELECT available FROM bench_stock WHERE sku = 'HOT' FOR UPDATE;
UPDATE bench_stock SET available = available - 1 WHERE sku = 'HOT';
INSERT INTO bench_outbox (id, payload) VALUES (gen_random_uuid(), repeat('x', 100));
COMMIT;
";

pub fn pairs(options: &Options, fsync: Fsync, count: usize) -> Result<Measured> {
    let rig = Rig::servers(options, fsync)?;
    prepare(&rig, "", 1, UNITS)?;
    rig.sql(THEIR_TABLES)?;
    let sold = Cell::new(0);
    let ours = |seconds: u64| {
        let seconds = seconds.to_string();
        let run = || said(&rig, &["hot-sku", SKU, &BUYERS.to_string(), &seconds]);
        let (said, used) = rig.watched(&["postgres", "buyers"], "buyers", run)?;
        let (held, seconds) = (number(&said, "held")?, said["seconds"].as_f64().context("a length")?);
        sold.set(sold.get() + held);
        let per_cpu_second = held as f64 / f64::max(used.tested, 0.01);
        let side = Side { per_second: held as f64 / seconds, per_cpu_second, cpu: used.by };
        Ok(Turn { side, foreign: used.foreign })
    };
    let theirs = |seconds| {
        let run = || rig.pgbench(THEIRS, BUYERS, seconds);
        let (value, used) = rig.watched(&["postgres", "pgbench"], "pgbench", run)?;
        let per_cpu_second = value * seconds as f64 / f64::max(used.tested, 0.01);
        Ok(Turn { side: Side { per_second: value, per_cpu_second, cpu: used.by }, foreign: used.foreign })
    };
    ours(options.warm_up_s)?;
    theirs(options.warm_up_s)?;
    let pairs =
        abba::pairs(count, ("per s", Better::More), &mut || ours(options.side_s), &mut || theirs(options.side_s))?;
    exact(&rig, sold.get())?;
    sold_out(&rig)?;
    Ok(Measured::new(rig.fdatasync_us, pairs))
}

/// Tables of the stock, topics where there are `brokers`, `units` of each of `skus`, and a thousand of what is scarce.
pub fn prepare(rig: &Rig, brokers: &str, skus: usize, units: u32) -> Result<()> {
    let owner = rig.stack.ports.postgres_url("inventory", "inventory_owner");
    let (skus, units) = (skus.to_string(), units.to_string());
    let mut command = program(rig);
    command.args(["prepare", &owner, &url(rig), brokers, &skus, &units]);
    os::output(&mut command).map(drop).context("fill the stock")
}

fn url(rig: &Rig) -> String {
    rig.stack.ports.postgres_url("inventory", "inventory_app")
}

fn program(rig: &Rig) -> std::process::Command {
    let built: PathBuf = rig.stack.layout.binaries(rig.stack.release).join("examples").join(PROGRAM);
    let mut command = generator(&rig.stack);
    command.arg(built);
    command
}

fn said(rig: &Rig, words: &[&str]) -> Result<Value> {
    let mut command = program(rig);
    command.arg(words[0]).arg(url(rig)).args(&words[1..]);
    Ok(serde_json::from_str(&os::output(&mut command)?)?)
}

fn number(said: &Value, key: &str) -> Result<u64> {
    said[key].as_u64().with_context(|| format!("the buyers say how many were {key}"))
}

/// Numbers from the stock's database.
pub fn inventory<Number: std::str::FromStr>(rig: &Rig, sql: &str) -> Result<Vec<Number>> {
    let port = rig.stack.ports.of(Port::Postgres);
    let said = postgres::psql(port, "inventory_owner", "inventory", sql)?;
    Ok(said.trim().split('|').filter_map(|number| number.parse().ok()).collect())
}

/// Each answer is a reservation, a line, an allocation, a movement and an event; the row counts them all and nothing twice.
fn exact(rig: &Rig, sold: u64) -> Result<()> {
    let sold = i64::try_from(sold)?;
    let counts = inventory::<i64>(
        rig,
        &format!(
            "SELECT (SELECT held FROM stock WHERE sku = '{SKU}'), (SELECT received - available FROM stock WHERE sku = '{SKU}'),
                    (SELECT count(*) FROM reservations WHERE status = 'HELD'), (SELECT count(*) FROM reservation_lines),
                    (SELECT count(*) FROM allocations), (SELECT count(*) FROM stock_movements WHERE kind = 'held'),
                    (SELECT count(*) FROM outbox WHERE topic = 'stock.reserved')"
        ),
    )?;
    if counts.len() != 7 || counts.iter().any(|count| *count != sold) {
        bail!(Invalid(format!("{sold} reservations were answered; the tables say {counts:?}")));
    }
    let theirs = rig.sql(
        "SELECT 1000000000 - (SELECT available FROM bench_stock WHERE sku = 'HOT') - (SELECT count(*) FROM bench_outbox)",
    )?;
    if theirs.trim() != "0" {
        bail!(Invalid(format!("the other side's counts differ by {}", theirs.trim())));
    }
    println!("{sold} reservations answered, held, moved and told; none twice");
    Ok(())
}

/// Oversold 0: the same buyers at something scarce.
fn sold_out(rig: &Rig) -> Result<()> {
    let said = said(rig, &["sell-out", SCARCE, &BUYERS.to_string()])?;
    let (held, rejected) = (number(&said, "held")?, number(&said, "rejected")?);
    let left = inventory::<i64>(rig, &format!("SELECT available FROM stock WHERE sku = '{SCARCE}'"))?;
    if held != SCARCE_UNITS || rejected != BUYERS as u64 || left != [0] {
        bail!(Invalid(format!("of {SCARCE_UNITS} units {held} were sold, {rejected} buyers refused, {left:?} left")));
    }
    println!("{SCARCE_UNITS} units sold to {BUYERS} buyers who wanted more: oversold 0");
    Ok(())
}
