//! What must hold of money, as `invariants` says it of the rest: the ledger, the refunds, store credit and the gateway's own books
//! agree about one order and altogether, the books are sealed once, and a settled day says what the gateway's file says.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use payment_simulator::{Entry, EntryKind};

use crate::behaviours::Placed;
use crate::invariants::{Checked, unread};
use crate::sandbox::Sandbox;
use crate::shop::PRICE_MINOR;

/// What the gateway has of `kind` among these, smallest first.
fn amounts<'e>(entries: impl IntoIterator<Item = &'e Entry>, kind: EntryKind) -> Vec<i64> {
    let mut amounts: Vec<i64> =
        entries.into_iter().filter(|entry| entry.kind == kind).map(|entry| entry.amount).collect();
    amounts.sort_unstable();
    amounts
}

/// What goes back through our hands names the attempt that carries it.
fn is_by_hand(entry: &Entry) -> bool {
    entry.kind == EntryKind::Refund && entry.attempt.is_none()
}

/// Money of one order: charged once, each movement in the ledger as in the gateway's books, given back as its story says.
///
/// # Errors
/// The first contradiction.
pub async fn of_order(sandbox: &Sandbox, placed: &Placed, completed: bool) -> Checked {
    let (order, back) = (placed.order, placed.back);
    let charges: i64 =
        sqlx::query_scalar("SELECT count(*) FROM payment_attempts WHERE order_id = $1 AND kind = 'CHARGE'")
            .bind(order.uuid())
            .fetch_one(&sandbox.orders)
            .await
            .map_err(unread)?;
    if charges > 1 {
        return Err(format!("{order} has {charges} attempts to charge"));
    }
    let (total, credit): (i64, i64) =
        sqlx::query_as("SELECT total_minor, credit_minor FROM orders WHERE order_id = $1")
            .bind(order.uuid())
            .fetch_one(&sandbox.orders)
            .await
            .map_err(unread)?;
    let moved: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT kind::text, sum(amount_minor)::bigint,
                COALESCE(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0)::bigint AS moved
         FROM ledger_transactions JOIN ledger_entries USING (transaction_id) WHERE order_id = $1
         GROUP BY kind, transaction_id ORDER BY moved",
    )
    .bind(order.uuid())
    .fetch_all(&sandbox.orders)
    .await
    .map_err(unread)?;
    if let Some(odd) = moved.iter().find(|(_, sum, moved)| *sum != 0 || *moved < 1) {
        return Err(format!("the ledger of {order} has {odd:?}"));
    }
    let of = |kind: &str| -> Vec<i64> {
        moved.iter().filter(|(name, ..)| name == kind).map(|(_, _, moved)| *moved).collect()
    };
    let (captured, refunded) = (of("CAPTURE"), of("REFUND"));
    let (spent, granted) = (of("CREDIT_SPEND"), of("CREDIT_GRANT"));
    let reference = order.to_string();
    let entries = sandbox.books().await;
    let (by_hand, ours): (Vec<&Entry>, Vec<&Entry>) = entries
        .iter()
        .filter(|entry| entry.reference.as_deref() == Some(&reference))
        .partition(|entry| is_by_hand(entry));
    let (taken, given_back) =
        (amounts(ours.iter().copied(), EntryKind::Capture), amounts(ours.iter().copied(), EntryKind::Refund));
    if taken != captured || given_back != refunded {
        return Err(format!(
            "{order}: the gateway took {taken:?} and gave back {given_back:?}, our ledger has {captured:?} and {refunded:?}"
        ));
    }
    let by_hand = amounts(by_hand, EntryKind::Refund);
    let sum = |amounts: &[i64]| amounts.iter().sum::<i64>();
    let (to_card, as_credit, open) = refunds(sandbox, placed).await?;
    if open > 0 || to_card != sum(&refunded) || as_credit != sum(&granted) {
        return Err(format!(
            "{order}: refunds of {to_card} and {as_credit}, {open} open, our ledger has {refunded:?} and {granted:?}"
        ));
    }
    let stands = if completed {
        total == PRICE_MINOR
            && captured.len() <= 1
            && spent.len() <= 1
            && (sum(&captured), sum(&spent)) == (total - credit, credit)
            && (to_card, as_credit, sum(&by_hand)) == (back.to_card, back.as_credit, back.by_hand)
    } else {
        captured.len() <= 1 && captured == refunded && spent.is_empty() && granted.is_empty() && by_hand.is_empty()
    };
    if stands {
        return Ok(());
    }
    Err(format!(
        "{order}, completed: {completed}, of {total} with {credit} store credit: captured {captured:?}, spent {spent:?}, refunded \
         {refunded:?}, as credit {granted:?}, by hand {by_hand:?}, meant to go back {back:?}"
    ))
}

/// What was refunded to the card and as store credit, and how many refunds are not over.
async fn refunds(sandbox: &Sandbox, placed: &Placed) -> Result<(i64, i64, i64), String> {
    sqlx::query_as(
        "SELECT COALESCE(sum(amount_minor) FILTER (WHERE state = 'DONE' AND target = 'CARD'), 0)::bigint,
                COALESCE(sum(amount_minor) FILTER (WHERE state = 'DONE' AND target = 'STORE_CREDIT'), 0)::bigint,
                count(*) FILTER (WHERE state = 'OPEN')
         FROM refunds WHERE order_id = $1",
    )
    .bind(placed.order.uuid())
    .fetch_one(&sandbox.orders)
    .await
    .map_err(unread)
}

