//! Writing decisions about orders that are known, or their tombstones: the reservations first, so that two decisions about
//! one order meet there before either holds a stock row, then the stock rows, then tombstones, which move nothing, then what follows.
//! Decisions that wait at the same time share a commit; what every order has is one statement for all of a batch, what few have (parcels
//! let go, entitlements) is one each. One decision is a batch of one.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use common::{OrderId, Region, Sku};
use futures::future::BoxFuture;
use messaging::{Cause, Change, Database, Member, Together, WriteError, Written as Batch};
use sqlx::PgConnection;
use uuid::Uuid;

use super::events;
use super::failure::{Refusal, of_commit};
use super::shelves::{self, Account, inconsistent, of_shelf};
use crate::domain::entitlement::Entitlement;
use crate::domain::inventory::MovementKind;
use crate::domain::reservation::{Decision, Movements, Step};
use crate::domain::shipment::Shipment;
use crate::usecases::ports::stock::{CONSUMER, Committed, StoreError, Why};

type Written = Result<(), WriteError<Refusal>>;

/// Commits under way at a time: a second one would wait for the first one's stock rows anyway, with its connection in hand.
const LEADERS: usize = 1;
/// Decisions of one commit: what the consumer has at hand of one partition. Beyond it locks are held longer than is saved.
const MOST_TOGETHER: usize = 64;

/// A decision on its way into the tables; without a step only its message is remembered.
#[derive(Debug)]
pub(super) struct Decided {
    why: Why,
    region: Region,
    step: Option<Step>,
}

/// Where decisions meet.
pub(super) fn together(database: Database) -> Together<Decided, Refusal> {
    Together::new(database, LEADERS, MOST_TOGETHER, write)
}

pub(super) async fn commit(
    together: &Together<Decided, Refusal>,
    region: Region,
    why: Why,
    decision: &Decision,
) -> Result<Committed, StoreError> {
    let cause = match why {
        Why::Message(id) => Cause::Message { consumer: CONSUMER, id },
        Why::Duty(name) => Cause::Duty(name),
    };
    let change = Change { cause, events: events::of_decision(decision), answer: None };
    let step = match decision {
        Decision::Step(step) => Some(step.as_ref().clone()),
        Decision::Nothing => None,
    };
    let place = step.as_ref().map(|step| step.after.order.uuid()).unwrap_or_default();
    match together.commit(Member::new(change), place, Decided { why, region, step }).await {
        Ok(messaging::Committed::Applied) => Ok(Committed::Applied),
        Ok(messaging::Committed::Repeated(_)) => Ok(Committed::Repeated),
        Err(error) => Err(of_commit(error)),
    }
}

fn write<'t>(
    tx: &'t mut PgConnection,
    decided: Arc<[Decided]>,
    fresh: Arc<[usize]>,
) -> BoxFuture<'t, Result<Batch<Refusal>, WriteError<Refusal>>> {
    Box::pin(async move { write_all(tx, &decided, &fresh).await })
}

/// A member of a batch, with its place there.
type Placed<'a> = (usize, &'a Decided, &'a Step);

fn steps<'a>(left: &[Placed<'a>]) -> Vec<&'a Step> {
    left.iter().map(|(.., step)| *step).collect()
}

async fn write_all(
    tx: &mut PgConnection,
    decided: &[Decided],
    fresh: &[usize],
) -> Result<Batch<Refusal>, WriteError<Refusal>> {
    let with_step = |member: &usize| Some((*member, &decided[*member], decided[*member].step.as_ref()?));
    let mut left: Vec<Placed<'_>> = fresh.iter().filter_map(with_step).collect();
    // Of two decisions about one order the second was made before the first was known.
    let mut seen = HashSet::new();
    let mut overtaken: Vec<usize> =
        left.extract_if(.., |(_, _, step)| !seen.insert(step.after.order.uuid())).map(|(member, ..)| member).collect();
    let advanced = advance(tx, &steps(&left)).await?;
    let lost = |step: &Step, winners: &HashSet<Uuid>| !winners.contains(&step.after.order.uuid());
    overtaken.extend(
        left.extract_if(.., |(.., step)| step.before.is_some() && lost(step, &advanced)).map(|(member, ..)| member),
    );
    move_units(tx, &steps(&left)).await?;
    // After the stock rows, as `reserve` inserts its own: two that meet at an order and at a SKU wait for each other and not in a circle.
    let begun = insert_tombstones(tx, &steps(&left)).await?;
    overtaken.extend(
        left.extract_if(.., |(.., step)| step.before.is_none() && lost(step, &begun)).map(|(member, ..)| member),
    );
    insert_shipments(tx, &left.iter().map(|(_, decided, step)| (decided.why, *step)).collect::<Vec<_>>()).await?;
    for (_, decided, step) in left {
        if let Why::Duty(_) = decided.why {
            settle_shipments(tx, step).await?;
        }
        for entitlement in &step.granted {
            grant(tx, decided.region, entitlement).await?;
        }
        revoke(tx, step).await?;
    }
    Ok(Batch {
        refused: overtaken.into_iter().map(|member| (member, Refusal::Overtaken)).collect(),
        ..Batch::default()
    })
}

