//! New orders, many in one transaction: their rows are locked in the order of SKU and centre, decided one after the other in
//! the domain, and written once. One order is a batch of one, so there is no second way.
//!
//! Stock rows come before reservations here; elsewhere a reservation that is known comes before them, and one that is inserted after. No
//! circle can arise: whoever inserts has all its stock rows and inserts in the order of order ids, and a reservation that is there
//! already is left alone here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use common::{OrderId, Sku};
use messaging::commit_many::{Member, Written};
use messaging::{Cause, Change, Database, Outgoing, WriteError};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::events;
use super::failure::{Refusal, of_commit};
use super::shelves;
use crate::domain::centre::Centres;
use crate::domain::reservation::{self, Asked, Decision, Status, Step};
use crate::domain::shelves::Shelves;
use crate::usecases::ports::stock::{CONSUMER, Committed, Request, Reserved, StoreError};

pub(super) async fn reserve(
    database: &Database,
    centres: &Centres,
    requests: &[Request],
    now: DateTime<Utc>,
) -> Vec<Result<Reserved, StoreError>> {
    let members = requests.iter().map(|request| Member {
        change: Change {
            cause: Cause::Message { consumer: CONSUMER, id: request.cause },
            events: Vec::new(),
            answer: None,
        },
        traceparent: request.traceparent.clone(),
        // They all are new orders.
        kind: None,
    });
    let members = members.collect();
    let asked: Arc<[Asked]> = requests.iter().map(|request| request.asked.clone()).collect();
    let centres = Arc::new(centres.clone());
    // What the last try of each member decided; a member that was rolled back alone is decided again alone.
    let statuses: Arc<Mutex<HashMap<usize, Status>>> = Arc::default();
    let decided = Arc::clone(&statuses);
    let outcomes = database
        .commit_many(members, move |tx, mut places: Arc<[usize]>| {
            let (asked, centres, decided) = (Arc::clone(&asked), Arc::clone(&centres), Arc::clone(&decided));
            Box::pin(async move {
                // In the order of arrival, whatever order their causes were recorded in.
                Arc::make_mut(&mut places).sort_unstable();
                let steps = write(tx, &places, &asked, &centres, now).await?;
                let mut written = Written::default();
                let mut decided = decided.lock().unwrap_or_else(PoisonError::into_inner);
                for (place, step) in steps {
                    decided.insert(place, step.after.status);
                    written.events.extend(events::of_step(&step).into_iter().map(|event: Outgoing| (place, event)));
                }
                Ok(written)
            })
        })
        .await;
    let statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = |(place, outcome)| match outcome {
        Ok(messaging::Committed::Applied) => {
            Ok(Reserved { committed: Committed::Applied, status: statuses.get(&place).copied() })
        }
        Ok(messaging::Committed::Repeated(_)) => Ok(Reserved { committed: Committed::Repeated, status: None }),
        Err(error) => Err(of_commit(error)),
    };
    outcomes.into_iter().enumerate().map(outcome).collect()
}

async fn write(
    tx: &mut PgConnection,
    places: &[usize],
    asked: &[Asked],
    centres: &Centres,
    now: DateTime<Utc>,
) -> Result<Vec<(usize, Step)>, WriteError<Refusal>> {
    let known = known(tx, places, asked).await?;
    let new: Vec<usize> = first_of_each_order(places, asked, &known);
    let skus: BTreeSet<&str> =
        new.iter().flat_map(|place| asked[*place].lines.iter()).map(|line| Sku::as_str(&line.sku)).collect();
    let mut shelves = shelves::lock_to_hold(tx, &skus.into_iter().collect::<Vec<_>>()).await?;
    let mut steps = Vec::with_capacity(new.len());
    for place in new {
        if let Decision::Step(step) = reservation::reserve(None, asked[place].clone(), &mut shelves, centres, now) {
            steps.push((place, *step));
        }
    }
    if !steps.is_empty() {
        shelves::write_rows(tx, &shelves).await?;
        insert(tx, &steps, &shelves, now).await?;
    }
    Ok(steps)
}

async fn known(tx: &mut PgConnection, places: &[usize], asked: &[Asked]) -> Result<HashSet<Uuid>, sqlx::Error> {
    let orders: Vec<Uuid> = places.iter().map(|place| asked[*place].order.uuid()).collect();
    let known: Vec<Uuid> = sqlx::query_scalar("SELECT order_id FROM reservations WHERE order_id = ANY ($1)")
        .bind(orders)
        .fetch_all(tx)
        .await?;
    Ok(known.into_iter().collect())
}

/// Two messages about one order in one batch: the second finds the first.
fn first_of_each_order(places: &[usize], asked: &[Asked], known: &HashSet<Uuid>) -> Vec<usize> {
    let mut seen = known.clone();
    places.iter().copied().filter(|place| seen.insert(asked[*place].order.uuid())).collect()
}

