//! What must hold when the sandbox is quiet, read from the databases as their owners, from the gateway's own books and from
//! the topics; no service is asked. Each check says what is wrong in one line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::Topic;
use contracts::topics::TOPICS;
use sqlx::PgPool;
use testkit::kafka::read_all;
use uuid::Uuid;

use crate::behaviours::{Placed, Stage};
use crate::books;
use crate::sandbox::Sandbox;

pub type Checked = Result<(), String>;

/// Until everything under way has ended: a killed program has to start, and a lost answer is asked for after a second or two.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

pub fn unread(error: sqlx::Error) -> String {
    format!("cannot be read: {error}")
}

/// Waits until nothing is under way any more: every order final, every payment settled, every webhook worked off, every event
/// published and applied.
///
/// # Errors
/// What is still open after [`QUIET_WITHIN`].
pub async fn quiet(sandbox: &Sandbox) -> Checked {
    let began = tokio::time::Instant::now();
    loop {
        match open_work(sandbox).await {
            Ok(()) => return Ok(()),
            Err(open) if began.elapsed() > QUIET_WITHIN => return Err(open),
            Err(_) => tokio::time::sleep(Duration::from_millis(30)).await,
        }
    }
}

async fn open_work(sandbox: &Sandbox) -> Checked {
    for (pool, what, statement) in [
        (&sandbox.orders, "open orders", "SELECT count(*) FROM orders WHERE status IN ('CREATED', 'PAYMENT_PENDING')"),
        (
            &sandbox.orders,
            "open payments",
            "SELECT count(*) FROM payment_attempts WHERE state NOT IN ('CAPTURED', 'DECLINED', 'VOIDED')",
        ),
        // What is told of money without an order waits for its order for days.
        (
            &sandbox.orders,
            "waiting webhooks",
            "SELECT count(*) FROM webhooks WHERE processed_at IS NULL AND intent_id NOT IN (SELECT intent_id FROM orphan_charges)",
        ),
        (
            &sandbox.orders,
            "charges without an order",
            "SELECT count(*) FROM orphan_charges WHERE state NOT IN ('CAPTURED', 'DECLINED', 'VOIDED')",
        ),
        (
            &sandbox.orders,
            "unpublished events of order-payment",
            "SELECT count(*) FROM outbox WHERE published_at IS NULL",
        ),
        (&sandbox.stock, "unpublished events of catalog", "SELECT count(*) FROM outbox WHERE published_at IS NULL"),
        (&sandbox.stock, "open holds", "SELECT count(*) FROM reservations WHERE status = 'HELD'"),
        (&sandbox.stock, "parcels that wait", "SELECT count(*) FROM shipments WHERE state = 'WAITING'"),
    ] {
        let count: i64 = sqlx::query_scalar(statement).fetch_one(pool).await.map_err(unread)?;
        if count > 0 {
            return Err(format!("{count} {what}"));
        }
    }
    heard(&sandbox.orders, &sandbox.stock, "catalog", &["order.created", "order.completed", "order.compensated"])
        .await?;
    heard(&sandbox.stock, &sandbox.orders, "order-payment", &["stock.reserved", "stock.rejected", "shipment.created"])
        .await
}

/// Each event of `from` that `consumer` listens to has its row in the inbox beside its effect.
async fn heard(from: &PgPool, to: &PgPool, consumer: &str, kinds: &[&str]) -> Checked {
    let told: Vec<Uuid> = sqlx::query_scalar("SELECT message_id FROM outbox WHERE topic = ANY ($1)")
        .bind(kinds)
        .fetch_all(from)
        .await
        .map_err(unread)?;
    let applied: BTreeSet<Uuid> = sqlx::query_scalar("SELECT message_id FROM inbox WHERE consumer = $1")
        .bind(consumer)
        .fetch_all(to)
        .await
        .map_err(unread)?
        .into_iter()
        .collect();
    match told.iter().filter(|id| !applied.contains(id)).count() {
        0 => Ok(()),
        missing => Err(format!("{missing} events that {consumer} has not applied")),
    }
}