/// One winner: a reservation must still be what the decision was made about. Those that were, by order.
async fn advance(tx: &mut PgConnection, steps: &[&Step]) -> Result<HashSet<Uuid>, WriteError<Refusal>> {
    let known: Vec<_> = steps.iter().filter_map(|step| Some((step.before?, *step))).collect();
    if known.is_empty() {
        return Ok(HashSet::new());
    }
    let advanced: Vec<Uuid> = sqlx::query_scalar(
        r#"
        UPDATE reservations
        SET status = step.status, version = step.version, held_until = step.held_until,
            settled_at = CASE step.status WHEN 'HELD' THEN NULL ELSE COALESCE(settled_at, step.at) END
        FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[])
             AS step (order_id, status_before, version_before, status, version, held_until, at)
        WHERE reservations.order_id = step.order_id AND reservations.status = step.status_before
              AND reservations.version = step.version_before
        RETURNING reservations.order_id
        "#,
    )
    .bind(known.iter().map(|(_, step)| step.after.order.uuid()).collect::<Vec<_>>())
    .bind(known.iter().map(|((status, _), _)| status.code()).collect::<Vec<_>>())
    .bind(known.iter().map(|((_, version), _)| *version).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.after.status.code()).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.after.version).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.after.held_until).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.at).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    Ok(advanced.into_iter().collect())
}

