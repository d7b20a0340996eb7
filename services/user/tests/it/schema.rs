//! What the database itself guarantees, whatever the code does: the tables that were asked for, one region, least rights.

use sqlx::PgPool;
use testkit::TestDatabase;
use user::outbound::postgres::PostgresPeople;
use user::usecases::ports::People as _;

use crate::support::{ELSEWHERE, HERE, registration};

async fn database() -> TestDatabase {
    TestDatabase::create("user_profile", &user::MIGRATOR).await
}

#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Column {
    column_name: String,
    data_type: String,
    character_maximum_length: Option<i32>,
    is_nullable: String,
}

fn column(name: &str, data_type: &str, length: Option<i32>) -> Column {
    Column {
        column_name: name.to_owned(),
        data_type: data_type.to_owned(),
        character_maximum_length: length,
        is_nullable: "NO".to_owned(),
    }
}

/// S-36: the columns of `users` and their types are given; others may be added.
#[tokio::test]
async fn users_has_the_columns_and_types_that_are_required() {
    let database = database().await;
    let columns: Vec<Column> = sqlx::query_as(
        "SELECT column_name::text, data_type::text, character_maximum_length::int, is_nullable::text
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'users'",
    )
    .fetch_all(&database.owner)
    .await
    .expect("the catalog can be read");
    let required = [
        column("user_id", "uuid", None),
        column("first_name", "character varying", Some(50)),
        column("residency_region", "character varying", Some(10)),
        column("created_at", "timestamp without time zone", None),
    ];
    for column in required {
        assert!(columns.contains(&column), "{column:?} in {columns:?}");
    }
    let key: Vec<String> = sqlx::query_scalar(
        "SELECT usage.column_name::text
         FROM information_schema.table_constraints AS constraints
         JOIN information_schema.key_column_usage AS usage USING (constraint_name, table_schema)
         WHERE constraints.table_name = 'users' AND constraints.constraint_type = 'PRIMARY KEY'",
    )
    .fetch_all(&database.owner)
    .await
    .expect("the catalog can be read");
    assert_eq!(key, ["user_id"]);
}

/// Tries one insert per table as the owner of the tables, for whom no right is missing.
#[tokio::test]
async fn a_row_of_another_region_is_refused_by_every_table_with_personal_data() {
    let database = database().await;
    let person = registration();
    PostgresPeople::new(database.database.clone()).register(&person).await.expect("a commit");
    let inserts = [
        "INSERT INTO users (user_id, first_name, last_name, email, language, residency_region, created_at, updated_at)
         VALUES (gen_random_uuid(), 'a', 'b', 'c', 'en', $1, now(), now())",
        "INSERT INTO consents (user_id, version, personalisation, marketing, changed_at, residency_region)
         SELECT user_id, 9, true, true, now(), $1 FROM users LIMIT 1",
        "INSERT INTO addresses (user_id, position, recipient, line1, postal_code, city, country, residency_region)
         SELECT user_id, 0, 'a', 'b', 'c', 'd', 'DE', $1 FROM users LIMIT 1",
        "INSERT INTO sign_ups (sign_up_id, state, next_look_at, created_at, residency_region) VALUES (gen_random_uuid(), 'open', now(), now(), $1)",
    ];
    for insert in inserts {
        let refused = sqlx::query(insert).bind(ELSEWHERE.code()).execute(&database.owner).await.expect_err(insert);
        assert_eq!(
            refused.as_database_error().and_then(|error| error.code()).as_deref(),
            Some("23514"),
            "{insert}: {refused}"
        );
        sqlx::query(insert).bind(HERE.code()).execute(&database.owner).await.expect(insert);
    }
    assert_eq!(tables_without_region(&database.owner).await, Vec::<String>::new());
}

/// Tables that hold what belongs to a person and do not say where that person lives. Those of the event machinery have rules of
/// their own.
async fn tables_without_region(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name IN ('users', 'consents', 'addresses', 'sign_ups')
           AND table_name NOT IN (SELECT table_name FROM information_schema.columns WHERE column_name = 'residency_region')",
    )
    .fetch_all(pool)
    .await
    .expect("the catalog can be read")
}

#[tokio::test]
async fn the_service_may_not_do_what_it_never_does() {
    let database = database().await;
    let person = registration();
    PostgresPeople::new(database.database.clone()).register(&person).await.expect("a commit");
    let forbidden = [
        "UPDATE consents SET personalisation = true",
        "DELETE FROM consents",
        "DELETE FROM users",
        "TRUNCATE users CASCADE",
        "UPDATE region_fence SET epoch = 99",
        "DROP TABLE addresses",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE users DROP COLUMN email",
    ];
    for statement in forbidden {
        let refused = sqlx::query(statement).execute(database.database.pool()).await.expect_err(statement);
        assert_eq!(
            refused.as_database_error().and_then(|error| error.code()).as_deref(),
            Some("42501"),
            "{statement}: {refused}"
        );
    }
}

#[tokio::test]
async fn relations_that_cannot_be_are_refused() {
    let database = database().await;
    let broken = [
        // Consents and addresses of nobody.
        (
            "23503",
            "INSERT INTO consents (user_id, version, personalisation, marketing, changed_at, residency_region) VALUES (gen_random_uuid(), 1, true, true, now(), 'eu')",
        ),
        (
            "23503",
            "INSERT INTO addresses (user_id, position, recipient, line1, postal_code, city, country, residency_region) VALUES (gen_random_uuid(), 0, 'a', 'b', 'c', 'd', 'DE', 'eu')",
        ),
        // A sign-up that is done without a person, or open with an end.
        (
            "23514",
            "INSERT INTO sign_ups (sign_up_id, state, next_look_at, created_at, closed_at, residency_region) VALUES (gen_random_uuid(), 'done', now(), now(), now(), 'eu')",
        ),
        (
            "23514",
            "INSERT INTO sign_ups (sign_up_id, state, next_look_at, created_at, closed_at, residency_region) VALUES (gen_random_uuid(), 'open', now(), now(), now(), 'eu')",
        ),
        (
            "23514",
            "INSERT INTO sign_ups (sign_up_id, state, next_look_at, created_at, residency_region) VALUES (gen_random_uuid(), 'maybe', now(), now(), 'eu')",
        ),
        // A name that is too long is never cut.
        (
            "22001",
            "INSERT INTO users (user_id, first_name, last_name, email, language, residency_region, created_at, updated_at) VALUES (gen_random_uuid(), repeat('x', 51), 'b', 'c', 'en', 'eu', now(), now())",
        ),
    ];
    for (code, insert) in broken {
        let refused = sqlx::query(insert).execute(&database.owner).await.expect_err(insert);
        assert_eq!(
            refused.as_database_error().and_then(|error| error.code()).as_deref(),
            Some(code),
            "{insert}: {refused}"
        );
    }
}
