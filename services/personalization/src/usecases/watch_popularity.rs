//! Keeps what is popular in the memory of the process: refreshed every few seconds by one task, read by every answer without
//! waiting, and all that is left when the store is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::Sku;

use super::App;
use super::error::StoreUnavailable;
use super::ports::Shelf;
use crate::domain::recommend::Popular;

/// How old the lists may be while the store answers. What is trending moves in hours; three seconds keep a demonstration lively.
pub const REFRESH: Duration = Duration::from_secs(3);

/// Categories kept ready: more than a shop's main tree shows. Others are read when somebody cares about them.
const CATEGORIES: usize = 64;

/// Products per list: five times the usual page, so that leaving out what was seen still fills it.
pub const LIST_LENGTH: usize = 100;

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

/// Reads the lists anew.
///
/// # Errors
/// [`StoreUnavailable`]: the lists stay as they were.
pub async fn refresh(app: &App) -> Result<(), StoreUnavailable> {
    let now_ms = app.clock.now().timestamp_millis();
    let categories = app.shelves.active_categories(CATEGORIES, now_ms).await?;
    let mut shelves = vec![Shelf::Everything, Shelf::Newest];
    shelves.extend(categories.iter().cloned().map(Shelf::Category));
    let mut lists = app.shelves.lists(&shelves, LIST_LENGTH, now_ms).await?.into_iter();
    let mut everything = lists.next().unwrap_or_default();
    let trending = everything.len();
    for newest in lists.next().unwrap_or_default() {
        if everything.len() < LIST_LENGTH && !everything.iter().any(|popular| popular.sku == newest.sku) {
            // New things come after everything that anybody has clicked on.
            everything.push(Popular { weight: 0.0, ..newest });
        }
    }
    app.popularity.replace(Crowd { everything, trending, categories: categories.into_iter().zip(lists).collect() });
    Ok(())
}
