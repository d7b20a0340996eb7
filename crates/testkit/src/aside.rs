//! Whether work is done on another thread than the one that answers. Decided by who runs, not by how long it takes.

use std::future::Future;
use std::sync::mpsc;

use tokio::runtime::Builder;

/// Runs `work` on a thread that also answers, and says whether the answering had a turn meanwhile. The only thread for blocking work is
/// kept busy until then: work that goes there waits for it, and work that is done where it stands, or not at all, ends before. What
/// `work` waits for otherwise must be at hand at once.
///
/// # Panics
/// In a runtime, because it makes one of its own; and with what `work` panics with.
pub fn is_done_aside(work: impl Future<Output = ()>) -> bool {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        let (release, held) = mpsc::channel::<()>();
        // Ends with the first turn, or with the sender.
        tokio::task::spawn_blocking(move || held.recv());
        let answer = async move { drop(release) };
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = &mut work => return false,
            () = answer => {}
        }
        work.await;
        true
    })
}
