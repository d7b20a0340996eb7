//! Webhooks: kept once per event id, worked off from the table, forgotten when they are old.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::Region;
use futures::future::BoxFuture;
use messaging::{Database, Together, WriteError};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Shared, Written, findings, unread};
use crate::usecases::error::{Conflict, StoreError};
use crate::usecases::ports::{Finding, FindingKind, Kept, Webhook, WebhookEnd};
use crate::usecases::receive_webhook::{KEPT_DAYS, MOST_FORGOTTEN};

/// Commits under way at a time, and webhooks of one: a gateway sends many at once, and each waits for its answer.
const LEADERS: usize = 1;
const MOST_TOGETHER: usize = 64;

/// A webhook on its way into the table, and what became of it there.
#[derive(Debug)]
pub(super) struct Keeping {
    pub hook: Webhook,
    pub region: Region,
    pub kept: Shared<Option<Kept>>,
}

/// Where webhooks meet.
pub(super) fn together(database: Database) -> Together<Keeping, Conflict> {
    Together::new(database, LEADERS, MOST_TOGETHER, keep)
}

/// Inserts the webhooks whose event ids are not known; the same id with other bytes is noted as a difference.
fn keep<'t>(
    tx: &'t mut PgConnection,
    arrived: Arc<[Keeping]>,
    fresh: Arc<[usize]>,
) -> BoxFuture<'t, Result<messaging::Written<Conflict>, WriteError<Conflict>>> {
    Box::pin(async move {
        let arrived: Vec<&Keeping> = fresh.iter().map(|member| &arrived[*member]).collect();
        let mut inserted = insert(tx, &arrived).await?;
        for Keeping { hook, kept, .. } in arrived {
            // Of two in one batch the first is the one that was inserted.
            let is_new = inserted.remove(&(hook.gateway.clone(), hook.event_id.clone()));
            kept.set(Some(if is_new { Kept::New } else { known(tx, hook).await? }));
        }
        Ok(messaging::Written::default())
    })
}

async fn insert(tx: &mut PgConnection, arrived: &[&Keeping]) -> Result<HashSet<(String, String)>, sqlx::Error> {
    fn column<'a, T>(arrived: &[&'a Keeping], of: impl Fn(&'a Webhook) -> T) -> Vec<T> {
        arrived.iter().map(|keeping| of(&keeping.hook)).collect()
    }
    let inserted: Vec<(String, String)> = sqlx::query_as(
        "INSERT INTO webhooks (gateway, event_id, residency_region, event_type, intent_id, order_id, amount_minor, currency, body, received_at, due_at)
         SELECT gateway, event_id, residency_region, event_type, intent_id, order_id, amount_minor, currency, body, received_at, received_at
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::text[], $9::bytea[], $10::timestamptz[])
              AS new (gateway, event_id, residency_region, event_type, intent_id, order_id, amount_minor, currency, body, received_at)
         ON CONFLICT DO NOTHING RETURNING gateway, event_id",
    )
    .bind(column(arrived, |hook| hook.gateway.as_str()))
    .bind(column(arrived, |hook| hook.event_id.as_str()))
    .bind(arrived.iter().map(|keeping| keeping.region.code()).collect::<Vec<_>>())
    .bind(column(arrived, |hook| hook.event_type.as_str()))
    .bind(column(arrived, |hook| hook.intent.as_str()))
    .bind(column(arrived, |hook| hook.order.map(|order| order.uuid())))
    .bind(column(arrived, |hook| hook.amount_minor))
    .bind(column(arrived, |hook| hook.currency.as_deref()))
    .bind(column(arrived, |hook| hook.body.as_slice()))
    .bind(column(arrived, |hook| hook.received_at))
    .fetch_all(tx)
    .await?;
    Ok(inserted.into_iter().collect())
}