/// Orders that ended before they were heard of. New orders that hold something are written by `reserve`.
async fn insert_tombstones(tx: &mut PgConnection, steps: &[&Step]) -> Result<HashSet<Uuid>, WriteError<Refusal>> {
    let unheard: Vec<&Step> = steps.iter().filter(|step| step.before.is_none()).copied().collect();
    if unheard.is_empty() {
        return Ok(HashSet::new());
    }
    if unheard.iter().any(|step| step.movements.is_some() || !step.after.lines.is_empty()) {
        return Err(inconsistent(&"a new order is reserved and not committed"));
    }
    let inserted: Vec<Uuid> = sqlx::query_scalar(
        r#"
        INSERT INTO reservations (order_id, status, version, created_at, held_until, settled_at)
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
        ON CONFLICT (order_id) DO NOTHING RETURNING order_id
        "#,
    )
    .bind(unheard.iter().map(|step| step.after.order.uuid()).collect::<Vec<_>>())
    .bind(unheard.iter().map(|step| step.after.status.code()).collect::<Vec<_>>())
    .bind(unheard.iter().map(|step| step.after.version).collect::<Vec<_>>())
    .bind(unheard.iter().map(|step| step.after.created_at).collect::<Vec<_>>())
    .bind(unheard.iter().map(|step| step.after.held_until).collect::<Vec<_>>())
    .bind(unheard.iter().map(|step| step.at).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    Ok(inserted.into_iter().collect())
}

/// The rows of all steps are locked at once, in their order, and decided about one step after the other.
async fn move_units(tx: &mut PgConnection, steps: &[&Step]) -> Written {
    let moving: Vec<(&Step, &Movements)> =
        steps.iter().filter_map(|step| Some((*step, step.movements.as_ref()?))).collect();
    if moving.is_empty() {
        return Ok(());
    }
    let skus: BTreeSet<&str> =
        moving.iter().flat_map(|(_, movements)| &movements.pieces).map(|piece| piece.sku.as_str()).collect();
    let mut rows = shelves::lock(tx, &skus.into_iter().collect::<Vec<_>>()).await?;
    let (mut serials, mut accounts) = (Vec::new(), Vec::new());
    for (step, movements) in moving {
        let (order, pieces) = (step.after.order, &movements.pieces);
        match movements.kind {
            MovementKind::Released => rows.release(order, pieces),
            MovementKind::Sold => rows.sell(order, pieces).map(|numbers| {
                serials.extend(numbers.into_iter().map(|(sku, number)| (order, sku, number)));
            }),
            MovementKind::Returned => rows.take_back(order, pieces),
            MovementKind::Received
            | MovementKind::Found
            | MovementKind::Lost
            | MovementKind::BackOrdered
            | MovementKind::Held
            | MovementKind::Covered => {
                return Err(inconsistent(&"a known order neither receives nor holds"));
            }
        }
        .map_err(of_shelf)?;
        // Whatever moved since the step before, moved for this one.
        accounts.resize(rows.moves().len(), (step.after.version, step.at));
    }
    // Each movement has its own time on this account.
    let Some((_, newest)) = accounts.last().copied() else { return Ok(()) };
    shelves::write(tx, &rows, Account::Steps(&accounts), newest).await?;
    insert_serials(tx, &serials).await
}

/// `sold` was raised under the rows' locks: these numbers are ours and nobody else's.
async fn insert_serials(tx: &mut PgConnection, serials: &[(OrderId, Sku, i64)]) -> Written {
    if serials.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO serial_numbers (order_id, sku, number) SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])",
    )
    .bind(serials.iter().map(|(order, ..)| order.uuid()).collect::<Vec<_>>())
    .bind(serials.iter().map(|(_, sku, _)| sku.as_str()).collect::<Vec<_>>())
    .bind(serials.iter().map(|(.., number)| *number).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// A sale makes parcels, each tied to the message that said that the order is paid; later steps let waiting ones go.
async fn insert_shipments(tx: &mut PgConnection, steps: &[(Why, &Step)]) -> Written {
    let made: Vec<(Uuid, &Shipment)> = steps
        .iter()
        .filter_map(|(why, step)| if let Why::Message(cause) = why { Some((cause.uuid(), step)) } else { None })
        .flat_map(|(cause, step)| step.shipments.iter().map(move |shipment| (cause, shipment)))
        .collect();
    if made.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"
        INSERT INTO shipments (shipment_id, order_id, fulfilment_centre, state, created_at, consumer, message_id)
        SELECT shipment_id, order_id, fulfilment_centre, state, created_at, $1, message_id
        FROM UNNEST($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::uuid[])
             AS made (shipment_id, order_id, fulfilment_centre, state, created_at, message_id)
        "#,
    )
    .bind(CONSUMER)
    .bind(made.iter().map(|(_, shipment)| shipment.id.uuid()).collect::<Vec<_>>())
    .bind(made.iter().map(|(_, shipment)| shipment.order.uuid()).collect::<Vec<_>>())
    .bind(made.iter().map(|(_, shipment)| shipment.centre.as_str()).collect::<Vec<_>>())
    .bind(made.iter().map(|(_, shipment)| shipment.state.code()).collect::<Vec<_>>())
    .bind(made.iter().map(|(_, shipment)| shipment.created_at).collect::<Vec<_>>())
    .bind(made.iter().map(|(cause, _)| *cause).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn settle_shipments(tx: &mut PgConnection, step: &Step) -> Written {
    for shipment in &step.shipments {
        let settled = sqlx::query(
            r#"
            UPDATE shipments SET state = $3, settled_at = $4
            WHERE order_id = $1 AND fulfilment_centre = $2 AND state = 'WAITING'
            "#,
        )
        .bind(shipment.order.uuid())
        .bind(shipment.centre.as_str())
        .bind(shipment.state.code())
        .bind(step.at)
        .execute(&mut *tx)
        .await?;
        if settled.rows_affected() != 1 {
            return Err(WriteError::Refused(Refusal::Overtaken));
        }
    }
    Ok(())
}

async fn grant(tx: &mut PgConnection, region: Region, entitlement: &Entitlement) -> Written {
    sqlx::query(
        r#"
        INSERT INTO entitlements (residency_region, user_id, order_id, sku, quantity, valid_from, valid_until)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
    )
    .bind(region.code())
    .bind(entitlement.user.uuid())
    .bind(entitlement.order.uuid())
    .bind(entitlement.sku.as_str())
    .bind(i64::from(entitlement.quantity))
    .bind(entitlement.valid_from)
    .bind(entitlement.valid_until)
    .execute(tx)
    .await?;
    Ok(())
}

/// A SKU that was sent and not granted has no entitlement to end.
async fn revoke(tx: &mut PgConnection, step: &Step) -> Written {
    if step.revoked.is_empty() {
        return Ok(());
    }
    let (skus, units): (Vec<&str>, Vec<i64>) =
        step.revoked.iter().map(|(sku, units)| (sku.as_str(), i64::from(*units))).unzip();
    sqlx::query(
        r#"
        UPDATE entitlements
        SET revoked = revoked + ended.units, revoked_at = $2
        FROM UNNEST($3::text[], $4::bigint[]) AS ended (sku, units)
        WHERE order_id = $1 AND entitlements.sku = ended.sku
        "#,
    )
    .bind(step.after.order.uuid())
    .bind(step.at)
    .bind(skus)
    .bind(units)
    .execute(tx)
    .await?;
    Ok(())
}
