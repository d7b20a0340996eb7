//! Stories of the shared tables: the tie to the region, and rights that end where the crate's need ends.

use common::Region;
use testkit::postgres::region;

use crate::world::{MIGRATIONS, database};

#[tokio::test]
async fn a_table_with_personal_data_takes_people_of_its_own_region_only() {
    let db = database().await;
    let insert = async |home: &str| {
        sqlx::query("INSERT INTO people VALUES ($1, $2)").bind(home).bind(home).execute(db.database.pool()).await
    };
    assert!(insert(region().code()).await.is_ok());
    let refused = insert(Region::ALL[1].code()).await.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|error| error.constraint()), Some("people_stays_home"));
}

#[tokio::test]
async fn a_database_stays_with_its_region_and_its_epoch_only_grows() {
    let db = database().await;
    let owner_url = testkit::servers().postgres_url(&db.name, "inventory_owner");
    messaging::migrate(&owner_url, "inventory_app", region(), 1, "again", &MIGRATIONS)
        .await
        .expect("migrating again changes nothing");
    assert!(messaging::migrate(&owner_url, "inventory_app", Region::ALL[1], 1, "thief", &MIGRATIONS).await.is_err());
    for change in [
        "UPDATE region_fence SET epoch = 3",
        "UPDATE region_fence SET epoch = 2",
        "UPDATE region_fence SET region = 'xx'",
    ] {
        let allowed = sqlx::raw_sql(change).execute(&db.owner).await.is_ok();
        assert_eq!(allowed, change.ends_with("epoch = 3"), "{change}");
    }
    assert!(messaging::schema::verify(&db.database, &MIGRATIONS).await.is_ok());
}

#[tokio::test]
async fn the_application_role_cannot_move_the_fence_or_forge_the_past() {
    let db = database().await;
    for statement in [
        "UPDATE region_fence SET epoch = 9",
        "DELETE FROM region_fence",
        "UPDATE inbox SET consumer = 'x'",
        "UPDATE requests SET status = 200",
        "CREATE TABLE mine (x INT)",
        "DROP TABLE outbox",
    ] {
        assert!(sqlx::raw_sql(statement).execute(db.database.pool()).await.is_err(), "{statement}");
    }
}
