//! The whole way of an order, from the scheduled send to COMPLETED, against what no saga can do without, at one rate.
//!
//! Decided here: what saturates, that both sides run at half of it, and when a saga counts as complete: when its last commit is
//! in the log, by the database's own commit time plus what the flush of that commit takes.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::results::Side;
use super::rig::{Fsync, Rig, Role};
use super::{Invalid, Measured, Options, hot_sku, orders};
use crate::os;
use crate::ports::Port;
use crate::stack::process::Health;

/// The products that the load orders, in this many units: more than any run takes.
const SKUS: usize = 500;
const UNITS: u32 = 1_000_000;
/// Orders of a burst that shows what saturates: seconds of work.
pub const BURST: u64 = 2_000;
/// Connections of shoppers in a burst: the intake is never empty, and all of it is accepted long before the last is complete.
const CONNECTIONS: usize = 64;
/// How long sagas may take to end after the last order was accepted.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// Percentiles want more than a turn for throughput.
const LATENCY_TURN: u64 = 2;
/// Parties of the system under test.
pub const TESTED: [&str; 4] = ["postgres", "order-payment-serve", "order-payment-work", "catalog-work"];

pub const SETTINGS: &[&str] = &[
    "orders of 3 lines each over HTTP in open loop at half of the rate at which a burst of 2,000 orders was completed in the same run",
    "one process each of order-payment serve, order-payment work and catalog work with default settings; one Kafka broker, so replication 1; payments by the payment simulator over HTTP, three calls for each, which answers when its own file is flushed",
    "a saga ends with the commit of COMPLETED: PostgreSQL's commit time plus one flush as measured; it begins with the scheduled send",
    "against: an INSERT transaction, then three times a record of 400 bytes produced with linger 0 and acks=all and consumed, and an INSERT transaction, one after the other, at the same rate; nothing of the gateway's time is in it",
    "the catalog's search index and product store do not run: no saga asks them; prices and the issuer's keys are stood in for",
    super::POSTGRES,
    "at 1 ms PostgreSQL is slowed; Kafka does not flush for each record, and the simulator's file is on the disk as it is",
    "processor 0: PostgreSQL and the three services; the others: generator, stand-ins, Redis, Kafka, payment simulator",
    "checked: every accepted order is COMPLETED, captured once by the gateway's books, balanced in the ledger, and held or sold in the stock",
];

/// Everything a saga needs, on one disk.
pub fn fleet(options: &Options, fsync: Fsync) -> Result<Rig> {
    let mut rig = Rig::servers(options, fsync)?;
    rig.order_payment(&[], &[Role::Serve, Role::Work])?;
    rig.sql(orders::INSERT_TABLE)?;
    Ok(rig)
}

/// The catalog's stock: filled, with every topic there is, and its work role running.
pub fn stock(rig: &Rig) -> Result<()> {
    hot_sku::prepare(rig, &rig.stack.ports.address(Port::Kafka), SKUS, UNITS)?;
    let mut work = rig.stack.spec("catalog-work")?;
    // Ready would mean that the search index answers, which nobody needs here.
    work.health = Health::Tcp(rig.stack.ports.of(Port::CatalogWorkAdmin));
    rig.start_tested(work)
}

pub fn pairs(options: &Options, fsync: Fsync, count: usize) -> Result<Measured> {
    let rig = fleet(options, fsync)?;
    let accepted = Cell::new(orders::warm(&rig)?);
    burst(&rig, &accepted)?;
    let saturation = burst(&rig, &accepted)?.side.per_second;
    let rate = saturation / 2.0;
    println!("saturated at {saturation:.0} sagas per second; both sides run at {rate:.0}");
    let seconds = options.side_s * LATENCY_TURN;
    let middle = Cell::new((0.0, 0.0));
    let stages = RefCell::new(String::new());
    let pairs = abba::pairs(
        count,
        ("ms", Better::Less),
        &mut || {
            let (turn, p50) = abba::in_time(|| paced(&rig, rate, seconds, &accepted, &stages))?;
            middle.set((p50, middle.get().1));
            Ok(turn)
        },
        &mut || {
            let (turn, p50) = abba::in_time(|| floor(&rig, rate, seconds))?;
            middle.set((middle.get().0, p50));
            Ok(turn)
        },
    )?;
    exact(&rig, accepted.get(), 0)?;
    let (ours, theirs) = middle.get();
    let facts = vec![
        format!("saturated at {saturation:.0} sagas per second; both sides ran at {rate:.0}"),
        format!("median of the last turn: {ours:.1} ms against {theirs:.1} ms"),
        stages.into_inner(),
    ];
    Ok(Measured { fdatasync_us: rig.fdatasync_us, pairs, facts })
}