/// Order, history, payment, ledger, stock and the gateway's books agree about one order. Gives its status.
///
/// # Errors
/// The first contradiction.
pub async fn order(sandbox: &Sandbox, placed: &Placed) -> Result<String, String> {
    let Placed { order, ends: wanted, .. } = *placed;
    let id = order.uuid();
    let (status, version): (String, i64) =
        sqlx::query_as("SELECT status::text, version FROM orders WHERE order_id = $1")
            .bind(id)
            .fetch_one(&sandbox.orders)
            .await
            .map_err(unread)?;
    if !wanted.contains(&status.as_str()) {
        return Err(format!("{order} is {status}, not {wanted:?}"));
    }
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM order_history WHERE order_id = $1 ORDER BY version")
            .bind(id)
            .fetch_all(&sandbox.orders)
            .await
            .map_err(unread)?;
    if versions != (1..=version).collect::<Vec<_>>() {
        return Err(format!("{order} in version {version} has the history {versions:?}"));
    }
    let completed = status == "COMPLETED";
    books::of_order(sandbox, placed, completed).await?;
    goods(sandbox, placed, completed).await?;
    Ok(status)
}

/// A sale leaves once, and stays out although its money went back.
async fn goods(sandbox: &Sandbox, placed: &Placed, completed: bool) -> Checked {
    let order = placed.order;
    let status: Option<String> = sqlx::query_scalar("SELECT status FROM reservations WHERE order_id = $1")
        .bind(order.uuid())
        .fetch_optional(&sandbox.stock)
        .await
        .map_err(unread)?;
    let shipments: i64 = sqlx::query_scalar("SELECT count(*) FROM shipments WHERE order_id = $1")
        .bind(order.uuid())
        .fetch_one(&sandbox.stock)
        .await
        .map_err(unread)?;
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM order_shipments WHERE order_id = $1")
        .bind(order.uuid())
        .fetch_one(&sandbox.orders)
        .await
        .map_err(unread)?;
    let returned: i64 = sqlx::query_scalar(
        "SELECT COALESCE(sum(quantity), 0)::bigint FROM stock_movements WHERE order_id = $1 AND kind = 'returned'",
    )
    .bind(order.uuid())
    .fetch_one(&sandbox.stock)
    .await
    .map_err(unread)?;
    match (completed, status.as_deref(), shipments, told, returned) {
        (true, Some("FINALISED"), 1, 1, 0) => Ok(()),
        (false, Some("RELEASED" | "REJECTED"), 0, 0, 0) => Ok(()),
        seen => Err(format!("the goods of {order} (completed, reservation, shipments, told, returned): {seen:?}")),
    }
}

/// Units: nothing lost, nothing sold twice, and the counters are the sums of the movements.
///
/// # Errors
/// The first SKU that does not add up.
pub async fn stock(sandbox: &Sandbox) -> Checked {
    let odd: Option<(String, i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT sku::text, available, held, sold, returned, received FROM stock
         WHERE available + held + sold - returned <> received + back_ordered OR least(available, held, sold, returned, received) < 0
            OR held <> 0 OR back_ordered <> 0
            OR sold <> COALESCE((SELECT sum(quantity) FROM stock_movements m WHERE m.sku = stock.sku AND m.fulfilment_centre = stock.fulfilment_centre AND m.kind = 'sold'), 0)
            OR returned <> COALESCE((SELECT sum(quantity) FROM stock_movements m WHERE m.sku = stock.sku AND m.fulfilment_centre = stock.fulfilment_centre AND m.kind = 'returned'), 0)
            OR received <> COALESCE((SELECT sum(CASE kind WHEN 'lost' THEN -quantity ELSE quantity END) FROM stock_movements m WHERE m.sku = stock.sku AND m.fulfilment_centre = stock.fulfilment_centre AND m.kind IN ('received', 'found', 'lost')), 0)
         LIMIT 1",
    )
    .fetch_optional(&sandbox.stock)
    .await
    .map_err(unread)?;
    if let Some(odd) = odd {
        return Err(format!("stock (sku, available, held, sold, returned, received) does not add up: {odd:?}"));
    }
    let sold: i64 = sqlx::query_scalar("SELECT COALESCE(sum(sold), 0)::bigint FROM stock")
        .fetch_one(&sandbox.stock)
        .await
        .map_err(unread)?;
    let completed: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE status = 'COMPLETED'")
        .fetch_one(&sandbox.orders)
        .await
        .map_err(unread)?;
    if sold == completed {
        Ok(())
    } else {
        Err(format!("{sold} units sold in {completed} completed orders of one unit"))
    }
}

