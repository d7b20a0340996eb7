//! Writes one change: person, order with lines and history, attempts, ledger. Runs inside the transaction that also holds
//! the fence, the cause and the outbox.

use common::Region;
use messaging::{WriteError, operators};
use sqlx::PgConnection;

use super::{Written, attempts, coupons, findings, named, orders, orphans, placements, refunds};
use crate::domain::Transaction;
use crate::usecases::Change;
use crate::usecases::error::Conflict;

/// All of it, with the checks that have a name for the caller.
pub async fn write(tx: &mut PgConnection, region: Region, change: &Change) -> Written {
    write_rows(tx, region, change).await?;
    if has_named_checks(change) { check_now(tx).await } else { Ok(()) }
}

/// An order that brings a coupon, as a batch of one: refused, it leaves what it knew of the coupon's limits.
pub async fn with_coupon(
    tx: &mut PgConnection,
    region: Region,
    change: &Change,
) -> Result<messaging::Written<Conflict>, WriteError<Conflict>> {
    match (write(tx, region, change).await, &change.coupon) {
        // The use is asked for first, so nothing of the order is written.
        (Err(WriteError::Refused(Conflict::CouponUsed)), Some(coupon)) => {
            let stays = coupons::hear(tx, &[coupon]).await?;
            Ok(messaging::Written { refused: vec![(0, Conflict::CouponUsed)], stays, ..Default::default() })
        }
        (written, _) => written.map(|()| messaging::Written::default()),
    }
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
    if let Some(step) = change.order.as_ref().filter(|step| step.from.is_some())
        && orders::advance(tx, &[step]).await?.is_empty()
    {
        return Err(WriteError::Refused(Conflict::Lost));
    }
    attempts::write(tx, &change.attempts.iter().collect::<Vec<_>>()).await?;
    ledger(tx, &change.ledger.iter().collect::<Vec<_>>()).await?;
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

/// Transactions with their entries, in two statements.
pub async fn ledger(tx: &mut PgConnection, transactions: &[&Transaction]) -> Written {
    if transactions.is_empty() {
        return Ok(());
    }
    fn column<'a, T>(transactions: &[&'a Transaction], of: impl Fn(&'a Transaction) -> T) -> Vec<T> {
        transactions.iter().map(|transaction| of(transaction)).collect()
    }
    sqlx::query(
        "INSERT INTO ledger_transactions (transaction_id, attempt_id, order_id, user_id, reference, reverses, kind, currency, recorded_at)
         SELECT transaction_id, attempt_id, order_id, user_id, reference, reverses, kind::ledger_kind, currency, recorded_at
         FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::timestamptz[])
              AS new (transaction_id, attempt_id, order_id, user_id, reference, reverses, kind, currency, recorded_at)",
    )
    .bind(column(transactions, |transaction| transaction.id.uuid()))
    .bind(column(transactions, |transaction| transaction.attempt.map(|attempt| attempt.uuid())))
    .bind(column(transactions, |transaction| transaction.order.map(|order| order.uuid())))
    .bind(column(transactions, |transaction| transaction.user.map(|user| user.uuid())))
    .bind(column(transactions, |transaction| transaction.reference.as_deref()))
    .bind(column(transactions, |transaction| transaction.reverses.map(|reverses| reverses.uuid())))
    .bind(column(transactions, |transaction| transaction.kind.code()))
    .bind(column(transactions, |transaction| transaction.currency.code()))
    .bind(column(transactions, |transaction| transaction.at))
    .execute(&mut *tx)
    .await
    .map_err(|error| {
        let once = ["ledger_transactions_pkey", "ledger_transactions_attempt_once", "ledger_transactions_reversed_once"];
        let known = once.map(|name| (name, Conflict::Lost));
        named(error, &[&known[..], &[("ledger_transactions_of_a_person", Conflict::UnknownPerson)][..]].concat())
    })?;
    let entries: Vec<_> = transactions
        .iter()
        .flat_map(|transaction| {
            (1..).zip(&transaction.entries).map(move |(number, entry)| (*transaction, number, entry))
        })
        .collect();
    // The attempt stands here too for as long as somebody joins by it.
    sqlx::query(
        "INSERT INTO ledger_entries (transaction_id, attempt_id, entry_no, account, amount_minor, currency)
         SELECT transaction_id, attempt_id, entry_no, account::ledger_account, amount_minor, currency
         FROM UNNEST($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::bigint[], $6::text[])
              AS entry (transaction_id, attempt_id, entry_no, account, amount_minor, currency)",
    )
    .bind(entries.iter().map(|(transaction, ..)| transaction.id.uuid()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(transaction, ..)| transaction.attempt.map(|attempt| attempt.uuid())).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, number, _)| *number).collect::<Vec<i32>>())
    .bind(entries.iter().map(|(.., entry)| entry.account.code()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(.., entry)| entry.amount_minor).collect::<Vec<_>>())
    .bind(entries.iter().map(|(transaction, ..)| transaction.currency.code()).collect::<Vec<_>>())
    .execute(tx)
    .await
    // The balance moves with the entry that moves it.
    .map_err(|error| named(error, &[("store_credit_covers", Conflict::CreditShort)]))?;
    Ok(())
}
