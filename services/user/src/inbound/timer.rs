//! Work that a clock asks for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::usecases::{App, reconcile_sign_ups};

/// Looks for interrupted sign-ups every `pause`, at most `at_once` of them, until `shutdown`. A failure is logged and the next
/// round tries again; several processes may do this at once, since each step is a commit that only one of them wins.
pub async fn reconcile_sign_ups_forever(app: App, pause: Duration, at_once: u32, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        match reconcile_sign_ups(&app, at_once).await {
            Ok(done) if done.completed + done.abandoned > 0 => {
                tracing::info!(
                    completed = done.completed,
                    abandoned = done.abandoned,
                    postponed = done.postponed,
                    "interrupted sign-ups carried on"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(reason = chassis::problem::chain(&error), "interrupted sign-ups have to wait"),
        }
    }
}
