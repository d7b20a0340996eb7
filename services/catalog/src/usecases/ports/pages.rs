//! What finished pages ask of the world: to be told what changed.

use async_trait::async_trait;
use common::Sku;

use super::stock::StoreError;

/// Somebody in this process who keeps what was made from revisions.
pub trait Forgets: Send + Sync {
    /// Whatever was made of these is out of date.
    fn forget(&self, skus: &[Sku]);
}

/// Movements of the stock since a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockChanges {
    /// Where the next question begins.
    pub mark: i64,
    /// SKUs whose counts moved, or the limit of what may be promised of them, each once; some of them may have been told before.
    pub skus: Vec<Sku>,
}

/// Movements get their numbers before they are committed, so a lower one may come after a higher one: this many before the newest are
/// looked at again. Five receipts with as many lines as a receipt may have, which is more than is committed while one commit lasts.
pub const OVERLAP: i64 = 5 * 500;

/// The stock as something that moves.
#[async_trait]
pub trait StockWatch: Send + Sync {
    /// Where the movements stand now.
    async fn mark(&self) -> Result<i64, StoreError>;

    /// What moved after `mark`, a bounded number of movements at a time.
    async fn moved_since(&self, mark: i64) -> Result<StockChanges, StoreError>;
}