/// Its event id is known: the same again, or another content under one id.
async fn known(tx: &mut PgConnection, hook: &Webhook) -> Result<Kept, WriteError<Conflict>> {
    let same: Option<bool> = sqlx::query_scalar("SELECT body = $3 FROM webhooks WHERE gateway = $1 AND event_id = $2")
        .bind(&hook.gateway)
        .bind(&hook.event_id)
        .bind(&hook.body)
        .fetch_optional(&mut *tx)
        .await?;
    // Of one that was forgotten since the insert met it nobody can say that it was another.
    if same != Some(false) {
        return Ok(Kept::Again);
    }
    let finding = Finding {
        kind: FindingKind::WebhookClash,
        reference: hook.event_id.clone(),
        order: hook.order,
        detail: "an event id came with two contents; the second was dropped".to_owned(),
        happened_at: Some(hook.received_at),
    };
    findings::note(tx, &finding, hook.received_at).await?;
    Ok(Kept::Clash)
}

#[derive(sqlx::FromRow)]
struct Row {
    gateway: String,
    event_id: String,
    event_type: String,
    intent_id: String,
    order_id: Option<Uuid>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    received_at: DateTime<Utc>,
    tries: i32,
}

/// What waits, the longest first. The bytes are not read: nothing is decided by them any more.
pub async fn due(pool: &PgPool, now: DateTime<Utc>, limit: u16) -> Result<Vec<Webhook>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT gateway, event_id, event_type, intent_id, order_id, amount_minor, currency, received_at, tries
         FROM webhooks WHERE processed_at IS NULL AND due_at <= $1 ORDER BY due_at LIMIT $2",
    )
    .bind(now)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    Ok(rows.into_iter().map(convert).collect())
}

/// Processed, or put off. Two workers that met at one webhook did the same harmless thing; both lock in the order of ids.
pub async fn finish(tx: &mut PgConnection, ended: &[(Webhook, WebhookEnd)], now: DateTime<Utc>) -> Written {
    let (mut gateways, mut events, mut outcomes, mut due) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (hook, end) in ended {
        gateways.push(hook.gateway.as_str());
        events.push(hook.event_id.as_str());
        outcomes.push(word(*end));
        due.push(if let WebhookEnd::Later(at) = end { *at } else { now });
    }
    sqlx::query(
        "WITH ended AS (
             SELECT gateway, event_id, ended.outcome, ended.due_at
             FROM UNNEST($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS ended (gateway, event_id, outcome, due_at)
             JOIN webhooks USING (gateway, event_id)
             WHERE processed_at IS NULL ORDER BY gateway, event_id FOR NO KEY UPDATE OF webhooks)
         UPDATE webhooks SET outcome = ended.outcome, processed_at = CASE WHEN ended.outcome IS NULL THEN NULL ELSE $5 END,
                due_at = ended.due_at, tries = tries + 1
         FROM ended
         WHERE webhooks.gateway = ended.gateway AND webhooks.event_id = ended.event_id AND processed_at IS NULL",
    )
    .bind(gateways)
    .bind(events)
    .bind(outcomes)
    .bind(due)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// By the database's own clock, which is the one that refuses what is too young: two clocks never agree.
pub async fn forget(tx: &mut PgConnection) -> Written {
    sqlx::query("SELECT forget_webhooks(now() - make_interval(days => $1), $2)")
        .bind(KEPT_DAYS)
        .bind(i32::from(MOST_FORGOTTEN))
        .execute(tx)
        .await?;
    Ok(())
}

fn word(end: WebhookEnd) -> Option<&'static str> {
    match end {
        WebhookEnd::Hinted => Some("HINTED"),
        WebhookEnd::NothingToDo => Some("NOTHING_TO_DO"),
        WebhookEnd::LateSuccess => Some("LATE_SUCCESS"),
        WebhookEnd::Mismatch => Some("MISMATCH"),
        WebhookEnd::GaveUp => Some("GAVE_UP"),
        WebhookEnd::Later(_) => None,
    }
}

fn convert(row: Row) -> Webhook {
    Webhook {
        gateway: row.gateway,
        event_id: row.event_id,
        event_type: row.event_type,
        intent: row.intent_id,
        order: row.order_id.map(Into::into),
        amount_minor: row.amount_minor,
        currency: row.currency,
        body: Vec::new(),
        received_at: row.received_at,
        tries: u32::try_from(row.tries).unwrap_or_default(),
    }
}
