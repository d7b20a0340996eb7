//! While the index is away, this process answers from what it keeps of the assortment itself. Decided here: when it does (the index
//! failed, and everything was read from the store once), and how it is filled and kept true. What is kept and found is decided in
//! `domain/stand_in`. An answer made this way always says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{Region, Sku};

use super::App;
use super::ports::products::{Completion, Found, Hit, IndexDown, Page, ProductStore, StoreDown, Total};
use crate::domain::product::{CategoryPath, Revision};
use crate::domain::search_query::COUNT_UP_TO;
use crate::domain::stand_in::{Ask, Kept, StandIn as Assortment};
use crate::domain::standing::Standing;
use crate::metrics::{STAND_IN_BYTES, STAND_IN_PRODUCTS, STOOD_IN};

/// Products read from the store at once.
const PORTION: usize = 200;
/// Of them so many at once: their words are taken apart under the lock.
const AT_ONCE: usize = 20;
/// Before a store that did not answer is asked again: short, because the index may be the next to go away.
const PAUSE: Duration = Duration::from_secs(1);
/// Completions of one answer, as many as the index gives.
const COMPLETIONS: usize = 10;
/// What an answer to a search is without when it was made here, as the API names it: words and texts of descriptions, the list of
/// attributes beside each product, marked passages, and what sold-out or popular products lose or gain in the order.
pub const WITHOUT: &[&str] = &["descriptions", "attribute_lists", "highlights", "standing"];

/// An answer and whether it was made without the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    pub value: T,
    pub degraded: bool,
}

#[derive(Debug)]
pub struct StandIn {
    assortment: RwLock<Assortment>,
    /// Everything was read once; before that it would find too little.
    is_ready: AtomicBool,
    /// The last question was answered here.
    is_standing_in: AtomicBool,
}

impl StandIn {
    /// Empty; it answers nothing before it was filled.
    pub fn new(region: Region, max_bytes: usize) -> Self {
        Self {
            assortment: RwLock::new(Assortment::new(region, max_bytes)),
            is_ready: AtomicBool::new(false),
            is_standing_in: AtomicBool::new(false),
        }
    }

