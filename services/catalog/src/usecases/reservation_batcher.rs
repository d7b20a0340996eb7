//! Folds new orders that wait at the same time into one commit. While one commit is on its way others arrive; when it is back,
//! all of them go together. On a hot SKU this is what counts: its row is locked once for many orders and not once for each.
//!
//! Nobody is told to wait: an idle batcher commits the first order at once and alone. Whoever comes first leads: commits for all
//! that wait, on its own task, and hands each its outcome. When a leader is dropped on its way the others learn it and try
//! again, so this needs no task of its own. It needs no broker either: `PgStock` and a clock are enough to drive it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use common::SharedClock;
use tokio::sync::{Semaphore, oneshot};

use super::ports::stock::{Request, Reserved, StockStore, StoreError};
use crate::metrics;

/// Orders of one commit. All partitions of a process together rarely have more at hand; beyond it the time that the locks
/// are held grows as much as what is saved.
const MOST_ORDERS: usize = 256;
/// Lines of one commit: bounds its rows whatever the baskets look like. A single order with the most lines fits.
const MOST_LINES: usize = 2_000;

/// What became of an order, or `None` when whoever committed for it went away: nothing is known, try again.
pub type Outcome = Option<Result<Reserved, StoreError>>;

pub struct ReservationBatcher {
    waiting: Mutex<VecDeque<Waiting>>,
    /// One commit at a time: a second one would wait for the first one's rows anyway, with its connection in hand.
    leader: Semaphore,
}

struct Waiting {
    request: Request,
    outcome: oneshot::Sender<Result<Reserved, StoreError>>,
}

impl Default for ReservationBatcher {
    fn default() -> Self {
        Self { waiting: Mutex::default(), leader: Semaphore::new(1) }
    }
}

impl ReservationBatcher {
    /// Commits `request`, alone or with others. The queue is as long as there are callers, and each waits for its outcome.
    pub async fn reserve(&self, stock: &dyn StockStore, clock: &SharedClock, request: Request) -> Outcome {
        let (sender, mut outcome) = oneshot::channel();
        self.queue().push_back(Waiting { request, outcome: sender });
        loop {
            tokio::select! {
                biased;
                told = &mut outcome => return told.ok(),
                leading = self.leader.acquire() => {
                    // Closed never: then the outcome can only come from another leader.
                    let Ok(_leading) = leading else { return outcome.await.ok() };
                    // Those who were told of the last commit in this moment come back with their next order: without a turn for
                    // them the first would lead alone, and every other commit would hold one order. An idle process loses nothing.
                    tokio::task::yield_now().await;
                    // Somebody may have committed ours just before we got the lead.
                    if let Ok(told) = outcome.try_recv() {
                        return Some(told);
                    }
                    self.commit_next(stock, clock).await;
                }
            }
        }
    }

    async fn commit_next(&self, stock: &dyn StockStore, clock: &SharedClock) {
        let (requests, outcomes): (Vec<Request>, Vec<_>) =
            self.next_batch().into_iter().map(|waiting| (waiting.request, waiting.outcome)).unzip();
        if requests.is_empty() {
            return;
        }
        metrics::RESERVATIONS.with_label_values(&["commits"]).inc();
        metrics::RESERVATIONS.with_label_values(&["orders"]).inc_by(requests.len() as u64);
        let committed = stock.reserve(&requests, clock.now()).await;
        for (outcome, committed) in outcomes.into_iter().zip(committed) {
            // A caller that went away hears nothing; its message comes again and finds what was committed.
            let _ = outcome.send(committed);
        }
    }

    /// In the order of arrival.
    fn next_batch(&self) -> Vec<Waiting> {
        let mut queue = self.queue();
        let mut lines = 0;
        let mut batch = Vec::new();
        while let Some(next) = queue.front() {
            lines += next.request.asked.lines.len();
            if batch.len() == MOST_ORDERS || (lines > MOST_LINES && !batch.is_empty()) {
                break;
            }
            batch.extend(queue.pop_front());
        }
        batch
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
