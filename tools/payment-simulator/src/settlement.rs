//! Moves the money of intents that are `processing` once their time has come. The due times are in the state file, so a
//! restart forgets none.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, settle};
use crate::store::StoreError;

/// How often the queue is looked at: the precision of a settlement.
const LOOK: Duration = Duration::from_millis(100);
/// Settled in one go; the next look takes the rest.
const AT_ONCE: usize = 64;

/// Settles what is due until `shutdown`.
pub async fn run(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = settle_due(&gateway).await {
            tracing::error!(error = &error as &dyn std::error::Error, "settlement failed");
        }
    }
}

async fn settle_due(gateway: &Gateway) -> Result<(), StoreError> {
    let now_ms = gateway.clock.now().timestamp_millis();
    let waiting = gateway.store.read(|reading| reading.settlements(AT_ONCE)).await?;
    let due: Vec<_> = waiting.into_iter().filter(|((due, _), _)| *due <= now_ms.unsigned_abs()).collect();
    if due.is_empty() {
        return Ok(());
    }
    let telling = gateway.webhooks.telling();
    let settled = gateway
        .store
        .write(move |session| due.iter().try_for_each(|(key, intent)| settle(session, *key, intent, now_ms, telling)));
    settled.await?;
    gateway.webhooks.wake();
    Ok(())
}
