//! What makes pages go before their time, in each process that keeps some: revisions from the feed, levels from the stock.
//!
//! The events of the stock name orders and not products, and a level is a sum over all centres, so what moved is read from the
//! movements: they are the truth about every count, receipts included. Pages are compared with the level that follows, and only
//! those that say something else go: a product that sells well does not lose its page with each order.

use std::sync::Arc;
use std::time::Duration;

use common::{Region, Sku};
use contracts::{Event, topics};
use messaging::{Hears, Record};
use tokio_util::sync::CancellationToken;

use super::http::finished::Pages;
use crate::metrics::PAGES_BYTES;
use crate::usecases::App;
use crate::usecases::get_product::levels;
use crate::usecases::ports::pages::{OVERLAP, StockWatch};
use crate::usecases::ports::stock::{MAX_SKUS, StoreError};

/// A level is on the page this soon after it changed: half of what a shopper takes to notice.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks without a new movement after which there is nothing late to come.
const QUIET: u32 = 4;
/// Pages looked at with one question: the stock answers about a few hundred SKUs at once, and few products have many variants.
const PORTION: usize = 50;

/// Takes pages away when the feed tells of a newer revision.
pub struct Revisions {
    pages: Arc<Pages>,
    region: Region,
}

impl Revisions {
    pub fn new(pages: Arc<Pages>, region: Region) -> Self {
        Self { pages, region }
    }
}

impl Hears for Revisions {
    fn hear(&self, record: &Record) {
        // A record that cannot be read is the indexer's to complain about.
        let Ok(Event::ProductChanged(change)) = Event::decode(&topics::PRODUCT_CHANGED, &record.payload) else {
            return;
        };
        let is_ours = record.topic.ends_with(&topics::PRODUCT_CHANGED.name(self.region));
        if let (true, Ok(sku)) = (is_ours, Sku::parse(&change.sku)) {
            self.pages.changed(&sku, change.revision);
        }
    }
}

/// Takes pages away whose availability is no longer what the stock says, until `shutdown`.
pub async fn follow_stock(app: Arc<App>, watch: Arc<dyn StockWatch>, pages: Arc<Pages>, shutdown: CancellationToken) {
    let (mut mark, mut quiet) = (None, 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        PAGES_BYTES.with_label_values::<&str>(&[]).set(i64::try_from(pages.bytes()).unwrap_or(i64::MAX));
        match look(&app, &*watch, &pages, mark, quiet < QUIET).await {
            Ok(reached) => {
                quiet = if Some(reached) == mark { quiet.saturating_add(1) } else { 0 };
                mark = Some(reached);
            }
            // Ages bound what a page may say meanwhile.
            Err(error) => tracing::warn!(error = %error, "changes of the stock cannot be followed"),
        }
    }
}

/// One look; gives where the movements stand. The first look only finds that out.
pub async fn look(
    app: &App,
    watch: &dyn StockWatch,
    pages: &Pages,
    mark: Option<i64>,
    late_ones_too: bool,
) -> Result<i64, StoreError> {
    let Some(mark) = mark else { return watch.mark().await };
    let since = if late_ones_too { mark - OVERLAP } else { mark };
    let moved = watch.moved_since(since).await?;
    for shown in pages.shown_with(&moved.skus).chunks(PORTION) {
        let skus: Vec<Sku> = shown.iter().flat_map(|shown| shown.bought.iter().cloned()).take(MAX_SKUS).collect();
        if let Some(found) = levels(app, &skus).await {
            shown.iter().for_each(|shown| pages.levels(shown, &found));
        }
    }
    Ok(moved.mark.max(mark))
}