/// The topics tell exactly what was committed: each outbox row is there, nothing else is, one id has one content, and the
/// versions of a key come in order without a gap. A second record of an id is what a killed relay leaves, and harmless.
///
/// # Errors
/// The first difference.
pub async fn topics(stage: &Stage) -> Result<Published, String> {
    let sandbox = &stage.sandbox;
    let mut published = Published::default();
    for (pool, writer) in [(&sandbox.orders, "order-payment"), (&sandbox.stock, "catalog")] {
        for topic in
            TOPICS.iter().copied().filter(|topic| topic.writer == writer && !topic.kind.starts_with("product."))
        {
            published.add(topic_of(sandbox, pool, topic).await?);
        }
    }
    Ok(published)
}

/// How many events the topics hold, and how many came twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Published {
    pub events: usize,
    pub again: usize,
}

impl Published {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.again += other.again;
    }
}

async fn topic_of(sandbox: &Sandbox, pool: &PgPool, topic: &'static Topic) -> Result<Published, String> {
    let committed: BTreeMap<String, Vec<u8>> =
        sqlx::query_as::<_, (Uuid, Vec<u8>)>("SELECT message_id, payload FROM outbox WHERE topic = $1")
            .bind(topic.kind)
            .fetch_all(pool)
            .await
            .map_err(unread)?
            .into_iter()
            .map(|(id, payload)| (id.to_string(), payload))
            .collect();
    let mut first: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut versions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut again = 0;
    for record in read_all(&sandbox.kafka, topic).await {
        // What a behaviour put there without being a service.
        let Some(id) = record.headers.iter().find(|(name, _)| name == "ce_id").map(|(_, value)| value.clone()) else {
            continue;
        };
        match first.get(&id) {
            Some(known) if *known == record.payload => again += 1,
            Some(_) => return Err(format!("{}: the id {id} has two contents", topic.kind)),
            None => {
                let version =
                    record.header("aggregate_version").and_then(|version| version.parse().ok()).unwrap_or_default();
                versions.entry(record.key.clone()).or_default().push(version);
                first.insert(id, record.payload);
            }
        }
    }
    if first != committed {
        let (told, rows) = (first.len(), committed.len());
        return Err(format!("{}: {told} events told, {rows} committed, or their contents differ", topic.kind));
    }
    // The versions of one aggregate are spread over topics, so within a topic they only rise.
    match versions.iter().find(|(_, versions)| !versions.is_sorted()) {
        Some((key, versions)) => Err(format!("{}: {key} was told in the order {versions:?}", topic.kind)),
        None => Ok(Published { events: first.len(), again }),
    }
}

/// The versions of each order over all topics of its writer have no gap. A reservation may have one silent version, never the
/// first: its hold is extended once while the payment is under way, and nobody is told. If its time passed even so and somebody
/// asked, it was extended once more.
///
/// # Errors
/// The first key with a gap.
pub async fn versions(sandbox: &Sandbox) -> Checked {
    const WITHOUT_GAP: &str =
        "SELECT key, versions FROM (SELECT key, array_agg(version ORDER BY version) AS versions FROM outbox GROUP BY key) AS told
         WHERE versions[1] <> 1 OR versions[array_upper(versions, 1)] <> (SELECT count(DISTINCT version) FROM unnest(versions) AS version) LIMIT 1";
    const KNOWN: &str =
        "SELECT key, versions FROM (SELECT key, array_agg(version ORDER BY version) AS versions FROM outbox GROUP BY key) AS told
         LEFT JOIN reservations ON order_id::text = key
         WHERE versions[1] <> 1 OR versions[array_upper(versions, 1)] > coalesce(reservations.version, 0)
            OR versions[array_upper(versions, 1)] - (SELECT count(DISTINCT version) FROM unnest(versions) AS version)
               > CASE WHEN reservations.asked_at IS NULL THEN 1 ELSE 2 END LIMIT 1";
    for (pool, query) in [(&sandbox.orders, WITHOUT_GAP), (&sandbox.stock, KNOWN)] {
        let odd: Option<(String, Vec<i64>)> = sqlx::query_as(query).fetch_optional(pool).await.map_err(unread)?;
        if let Some((key, versions)) = odd {
            return Err(format!("{key} was told in the versions {versions:?}"));
        }
    }
    Ok(())
}
