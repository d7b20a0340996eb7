//! The gate to the standby site: money moves only after what was committed for it is on the standby's disk, so that a charge
//! survives the loss of the region.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;

use crate::usecases::ports::{GateClosed, ReplicationGate};

/// For a site without a standby, such as a laptop: everything is as safe as it gets. Chosen by `gate.slot = ""`.
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

/// Waits until the standby that streams through the slot `gate.slot` has flushed everything this primary had written when asked.
///
/// The slot is asked and not `pg_stat_replication`: it remembers the last position that its standby has reported as flushed, whichever
/// member of the standby cluster reads it, and every role may see it. Positions of walsenders are hidden from a role that may not watch
/// the whole server, and nobody at a site could give the service that right. One that nobody reads may just have been made, and then begins
/// where this server was.
#[derive(Clone, Debug)]
pub struct StandbyGate {
    pool: PgPool,
    slot: String,
}

impl StandbyGate {
    pub fn new(pool: PgPool, slot: String) -> Self {
        Self { pool, slot }
    }

    async fn wait(&self) -> Result<(), GateClosed> {
        let closed = |error: sqlx::Error| GateClosed(error.to_string());
        let position: String =
            sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&self.pool).await.map_err(closed)?;
        loop {
            let flushed: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_replication_slots
                                WHERE slot_name = $1 AND slot_type = 'physical' AND active AND restart_lsn >= $2::text::pg_lsn)",
            )
            .bind(&self.slot)
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
            Err(_) => {
                Err(GateClosed(format!("what reads {} has not flushed within {} s", self.slot, PATIENCE.as_secs())))
            }
        }
    }
}
