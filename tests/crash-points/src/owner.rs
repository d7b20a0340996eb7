//! What the owner of the tables does in place of a wait of minutes or days, and in place of somebody with all rights who makes a
//! mistake. What reads deadlines, counts and closed days is the services' own code.

use std::time::Duration;

use chrono::NaiveDate;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

/// Longest that a dead worker's successor waits for us.
const PATIENCE: Duration = Duration::from_secs(5);

/// The deadline of an order comes now.
pub async fn let_deadline_pass(orders: &PgPool, order: Uuid) {
    sqlx::query("UPDATE orders SET deadline_at = now() - interval '1 second' WHERE order_id = $1")
        .bind(order)
        .execute(orders)
        .await
        .expect("the owner may move a deadline");
}

/// The time of a hold is over now. Gives the version of the reservation, which stays: only a step of it may change it.
pub async fn let_hold_pass(stock: &PgPool, order: Uuid) -> i64 {
    let moving = async {
        let mut tx = stock.begin().await?;
        sqlx::query("ALTER TABLE reservations DISABLE TRIGGER reservations_legal_step").execute(&mut *tx).await?;
        let version: i64 = sqlx::query_scalar(
            "UPDATE reservations SET held_until = now() - interval '1 second' WHERE order_id = $1 AND status = 'HELD' RETURNING version",
        )
        .bind(order)
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query("ALTER TABLE reservations ENABLE TRIGGER reservations_legal_step").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(version)
    };
    moving.await.expect("the owner may move the time of a hold")
}

/// Whoever asked about this hold last did so long ago.
pub async fn ask_again(stock: &PgPool, order: Uuid, version: i64) {
    sqlx::query(
        "UPDATE reservations SET asked_at = now() - interval '1 hour'
         WHERE order_id = $1 AND version = $2 AND asked_at > now() - interval '1 minute'",
    )
    .bind(order)
    .bind(version)
    .execute(stock)
    .await
    .expect("the owner may say when somebody asked");
}

/// Adds units that nobody counted, or takes them away again.
pub async fn miscount(stock: &PgPool, sku: &str, units: i64) {
    sqlx::query("UPDATE stock SET available = available + $2, received = received + $2 WHERE sku = $1")
        .bind(sku)
        .bind(units)
        .execute(stock)
        .await
        .expect("the owner may change a count");
}

/// The time of a visitor's basket is over now.
pub async fn let_cart_pass(orders: &PgPool, visitor: Uuid) {
    sqlx::query(
        "UPDATE carts SET expires_at = now() - interval '1 second', version = version + 1
         WHERE owner_kind = 'visitor' AND owner_id = $1",
    )
    .bind(visitor)
    .execute(orders)
    .await
    .expect("the owner may end a basket");
}

/// The day has not been settled yet.
pub async fn forget_settlement(orders: &PgPool, day: NaiveDate) {
    for forgetting in [
        "DELETE FROM settlement_totals WHERE day = $1",
        "DELETE FROM settlements WHERE day = $1",
        "DELETE FROM settlement_rows WHERE day = $1",
    ] {
        sqlx::query(forgetting).bind(day).execute(orders).await.expect("the owner may forget a day");
    }
}

/// From now on no step of a payment can be kept, as on a disk without room; what is no step can.
pub async fn refuse_steps(orders: &PgPool) {
    sqlx::raw_sql(
        "CREATE OR REPLACE FUNCTION refuse_step() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION 'there is no room for a step' USING ERRCODE = 'disk_full';
         END $$;
         CREATE OR REPLACE TRIGGER refuse_step BEFORE UPDATE ON payment_attempts FOR EACH ROW
             WHEN (NEW.version <> OLD.version) EXECUTE FUNCTION refuse_step();",
    )
    .execute(orders)
    .await
    .expect("the owner may refuse what is written");
}

/// Steps of payments are kept again.
pub async fn take_steps(orders: &PgPool) {
    sqlx::raw_sql("DROP TRIGGER IF EXISTS refuse_step ON payment_attempts")
        .execute(orders)
        .await
        .expect("the owner may take everything again");
}

/// The leases of a worker that is dead end now instead of twenty seconds later. Never in the way of the next start: on a connection of
/// its own and within [`PATIENCE`]; else they end by themselves.
pub async fn end_leases(orders: &PgPool) {
    let ending = async {
        let mut own: PgConnection = orders.connect_options().connect().await?;
        for ending in [
            "UPDATE payment_attempts SET leased_until = NULL WHERE leased_until IS NOT NULL",
            "UPDATE orphan_charges SET leased_until = NULL WHERE leased_until IS NOT NULL",
        ] {
            sqlx::query(ending).execute(&mut own).await?;
        }
        own.close().await
    };
    match tokio::time::timeout(PATIENCE, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => println!("the leases of a dead worker stay: {error}"),
        Err(_) => println!("the leases of a dead worker stay: nobody ended them within {} s", PATIENCE.as_secs()),
    }
}