#[derive(Default)]
struct Lines<'a> {
    orders: Vec<Uuid>,
    skus: Vec<&'a str>,
    quantities: Vec<i64>,
    options: Vec<Json<&'a [(String, String)]>>,
}

#[derive(Default)]
struct Pieces<'a> {
    orders: Vec<Uuid>,
    skus: Vec<&'a str>,
    centres: Vec<&'a str>,
    quantities: Vec<i64>,
    waiting: Vec<i64>,
}

/// Reservations, their lines, where these were taken and what moved, in one statement.
async fn insert(
    tx: &mut PgConnection,
    steps: &[(usize, Step)],
    shelves: &Shelves,
    now: DateTime<Utc>,
) -> Result<(), WriteError<Refusal>> {
    let (mut lines, mut pieces) = (Lines::default(), Pieces::default());
    for (_, step) in steps {
        let order = step.after.order.uuid();
        for line in step.after.lines.iter() {
            lines.orders.push(order);
            lines.skus.push(line.sku.as_str());
            lines.quantities.push(line.quantity.into());
            lines.options.push(Json(step.after.options.get(&line.sku).map_or(&[], Vec::as_slice)));
        }
        for piece in &step.after.pieces {
            pieces.orders.push(order);
            pieces.skus.push(piece.sku.as_str());
            pieces.centres.push(piece.centre.as_str());
            pieces.quantities.push(piece.quantity.into());
            pieces.waiting.push(piece.waiting.into());
        }
    }
    let after = || steps.iter().map(|(_, step)| &step.after);
    let moves = shelves.moves();
    let inserted: i64 = sqlx::query_scalar(
        r#"
        WITH begun AS (
            INSERT INTO reservations (order_id, status, version, created_at, held_until, settled_at)
            SELECT order_id, status, 1, $1, held_until, CASE status WHEN 'HELD' THEN NULL ELSE $1 END
            FROM UNNEST($2::uuid[], $3::text[], $4::timestamptz[]) AS new (order_id, status, held_until) ORDER BY order_id
            ON CONFLICT (order_id) DO NOTHING RETURNING 1),
        lines AS (
            INSERT INTO reservation_lines (order_id, sku, quantity, options)
            SELECT * FROM UNNEST($5::uuid[], $6::text[], $7::bigint[], $8::jsonb[])),
        taken AS (
            INSERT INTO allocations (order_id, sku, fulfilment_centre, quantity)
            SELECT * FROM UNNEST($9::uuid[], $10::text[], $11::text[], $12::bigint[])),
        moved AS (
            INSERT INTO stock_movements (order_id, sku, fulfilment_centre, kind, quantity, step, moved_at)
            SELECT order_id, sku, fulfilment_centre, kind, quantity, 1, $1
            FROM UNNEST($13::uuid[], $14::text[], $15::text[], $16::text[], $17::bigint[]) AS moved (order_id, sku, fulfilment_centre, kind, quantity))
        SELECT count(*) FROM begun
        "#,
    )
    .bind(now)
    .bind(after().map(|reservation| reservation.order.uuid()).collect::<Vec<_>>())
    .bind(after().map(|reservation| reservation.status.code()).collect::<Vec<_>>())
    .bind(after().map(|reservation| reservation.held_until).collect::<Vec<_>>())
    .bind(lines.orders)
    .bind(lines.skus)
    .bind(lines.quantities)
    .bind(lines.options)
    .bind(&pieces.orders)
    .bind(&pieces.skus)
    .bind(&pieces.centres)
    .bind(&pieces.quantities)
    .bind(moves.iter().map(|moved| moved.order.map(OrderId::uuid)).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| moved.place.0.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| moved.place.1.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| moved.kind.code()).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| i64::from(moved.units)).collect::<Vec<_>>())
    .fetch_one(&mut *tx)
    .await?;
    // Fewer: somebody decided about one of these orders since we looked. Alone each finds out.
    if inserted != steps.len() as i64 {
        return Err(WriteError::Refused(Refusal::Overtaken));
    }
    if pieces.waiting.iter().any(|waiting| *waiting > 0) { insert_promises(tx, &pieces).await } else { Ok(()) }
}

/// The identity grows in the order of the rows: whoever came first is served first.
async fn insert_promises(tx: &mut PgConnection, pieces: &Pieces<'_>) -> Result<(), WriteError<Refusal>> {
    sqlx::query(
        r#"
        INSERT INTO back_orders (order_id, sku, fulfilment_centre, promised, waiting)
        SELECT order_id, sku, fulfilment_centre, waiting, waiting
        FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS new (order_id, sku, fulfilment_centre, waiting, place)
        WHERE waiting > 0
        ORDER BY place
        "#,
    )
    .bind(&pieces.orders)
    .bind(&pieces.skus)
    .bind(&pieces.centres)
    .bind(&pieces.waiting)
    .execute(tx)
    .await?;
    Ok(())
}
