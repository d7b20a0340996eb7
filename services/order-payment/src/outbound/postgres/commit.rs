//! Writes one change: person, order with lines and history, attempts, ledger. Runs inside the transaction that also holds
//! the fence, the cause and the outbox.

use common::{Prices, Region};
use messaging::operators;
use serde_json::json;
use sqlx::PgConnection;

use super::tax::LineTaxColumns;
use super::{Written, attempts, findings, named, orders, orphans, refunds};
use crate::domain::{OrderStep, Transaction};
use crate::usecases::Change;
use crate::usecases::error::Conflict;

/// All of it, in the order the foreign keys want.
pub async fn write(tx: &mut PgConnection, region: Region, change: &Change) -> Written {
    if let Some((user, region)) = change.person {
        // When somebody became known is of no interest to anybody but an operator; the database's clock will do.
        sqlx::query("INSERT INTO order_users (user_id, residency_region, known_since) VALUES ($1, $2, now()) ON CONFLICT (user_id) DO NOTHING")
            .bind(user.uuid())
            .bind(region.code())
            .execute(&mut *tx)
            .await?;
    }
    if let Some(step) = &change.order {
        match step.from {
            None => place(tx, step).await?,
            Some(from) => orders::advance(tx, from, &step.order).await?,
        }
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
    if change.order.is_some() || !change.ledger.is_empty() || !change.refunds.is_empty() {
        // The deferred checks run now, while a refusal still says what it is; at COMMIT it would look like a lost answer.
        let beyond = ["refunds_fit_capture", "refunds_fit_lines", "ledger_refunds_fit"];
        sqlx::query("SET CONSTRAINTS ALL IMMEDIATE")
            .execute(tx)
            .await
            .map_err(|error| named(error, &beyond.map(|name| (name, Conflict::RefundExceeds))))?;
    }
    Ok(())
}

async fn place(tx: &mut PgConnection, step: &OrderStep) -> Written {
    let order = &step.order;
    let address = order.address.open();
    sqlx::query(
        "INSERT INTO orders (order_id, user_id, residency_region, status, total_amount, currency, total_minor, credit_minor, shipping_address,
                             payment_token, fingerprint, version, created_at, deadline_at, tax_place, net_minor, tax_minor)
         VALUES ($1, $2, $3, $4::text::order_status, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(order.id.uuid())
    .bind(order.user.uuid())
    .bind(order.region.code())
    .bind(order.status.code())
    .bind(order.total.amount())
    .bind(order.total.currency().code())
    .bind(order.total.minor())
    .bind(order.credit.minor())
    .bind(json!({
        "name": address.name, "line1": address.line1, "line2": address.line2,
        "city": address.city, "postal_code": address.postal_code, "country": address.country,
    }))
    .bind(order.token.open().as_str())
    .bind(order.fingerprint.as_slice())
    .bind(order.version)
    .bind(order.created_at)
    .bind(order.deadline_at)
    .bind(order.tax.map(|tax| tax.place.code()))
    .bind(order.tax.map(|tax| tax.parts.net.minor()))
    .bind(order.tax.map(|tax| tax.parts.tax.minor()))
    .execute(&mut *tx)
    .await
    .map_err(|error| named(error, &[("orders_pkey", Conflict::OrderExists)]))?;
    lines(tx, step).await
}

async fn lines(tx: &mut PgConnection, step: &OrderStep) -> Written {
    let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut tax = LineTaxColumns::default();
    for (number, line) in step.order.lines.iter().enumerate() {
        tax.push(line);
        columns.0.push(i16::try_from(number).unwrap_or(i16::MAX));
        columns.1.push(line.sku.as_str());
        columns.2.push(line.name.as_str());
        columns.3.push(i32::try_from(line.quantity).unwrap_or(i32::MAX));
        columns.4.push(line.unit_price.minor());
        columns.5.push(
            line.options
                .iter()
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        );
    }
    let options: Vec<serde_json::Value> = columns.5;
    sqlx::query(
        "INSERT INTO order_lines (order_id, line_no, sku, name, quantity, unit_price_minor, options, price_revision, tax_class,
                                  tax_rate, tax_included, net_minor, tax_minor, gross_minor)
         SELECT $1, line_no, sku, name, quantity, price, options, revision, class, rate,
                CASE WHEN class IS NOT NULL THEN $8::boolean END, net, tax, gross
         FROM UNNEST($2::smallint[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::jsonb[], $9::bigint[], $10::text[],
                     $11::int[], $12::bigint[], $13::bigint[], $14::bigint[])
              AS line (line_no, sku, name, quantity, price, options, revision, class, rate, net, tax, gross)",
    )
    .bind(step.order.id.uuid())
    .bind(columns.0)
    .bind(columns.1)
    .bind(columns.2)
    .bind(columns.3)
    .bind(columns.4)
    .bind(options)
    .bind(step.order.region.prices() == Prices::Inclusive)
    .bind(tax.revisions)
    .bind(tax.classes)
    .bind(tax.rates)
    .bind(tax.net)
    .bind(tax.tax)
    .bind(tax.gross)
    .execute(tx)
    .await?;
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
