//! Migrations: the tables of this crate (numbers below 0100) and those of the service (from 0100), applied as one list,
//! then the rights of the application role and the tie to the region.

use std::str::FromStr as _;

use common::Region;
use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::database::Database;

static SHARED: Migrator = sqlx::migrate!("../../migrations/messaging");

/// Applies what is missing, grants the shared tables to `app_role`, and ties the database to `region`.
///
/// # Errors
/// What the database said. Each migration is applied whole or not at all; run it again after the cause is gone.
pub async fn migrate(
    owner_url: &str,
    app_role: &str,
    region: Region,
    epoch: i64,
    holder: &str,
    service: &Migrator,
) -> anyhow::Result<()> {
    // One connection; a migration that cannot get its lock gives up instead of holding up every request behind it.
    let options = PgConnectOptions::from_str(owner_url)?.options([("lock_timeout", "2s")]);
    let owner = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    combined(service).run(&owner).await?;
    for grant in grants(app_role)? {
        sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(&owner).await?;
    }
    sqlx::query("SELECT bind_region($1, $2, $3)").bind(region.code()).bind(epoch).bind(holder).execute(&owner).await?;
    owner.close().await;
    Ok(())
}

/// Whether every migration of this binary has been applied; a process that finds one pending does not start.
///
/// # Errors
/// The first version that is missing, or what the database said.
pub async fn verify(database: &Database, service: &Migrator) -> anyhow::Result<()> {
    let mut connection = database.pool.acquire().await?;
    let migrator = combined(service);
    let applied: Vec<i64> = connection
        .list_applied_migrations(&migrator.table_name)
        .await?
        .into_iter()
        .map(|migration| migration.version)
        .collect();
    match migrator.iter().find(|migration| !applied.contains(&migration.version)) {
        Some(pending) => anyhow::bail!(
            "migration {} ({}) is pending: run the migrate role first",
            pending.version,
            pending.description
        ),
        None => Ok(()),
    }
}

fn combined(service: &Migrator) -> Migrator {
    Migrator::with_migrations(SHARED.iter().chain(service.iter()).cloned().collect())
}

/// The application role may use the shared tables as this crate does and no further: it reads the fence but never moves it.
fn grants(app_role: &str) -> anyhow::Result<Vec<String>> {
    anyhow::ensure!(
        app_role.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        "{app_role} is not a role name"
    );
    Ok([
        "GRANT USAGE ON SCHEMA public",
        "GRANT SELECT ON region_fence, _sqlx_migrations",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, parked_messages",
        "GRANT SELECT, INSERT, DELETE ON inbox, requests",
        "GRANT SELECT, INSERT, UPDATE ON confirmations",
        "GRANT SELECT, INSERT ON operator_actions",
    ]
    .map(|grant| format!("{grant} TO {app_role}"))
    .to_vec())
}