/// A burst of orders until all of them are complete: sagas per second.
pub fn burst(rig: &Rig, accepted: &Cell<u64>) -> Result<Turn> {
    let work = || {
        let words = ["--connections", &CONNECTIONS.to_string(), "--most", &BURST.to_string()].map(str::to_owned);
        let said = orders::load(rig, &words)?.0;
        complete(rig, &said, accepted)?;
        Ok(said)
    };
    let (said, used) = rig.watched(&TESTED, "load", work)?;
    let (count, last_ms) = {
        let row = row(rig, &format!("{} SELECT count(*), max(completed_ms) FROM sagas", sagas(&said, None)?))?;
        (row[0], row[1])
    };
    let started_ms = said["started_at_ms"].as_f64().context("when it started")?;
    let value = count / f64::max((last_ms - started_ms) / 1_000.0, 0.001);
    let per_cpu_second = count / f64::max(used.tested, 0.01);
    Ok(Turn { side: Side { per_second: value, per_cpu_second, cpu: used.by }, foreign: used.foreign })
}

/// Orders at `rate`: the 99th percentile of their sagas, and the median. Nothing when the generator ran late.
fn paced(
    rig: &Rig,
    rate: f64,
    seconds: u64,
    accepted: &Cell<u64>,
    stages: &RefCell<String>,
) -> Result<Option<(Turn, f64)>> {
    let words =
        ["--connections", &CONNECTIONS.to_string(), "--seconds", &seconds.to_string(), "--rate", &rate.to_string()]
            .map(str::to_owned);
    let work = || {
        let said = orders::load(rig, &words)?.0;
        complete(rig, &said, accepted)?;
        Ok(said)
    };
    let (said, used) = rig.watched(&TESTED, "load", work)?;
    if said["p99_ms"].is_null() {
        return Ok(None);
    }
    let sql = format!(
        "{} SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY ms), percentile_disc(0.5) WITHIN GROUP (ORDER BY ms), count(*) FROM sagas",
        sagas(&said, Some(rate))?
    );
    let row = row(rig, &sql)?;
    *stages.borrow_mut() = where_the_time_goes(rig, &said, rate)?;
    println!("{}", stages.borrow());
    let flush_ms = rig.fdatasync_us / 1_000.0;
    let per_cpu_second = row[2] / f64::max(used.tested, 0.01);
    let side = Side { per_second: row[0] + flush_ms, per_cpu_second, cpu: used.by };
    Ok(Some((Turn { side, foreign: used.foreign }, row[1] + flush_ms)))
}

fn floor(rig: &Rig, rate: f64, seconds: u64) -> Result<Option<(Turn, f64)>> {
    let ports = rig.stack.ports;
    let work = || -> Result<Value> {
        let mut command = rig.load();
        command
            .args(["floor", "--postgres", &ports.postgres_url("order_payment", "order_payment_owner")])
            .args(["--brokers", &ports.address(Port::Kafka), "--rate", &rate.to_string()])
            .args(["--seconds", &seconds.to_string()]);
        Ok(serde_json::from_str(&os::output(&mut command)?)?)
    };
    let (said, used) = rig.watched(&["postgres", "kafka"], "load", work)?;
    let (Some(value), Some(middle)) = (said["p99_ms"].as_f64(), said["p50_ms"].as_f64()) else {
        return Ok(None);
    };
    let side = Side { per_second: value, per_cpu_second: 0.0, cpu: used.by };
    Ok(Some((Turn { side, foreign: used.foreign }, middle)))
}

/// The sagas of a run: when each was complete, and how long that was after it was due.
fn sagas(said: &Value, rate: Option<f64>) -> Result<String> {
    let run = said["run"].as_str().context("the load names its run")?;
    let started_ms = said["started_at_ms"].as_f64().context("when it started")?;
    let due = rate.map_or("0".to_owned(), |rate| format!("({started_ms} + number * 1000.0 / {rate})"));
    Ok(format!(
        "WITH run AS (
             SELECT (convert_from(body, 'UTF8')::json->>'order_id')::uuid AS order_id, right(key, 10)::bigint AS number
             FROM requests WHERE key LIKE '{run}-%'),
         completed AS (
             SELECT number, extract(epoch FROM pg_xact_commit_timestamp(told.xmin))::float8 * 1000 AS completed_ms
             FROM run JOIN order_history told USING (order_id) WHERE told.status = 'COMPLETED'),
         sagas AS (SELECT completed_ms, completed_ms - {due} AS ms FROM completed)"
    ))
}

