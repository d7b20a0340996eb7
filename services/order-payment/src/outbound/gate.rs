//! The gate to the standby site: money moves only after what was committed for it is on the standby's disk, so that a charge
//! survives the loss of the region.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;

use crate::usecases::ports::{GateClosed, ReplicationGate};

/// For a site without a standby, such as a laptop: everything is as safe as it gets. Chosen by `gate.standby = ""`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStandby;

#[async_trait]
impl ReplicationGate for NoStandby {
    async fn pass(&self) -> Result<(), GateClosed> {
        Ok(())
    }
}

/// Between two looks at the standby: a round trip inside a jurisdiction takes about as long.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long one payment waits here before it is put off. Holding is the rule while the link is down.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the standby named in `gate.standby` has flushed everything this primary had written when asked. The role needs
/// `pg_monitor`; without it the position is hidden and the gate stays closed.
#[derive(Clone, Debug)]
pub struct StandbyGate {
    pool: PgPool,
    standby: String,
}

impl StandbyGate {
    pub fn new(pool: PgPool, standby: String) -> Self {
        Self { pool, standby }
    }

    async fn wait(&self) -> Result<(), GateClosed> {
        let closed = |error: sqlx::Error| GateClosed(error.to_string());
        let position: String =
            sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&self.pool).await.map_err(closed)?;
        loop {
            let flushed: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = $1 AND flush_lsn >= $2::text::pg_lsn)",
            )
            .bind(&self.standby)
            .bind(&position)
            .fetch_one(&self.pool)
            .await
            .map_err(closed)?;
            if flushed {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[async_trait]
impl ReplicationGate for StandbyGate {
    async fn pass(&self) -> Result<(), GateClosed> {
        match tokio::time::timeout(PATIENCE, self.wait()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(GateClosed(format!("{} has not flushed within {} s", self.standby, PATIENCE.as_secs()))),
        }
    }
}