/// All books together, whoever's money it is.
///
/// # Errors
/// The first difference.
pub async fn altogether(sandbox: &Sandbox) -> Checked {
    let entries = sandbox.books().await;
    with_the_gateway(sandbox, &entries).await?;
    orphans(sandbox, &entries).await?;
    credit(sandbox).await?;
    seals(sandbox).await
}

/// What the gateway owes us by our ledger is what it took for us and has not given back by our order.
async fn with_the_gateway(sandbox: &Sandbox, entries: &[Entry]) -> Checked {
    let ours: i64 = sqlx::query_scalar(
        "SELECT COALESCE(sum(amount_minor), 0)::bigint FROM ledger_entries WHERE account = 'gateway_receivable'",
    )
    .fetch_one(&sandbox.orders)
    .await
    .map_err(unread)?;
    let sum = |kind| amounts(entries.iter().filter(|entry| !is_by_hand(entry)), kind).iter().sum::<i64>();
    let theirs = sum(EntryKind::Capture) - sum(EntryKind::Refund);
    if ours == theirs { Ok(()) } else { Err(format!("the gateway owes {theirs}, our ledger says {ours}")) }
}

/// Money without an order was booked once, and went back once.
async fn orphans(sandbox: &Sandbox, entries: &[Entry]) -> Checked {
    let found: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT orphan.intent_id, orphan.state::text, orphan.amount_minor,
                (SELECT count(*) FROM ledger_transactions moved WHERE moved.reference = orphan.intent_id),
                (SELECT COALESCE(sum(entry.amount_minor), 0)::bigint
                 FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
                 WHERE moved.reference = orphan.intent_id AND entry.account = 'suspense')
         FROM orphan_charges orphan",
    )
    .fetch_all(&sandbox.orders)
    .await
    .map_err(unread)?;
    let mut of_intent: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        of_intent.entry(&entry.intent).or_default().push(entry);
    }
    for (intent, state, amount, transactions, suspense) in found {
        let mine = of_intent.get(intent.as_str()).map(Vec::as_slice).unwrap_or_default();
        let of = |kind| amounts(mine.iter().copied(), kind);
        let (taken, given_back) = (of(EntryKind::Capture), of(EntryKind::Refund));
        let booked = (state.as_str(), transactions, suspense) == ("CAPTURED", 2, 0);
        if !booked || taken != [amount] || given_back != [amount] {
            return Err(format!(
                "{intent} without an order is {state} in {transactions} transactions that come to {suspense}, the gateway took {taken:?} \
                 and gave back {given_back:?}"
            ));
        }
    }
    Ok(())
}

/// A balance is what was given minus what was spent, and nothing is set aside for an order that is over.
async fn credit(sandbox: &Sandbox) -> Checked {
    let odd: Option<(String, i64, i64)> = sqlx::query_as(
        "SELECT known.user_id::text, known.balance_minor, known.held_minor FROM store_credit_balances known
         WHERE known.held_minor <> 0 OR known.balance_minor <> (
             SELECT COALESCE(-sum(entry.amount_minor), 0)
             FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
             WHERE moved.user_id = known.user_id AND entry.currency = known.currency AND entry.account = 'store_credit')
         LIMIT 1",
    )
    .fetch_optional(&sandbox.orders)
    .await
    .map_err(unread)?;
    odd.map_or(Ok(()), |odd| {
        Err(format!("store credit (person, balance, held) is not the sum of its movements: {odd:?}"))
    })
}

/// Each transaction is under one seal or waits for one, and the places under the seals have no gap.
async fn seals(sandbox: &Sandbox) -> Checked {
    let (astray, places, last): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM ledger_transactions moved
                 WHERE EXISTS (SELECT FROM ledger_leaves leaf WHERE leaf.transaction_id = moved.transaction_id)
                     = EXISTS (SELECT FROM ledger_unsealed waiting WHERE waiting.transaction_id = moved.transaction_id)),
                (SELECT count(*) FROM ledger_leaves),
                (SELECT COALESCE(max(last_position), 0) FROM ledger_seals)",
    )
    .fetch_one(&sandbox.orders)
    .await
    .map_err(unread)?;
    if astray == 0 && places == last {
        Ok(())
    } else {
        Err(format!(
            "{astray} transactions are under no seal or twice, {places} places are under seals that end at {last}"
        ))
    }
}

/// The day is settled as the gateway's file says: each row once and matched, no difference.
///
/// # Errors
/// What is not so, or not yet.
pub async fn settlement(sandbox: &Sandbox, day: NaiveDate, file: &str) -> Checked {
    let rows = file.lines().filter(|line| line.starts_with("row,")).count();
    let settled: Option<(i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT settled.row_count, settled.open_count,
                (SELECT count(*) FROM settlement_rows kept WHERE kept.gateway = settled.gateway AND kept.day = settled.day),
                (SELECT count(*) FROM settlement_rows kept
                 WHERE kept.gateway = settled.gateway AND kept.day = settled.day AND kept.outcome <> 'MATCHED'),
                (SELECT COALESCE(sum(abs(total.difference_minor)), 0)::bigint FROM settlement_totals total
                 WHERE total.gateway = settled.gateway AND total.day = settled.day)
         FROM settlements settled WHERE settled.day = $1",
    )
    .bind(day)
    .fetch_optional(&sandbox.orders)
    .await
    .map_err(unread)?;
    let wanted = i64::try_from(rows).unwrap_or(i64::MAX);
    match settled {
        Some(seen) if rows > 0 && seen == (wanted, 0, wanted, 0, 0) => Ok(()),
        seen => {
            Err(format!("{day} with {rows} rows in the file (rows, open, kept, not matched, difference): {seen:?}"))
        }
    }
}
