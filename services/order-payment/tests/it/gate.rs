//! The gate to the standby, on a real server: what a standby does to its slot is done by hand here.

use std::time::Duration;

use order_payment::MIGRATOR;
use order_payment::outbound::gate::StandbyGate;
use order_payment::usecases::ports::ReplicationGate;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use testkit::TestDatabase;

/// The gate asks as the role of the service, which has no right to watch the server.
#[tokio::test]
async fn money_waits_until_the_reader_of_the_slot_has_flushed_and_no_right_is_needed_to_see_it() {
    let database = TestDatabase::create("order_payment", &MIGRATOR).await;
    let slot = format!("standby_{}", common::ids::time_ordered().simple());
    let mut server = PgConnection::connect(&testkit::servers().postgres_url("postgres", "postgres")).await.unwrap();
    // A temporary one: it leaves with this connection, however the story ends.
    let make = format!("SELECT pg_create_physical_replication_slot('{slot}', true, true)");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut server).await.unwrap();

    let gate = StandbyGate::new(database.database.pool().clone(), slot.clone());
    let passing = tokio::spawn(async move { gate.pass().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!passing.is_finished(), "nobody has read from the slot");

    let advance = format!("SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())");
    for _ in 0..100 {
        sqlx::raw_sql(AssertSqlSafe(advance.clone())).execute(&mut server).await.unwrap();
        if passing.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(passing.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_slot_that_is_not_there_keeps_the_gate_closed() {
    let database = TestDatabase::create("order_payment", &MIGRATOR).await;
    let gate = StandbyGate::new(database.database.pool().clone(), "nobody".to_owned());
    let closed = gate.pass().await.unwrap_err();
    assert!(closed.0.contains("nobody has not flushed"), "{closed}");
}
