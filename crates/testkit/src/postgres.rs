//! A database of its own for each test: made from a template that has the migrations, so that it costs milliseconds, and
//! dropped with the test.

use std::collections::HashMap;
use std::sync::Arc;

use common::{Region, ids};
use messaging::{Database, DatabaseSettings, Epoch};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::{Mutex, OnceCell};
use xtask::ports::Port;

use crate::servers::servers;

/// Region of the tests: the first of the topology.
pub fn region() -> Region {
    Region::ALL[0]
}

/// A migrated database that belongs to one test.
pub struct TestDatabase {
    /// As the service sees it: application role, fence, epoch 1.
    pub database: Database,
    /// As the owning role, to look at what the service may not see and to try what it must not do.
    pub owner: PgPool,
    pub name: String,
}

impl TestDatabase {
    /// A database with the migrations of `service` (`user_profile`, `order_payment`, `inventory`, …).
    ///
    /// # Panics
    /// Without the test stack, in one line that says how to start it.
    pub async fn create(service: &'static str, migrations: &'static Migrator) -> Self {
        let template = template(service, migrations).await;
        let name = format!("test_{}", ids::time_ordered().simple());
        execute_as_superuser(format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {service}_owner")).await;
        let url = |role: &str| servers().postgres_url(&name, role);
        let settings = DatabaseSettings { url: url(&format!("{service}_app")), owner_url: None, max_connections: 8 };
        let database = Database::connect(&settings, region(), Epoch::new(1)).expect("the URL is well formed");
        let owner = PgPoolOptions::new()
            .max_connections(3)
            .connect_lazy(&url(&format!("{service}_owner")))
            .expect("the URL is well formed");
        Self { database, owner, name }
    }

    /// A second process of the same service: own pool, same database.
    pub fn another_process(&self, service: &str, epoch: i64) -> Database {
        let url = servers().postgres_url(&self.name, &format!("{service}_app"));
        let settings = DatabaseSettings { url, owner_url: None, max_connections: 4 };
        Database::connect(&settings, region(), Epoch::new(epoch)).expect("the URL is well formed")
    }

    /// Entries that all indexes of `tables` gave to anybody so far: what questions cost, whatever the machine.
    pub async fn index_entries_read(&self, tables: &[&str]) -> i64 {
        // Each connection tells what it counted at most once a second, unless it is asked to. All of them, also one on its way back, and
        // those by which a test has made rows: checks of foreign keys are counted as well.
        for pool in [self.database.pool(), &self.owner] {
            let mut all = Vec::new();
            for _ in 0..pool.options().get_max_connections() {
                all.push(pool.acquire().await.expect("a connection"));
            }
            for connection in &mut all {
                sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut **connection).await.expect("statistics");
            }
        }
        sqlx::query_scalar("SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = ANY ($1)")
            .bind(tables)
            .fetch_one(&self.owner)
            .await
            .expect("statistics can be read")
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(&self.owner)
            .await
            .expect("the table can be counted")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // On a thread of its own: the test's runtime may be ending.
        let name = self.name.clone();
        let dropped = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(execute_as_superuser(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
        });
        let _ = dropped.join();
    }
}

/// One template per service and test binary; its name tells the process, so that binaries do not meet.
async fn template(service: &'static str, migrations: &'static Migrator) -> String {
    type Templates = Mutex<HashMap<&'static str, Arc<OnceCell<String>>>>;
    static TEMPLATES: std::sync::LazyLock<Templates> = std::sync::LazyLock::new(Mutex::default);

    let cell = Arc::clone(TEMPLATES.lock().await.entry(service).or_default());
    cell.get_or_init(|| async {
        let name = format!("template_{service}_{}", std::process::id());
        execute_as_superuser(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        execute_as_superuser(format!("CREATE DATABASE {name} OWNER {service}_owner")).await;
        let owner_url = servers().postgres_url(&name, &format!("{service}_owner"));
        messaging::migrate(&owner_url, &format!("{service}_app"), region(), 1, "test", migrations)
            .await
            .expect("the migrations apply");
        name
    })
    .await
    .clone()
}

async fn execute_as_superuser(statement: String) {
    let servers = servers();
    let url = servers.postgres_url("postgres", "postgres");
    let mut connection = PgConnection::connect(&url).await.unwrap_or_else(|error| {
        panic!(
            "no test PostgreSQL at {} ({error}); `./dev test` starts the test stack, `./dev servers up --offset 2000` starts it by hand",
            servers.ports.address(Port::Postgres)
        )
    });
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("the superuser may make and drop test databases");
    connection.close().await.ok();
}