/// How far the sagas of a run were when, on average: what the two databases recorded of each step.
fn where_the_time_goes(rig: &Rig, said: &Value, rate: f64) -> Result<String> {
    let started_ms = said["started_at_ms"].as_f64().context("when it started")?;
    let sql = format!(
        "{} SELECT avg({due}),
                avg(extract(epoch FROM pg_xact_commit_timestamp(taken.xmin))::float8 * 1000),
                avg(extract(epoch FROM told.published_at)::float8 * 1000),
                avg(extract(epoch FROM pg_xact_commit_timestamp(pending.xmin))::float8 * 1000),
                avg(completed_ms)
         FROM run JOIN completed USING (number)
             JOIN order_history taken ON taken.order_id = run.order_id AND taken.status = 'CREATED'
             JOIN order_history pending ON pending.order_id = run.order_id AND pending.status = 'PAYMENT_PENDING'
             JOIN outbox told ON told.key = run.order_id::text AND told.topic = 'order.created'",
        sagas(said, Some(rate))?,
        due = format_args!("{started_ms} + number * 1000.0 / {rate}"),
    );
    let ours = row(rig, &sql)?;
    let theirs = hot_sku::inventory::<f64>(
        rig,
        &format!(
            "SELECT avg(extract(epoch FROM pg_xact_commit_timestamp(held.xmin))::float8 * 1000),
                    avg(extract(epoch FROM told.published_at)::float8 * 1000)
             FROM stock_movements held JOIN outbox told ON told.key = held.order_id::text AND told.topic = 'stock.reserved'
             WHERE held.kind = 'held' AND held.moved_at >= to_timestamp({started_ms} / 1000.0)"
        ),
    )?;
    let [due, taken, told, pending, complete] = ours[..] else { bail!("five times, not {ours:?}") };
    let [held, told_back] = theirs[..] else { bail!("two times, not {theirs:?}") };
    Ok(format!(
        "means of the last turn, in ms after an order was due: accepted {:.1}, told {:.1}, set aside {:.1}, told back {:.1}, payment begun {:.1}, complete {:.1}",
        taken - due,
        told - due,
        held - due,
        told_back - due,
        pending - due,
        complete - due
    ))
}

fn row(rig: &Rig, sql: &str) -> Result<Vec<f64>> {
    let said = rig.sql(sql)?;
    let numbers: Vec<f64> = said.trim().split('|').filter_map(|number| number.parse().ok()).collect();
    if numbers.len() < 2 {
        bail!(Invalid(format!("nothing was completed: {said}")));
    }
    Ok(numbers)
}

/// Waits until every order accepted so far is complete.
fn complete(rig: &Rig, said: &Value, accepted: &Cell<u64>) -> Result<()> {
    accepted.set(accepted.get() + said["accepted"].as_u64().unwrap_or(0));
    let began = Instant::now();
    loop {
        os::check_interrupted()?;
        let open = rig.sql("SELECT count(*) FROM orders WHERE status IN ('CREATED', 'PAYMENT_PENDING')")?;
        if open.trim() == "0" {
            return Ok(());
        }
        if began.elapsed() > DRAINED_WITHIN {
            bail!(Invalid(format!("{} sagas did not end within {} s", open.trim(), DRAINED_WITHIN.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The promise: whatever was accepted is complete, paid once by everybody's books, and its goods are set aside. `others` is what
/// somebody else captured at the gateway.
pub fn exact(rig: &Rig, accepted: u64, others: u64) -> Result<()> {
    let counts = rig.sql(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM orders WHERE status = 'COMPLETED'),
                (SELECT count(*) FROM payment_attempts WHERE state = 'CAPTURED'), (SELECT count(*) FROM ledger_transactions WHERE kind = 'CAPTURE'),
                (SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries), (SELECT sum(total_minor) FROM orders)",
    )?;
    let counts: Vec<u64> = counts.trim().split('|').filter_map(|count| count.parse().ok()).collect();
    let books = crate::net::http_get(rig.stack.ports.of(Port::PaymentSimulator), "/__books/summary")?;
    let books: Value = serde_json::from_str(&books.body)?;
    let captured: u64 =
        books["currencies"].as_object().into_iter().flatten().filter_map(|(_, sums)| sums["captured"].as_u64()).sum();
    let reservations = hot_sku::inventory::<i64>(
        rig,
        "SELECT (SELECT count(*) FROM reservations WHERE status IN ('HELD', 'FINALISED')),
                (SELECT count(*) FROM stock WHERE available < 0)",
    )?;
    let sound = match counts[..] {
        [orders, completed, attempts, booked, balance, total] => {
            orders >= accepted
                && [completed, attempts, booked].iter().all(|count| *count == orders)
                && balance == 0
                && captured == total + others
                && reservations == [i64::try_from(orders)?, 0]
        }
        _ => false,
    };
    if !sound {
        bail!(Invalid(format!(
            "{accepted} orders were accepted; the tables say {counts:?}, the gateway captured {captured}, reservations {reservations:?}"
        )));
    }
    println!("{accepted} accepted, complete, captured once, balanced, in stock");
    Ok(())
}