    /// Never answers: for whoever has no index to stand in for.
    pub fn nobody() -> Self {
        Self::new(Region::ALL[0], 0)
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Takes revisions in, in any order; the newest of each product stays.
    pub fn apply(&self, revisions: &[Revision]) {
        for few in revisions.chunks(AT_ONCE) {
            let mut assortment = self.assortment.write().unwrap_or_else(PoisonError::into_inner);
            few.iter().for_each(|revision| assortment.apply(revision));
        }
    }

    /// The index's answer, else what is made `instead`, else the index's failure.
    pub(super) fn unless<T>(
        &self,
        answered: Result<T, IndexDown>,
        instead: impl FnOnce() -> Option<T>,
    ) -> Result<Answered<T>, IndexDown> {
        match answered {
            Ok(value) => {
                if self.is_standing_in.load(Ordering::Relaxed) && self.is_standing_in.swap(false, Ordering::Relaxed) {
                    tracing::info!("the search index answers again");
                }
                Ok(Answered { value, degraded: false })
            }
            Err(error) => {
                let Some(value) = instead() else {
                    STOOD_IN.with_label_values(&["unable"]).inc();
                    return Err(error);
                };
                // Said once for each absence: every question until then fails in the same way.
                if !self.is_standing_in.swap(true, Ordering::Relaxed) {
                    tracing::warn!(reason = %error, "the search index is away; this process answers from its own memory");
                }
                Ok(Answered { value, degraded: true })
            }
        }
    }

    pub(super) fn search(&self, page: Page<'_>, at: DateTime<Utc>) -> Option<Found> {
        let Page { query, language, from, size } = page;
        let picked = self.ready("search")?.search(Ask { query, language, at, from, size });
        let counted = (picked.total as u64).min(COUNT_UP_TO);
        Some(Found {
            hits: picked.kept.into_iter().map(Hit::from).collect(),
            facets: picked.facets,
            total: Total { value: counted, exact: picked.exact && picked.total as u64 == counted },
            corrected: picked.corrected,
            reading: picked.reading,
            without_filters: picked.without_filters as u64,
        })
    }

    pub(super) fn list(
        &self,
        category: Option<&CategoryPath>,
        after: Option<&Sku>,
        size: usize,
        at: DateTime<Utc>,
    ) -> Option<Vec<Hit>> {
        Some(self.ready("list")?.list(category, after, size, at).into_iter().map(Hit::from).collect())
    }

    fn ready(&self, asked: &str) -> Option<RwLockReadGuard<'_, Assortment>> {
        if !self.is_ready() {
            return None;
        }
        STOOD_IN.with_label_values(&[asked]).inc();
        Some(self.assortment.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Kept> for Hit {
    fn from(kept: Kept) -> Self {
        Self {
            product: kept.product,
            revision: kept.revision,
            relevance: kept.relevance,
            highlights: Vec::new(),
            standing: Standing::default(),
        }
    }
}

/// Category paths with the number of products in and below each, by path.
pub async fn categories(app: &App) -> Result<Answered<Vec<(String, u64)>>, IndexDown> {
    let stand_in = &app.products.stand_in;
    let instead = || Some(stand_in.ready("categories")?.categories(app.clock.now()));
    stand_in.unless(app.products.index.categories().await, instead)
}

/// How what has been typed may go on.
pub async fn completions(app: &App, text: &str, language: &str) -> Result<Answered<Vec<Completion>>, IndexDown> {
    let stand_in = &app.products.stand_in;
    let instead = || {
        let (brands, names) = stand_in.ready("completions")?.completions(text, language, app.clock.now());
        let of = |kind: &'static str| move |text: String| Completion { text, kind };
        let all = brands.into_iter().map(of("brand")).chain(names.into_iter().map(of("product")));
        Some(all.take(COMPLETIONS).collect())
    };
    stand_in.unless(app.products.index.completions(text, language).await, instead)
}

/// Reads the whole store into `stand_in`, with a pause after each portion; from then on it may answer. Whoever hears of changes tells
/// it before this begins, so that nothing falls in between. It goes on where the store went away, and ends when it has read all.
pub async fn fill(store: &dyn ProductStore, stand_in: &StandIn, pace: Duration) {
    let mut read = 0;
    for portion in until_answered(|| store.skus()).await.chunks(PORTION) {
        let portion = until_answered(|| store.newest_readable(portion)).await;
        stand_in.apply(&portion);
        read += portion.len();
        tokio::time::sleep(pace).await;
    }
    stand_in.is_ready.store(true, Ordering::Relaxed);
    let (products, bytes, left_out) = stand_in.told();
    tracing::info!(read, products, bytes, left_out, "the stand-in of the search index is filled");
    if left_out > 0 {
        tracing::warn!(
            left_out,
            "the assortment does not fit into stand_in.max_bytes; its rest is found by the index only"
        );
    }
}

/// Asks the store again and again, every [`PAUSE`].
async fn until_answered<T, Asked>(ask: impl Fn() -> Asked) -> T
where
    Asked: Future<Output = Result<T, StoreDown>>,
{
    let mut told = false;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if !told => {
                told = true;
                tracing::warn!(reason = %error, "the stand-in of the search index waits to be filled");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl StandIn {
    /// Products, bytes, and revisions that found no room, told to the metrics as well.
    pub fn told(&self) -> (usize, usize, u64) {
        let assortment = self.assortment.read().unwrap_or_else(PoisonError::into_inner);
        let (products, bytes, left_out) = (assortment.count(), assortment.bytes(), assortment.left_out());
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        STAND_IN_BYTES.with_label_values::<&str>(&[]).set(gauge(bytes));
        STAND_IN_PRODUCTS.with_label_values(&["findable"]).set(gauge(products));
        STAND_IN_PRODUCTS.with_label_values(&["left_out"]).set(i64::try_from(left_out).unwrap_or(i64::MAX));
        (products, bytes, left_out)
    }
}
