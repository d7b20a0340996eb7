//! Keeps what is popular in the memory of the process: refreshed every few seconds by one task, read by every answer without
//! waiting, and all that is left when the store is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::Sku;

use super::App;
use super::error::StoreUnavailable;
use super::lists::is_offered;
use super::ports::Shelf;
use crate::domain::recommend::Popular;

/// How old the lists may be while the store answers. What is trending moves in hours; three seconds keep a demonstration lively.
pub const REFRESH: Duration = Duration::from_secs(3);

/// Categories kept ready: more than a shop's main tree shows. Others are read when somebody cares about them.
const CATEGORIES: usize = 64;

/// Products per list of a category: five times the usual page, so that leaving out what was seen still fills it.
pub const LIST_LENGTH: usize = 100;

/// Products of the whole shop: as many as anybody may ask for, and half of it again for what was seen, or has gone since.
const EVERYTHING: usize = LIST_LENGTH * 3 / 2;

/// What the crowd likes.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Trending in the whole shop, then the newest products: never empty unless the shop is.
    pub everything: Vec<Popular>,
    /// How many of `everything` are trending; the rest are there for being new.
    pub trending: usize,
    pub categories: HashMap<String, Vec<Popular>>,
}

impl Crowd {
    /// Products of the whole shop in order.
    pub fn skus(&self) -> Vec<Sku> {
        self.everything.iter().map(|popular| popular.sku.clone()).collect()
    }
}

/// The current [`Crowd`], swapped as a whole.
#[derive(Default)]
pub struct Popularity(ArcSwap<Crowd>);

impl Popularity {
    pub fn current(&self) -> Arc<Crowd> {
        self.0.load_full()
    }

    pub fn replace(&self, crowd: Crowd) {
        self.0.store(Arc::new(crowd));
    }
}

/// Reads the lists anew, without what is not offered at this moment: what has gone would else stay for as long as people clicked on it.
/// Where there is nothing because the store has lost everything, they stay as they were.
///
/// # Errors
/// [`StoreUnavailable`]: the lists stay as they were.
pub async fn refresh(app: &App) -> Result<(), StoreUnavailable> {
    let now_ms = app.clock.now().timestamp_millis();
    let categories = app.shelves.active_categories(CATEGORIES, now_ms).await?;
    // Twice as many as are kept, for those that have gone.
    let mut whole = app.shelves.lists(&[Shelf::Everything, Shelf::Newest], 2 * EVERYTHING, now_ms).await?;
    let shelves: Vec<Shelf> = categories.iter().cloned().map(Shelf::Category).collect();
    let mut lists = app.shelves.lists(&shelves, LIST_LENGTH, now_ms).await?;
    for list in whole.iter_mut().chain(&mut lists) {
        leave_out_what_has_gone(app, list, now_ms).await?;
    }
    let mut whole = whole.into_iter();
    let mut everything = whole.next().unwrap_or_default();
    everything.truncate(EVERYTHING);
    let trending = everything.len();
    for newest in whole.next().unwrap_or_default() {
        if everything.len() < EVERYTHING && !everything.iter().any(|popular| popular.sku == newest.sku) {
            // New things come after everything that anybody has clicked on.
            everything.push(Popular { weight: 0.0, ..newest });
        }
    }
    if everything.is_empty() && !app.features.are_learned().await? {
        // The store has lost everything: what was popular before is all there is until it has learned again.
        return Ok(());
    }
    app.popularity.replace(Crowd { everything, trending, categories: categories.into_iter().zip(lists).collect() });
    Ok(())
}

/// Most features are in the memory of the process: the store is asked for those that are not.
async fn leave_out_what_has_gone(app: &App, list: &mut Vec<Popular>, now_ms: i64) -> Result<(), StoreUnavailable> {
    let skus: Vec<Sku> = list.iter().map(|popular| popular.sku.clone()).collect();
    let features = app.features.features(&skus).await?;
    list.retain(|popular| is_offered(&features, &popular.sku, now_ms));
    // Thousands of products in all, and answers wait for the same processor.
    tokio::task::yield_now().await;
    Ok(())
}
