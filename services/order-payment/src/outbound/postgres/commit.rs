//! Writes one change: person, order with lines and history, attempts, ledger. Runs inside the transaction that also holds
//! the fence, the cause and the outbox.

use common::Region;
use messaging::{WriteError, operators};
use sqlx::PgConnection;

use super::{Written, attempts, coupons, findings, named, orders, orphans, placements, refunds};
use crate::domain::{OrderStep, Transaction};
use crate::usecases::Change;
use crate::usecases::error::Conflict;

/// All of it, with the checks that have a name for the caller.
pub async fn write(tx: &mut PgConnection, region: Region, change: &Change) -> Written {
    write_rows(tx, region, change).await?;
    if has_named_checks(change) { check_now(tx).await } else { Ok(()) }
}

/// The rows, in the order the foreign keys want.
pub async fn write_rows(tx: &mut PgConnection, region: Region, change: &Change) -> Written {
    match &change.order {
        // An order brings its person along.
        Some(step) if step.from.is_none() => {
            if let Some(coupon) = &change.coupon
                && coupons::take(tx, region, &[(step.order.id, step.order.user, coupon)]).await?.is_empty()
            {
                return Err(WriteError::Refused(Conflict::CouponUsed));
            }
            if placements::insert(tx, &[step]).await?.is_empty() {
                return Err(WriteError::Refused(Conflict::OrderExists));
            }
        }
        _ => person(tx, change).await?,
    }
    if let Some(step) = &change.order
        && let Some(from) = step.from
    {
        orders::advance(tx, from, &step.order).await?;
        history(tx, step).await?;
    }
    for step in &change.attempts {
        attempts::write(tx, step).await?;
    }
    for transaction in &change.ledger {
        ledger(tx, transaction).await?;
    }
    if let Some(action) = &change.action {
        operators::record(&mut *tx, region, action).await?;
    }
    for step in &change.refunds {
        refunds::write(tx, step).await?;
    }
    for step in &change.orphans {
        orphans::write(tx, step).await?;
    }
    for (finding, at) in &change.findings {
        findings::note(tx, finding, *at).await?;
    }
    Ok(())
}

pub fn has_named_checks(change: &Change) -> bool {
    !change.ledger.is_empty() || !change.refunds.is_empty()
}

/// Deferred checks that have a name for the caller run now, while it can still be told which it was; without this they run at
/// COMMIT, where a refusal counts as one. Nothing may be written after it.
pub async fn check_now(tx: &mut PgConnection) -> Written {
    let beyond = ["refunds_fit_capture", "refunds_fit_lines", "ledger_refunds_fit"];
    sqlx::query("SET CONSTRAINTS ALL IMMEDIATE")
        .execute(tx)
        .await
        .map_err(|error| named(error, &beyond.map(|name| (name, Conflict::RefundExceeds))))?;
    Ok(())
}

async fn person(tx: &mut PgConnection, change: &Change) -> Written {
    if let Some((user, region)) = change.person {
        // When somebody became known is of no interest to anybody but an operator; the database's clock will do.
        sqlx::query("INSERT INTO order_users (user_id, residency_region, known_since) VALUES ($1, $2, now()) ON CONFLICT (user_id) DO NOTHING")
            .bind(user.uuid())
            .bind(region.code())
            .execute(tx)
            .await?;
    }
    Ok(())
}

async fn history(tx: &mut PgConnection, step: &OrderStep) -> Written {
    sqlx::query("INSERT INTO order_history (order_id, version, status, reason, at) VALUES ($1, $2, $3::text::order_status, $4, $5)")
        .bind(step.order.id.uuid())
        .bind(step.order.version)
        .bind(step.order.status.code())
        .bind(step.order.reason.map(|reason| reason.code()))
        .bind(step.at)
        .execute(tx)
        .await
        .map_err(|error| named(error, &[("order_history_pkey", Conflict::Lost)]))?;
    Ok(())
}

async fn ledger(tx: &mut PgConnection, transaction: &Transaction) -> Written {
    let attempt = transaction.attempt.map(|attempt| attempt.uuid());
    sqlx::query(
        "INSERT INTO ledger_transactions (transaction_id, attempt_id, order_id, user_id, reference, reverses, kind, currency, recorded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::ledger_kind, $8, $9)",
    )
    .bind(transaction.id.uuid())
    .bind(attempt)
    .bind(transaction.order.map(|order| order.uuid()))
    .bind(transaction.user.map(|user| user.uuid()))
    .bind(&transaction.reference)
    .bind(transaction.reverses.map(|reverses| reverses.uuid()))
    .bind(transaction.kind.code())
    .bind(transaction.currency.code())
    .bind(transaction.at)
    .execute(&mut *tx)
    .await
    .map_err(|error| {
        let once = ["ledger_transactions_pkey", "ledger_transactions_attempt_once", "ledger_transactions_reversed_once"];
        let known = once.map(|name| (name, Conflict::Lost));
        named(error, &[&known[..], &[("ledger_transactions_of_a_person", Conflict::UnknownPerson)][..]].concat())
    })?;
    let accounts: Vec<&str> = transaction.entries.iter().map(|entry| entry.account.code()).collect();
    let amounts: Vec<i64> = transaction.entries.iter().map(|entry| entry.amount_minor).collect();
    // The attempt stands here too for as long as somebody joins by it.
    sqlx::query(
        "INSERT INTO ledger_entries (transaction_id, attempt_id, entry_no, account, amount_minor, currency)
         SELECT $1, $2, number, account::ledger_account, amount, $3
         FROM UNNEST($4::text[], $5::bigint[]) WITH ORDINALITY AS entry (account, amount, number)",
    )
    .bind(transaction.id.uuid())
    .bind(attempt)
    .bind(transaction.currency.code())
    .bind(accounts)
    .bind(amounts)
    .execute(tx)
    .await
    // The balance moves with the entry that moves it.
    .map_err(|error| named(error, &[("store_credit_covers", Conflict::CreditShort)]))?;
    Ok(())
}
