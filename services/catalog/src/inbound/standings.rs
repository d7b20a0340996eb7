//! Follows the stock and the trends, and has the documents written whose standing changed. The level of one variant may change no
//! document and is on its product's page all the same: the edge is told of that page here.
//!
//! What moved is read from the movements by their number, as the finished pages do it (`freshness`): however often a product moved since
//! the last look, it is one product; and only one whose level is another than the last time is looked up at all. What moved while no
//! process looked is found by beginning a little before, and by the audit of the index for whatever is older.
//!
//! Whoever writes a document asks for the level first and posts the document afterwards, so a level that moves in between is written by us
//! and then overwritten. A product is therefore looked at once more when no such document can be on its way any longer.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use common::Sku;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::edge_news::Post;
use crate::domain::inventory::Level;
use crate::metrics::STANDINGS_WRITTEN;
use crate::usecases::keep_standings::{Known, keep_standings, owners_of};
use crate::usecases::ports::pages::{OVERLAP, StockWatch};
use crate::usecases::ports::products::{ProductStore, TurningIndex};
use crate::usecases::ports::standings::{StandingIndex, Trends};
use crate::usecases::renew_turned::RenewError;

/// Between two looks at the stock: a search may be this much, and a refresh of the index, behind the shelf.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks at the stock between two at what is trending, which moves in hours.
const TRENDS_EVERY: u32 = 60;
/// Longest pause while store or index are away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Movements before the newest at which the first look begins: what a restart misses.
const BEFORE: i64 = 5_000;
/// SKUs whose last level is remembered, some fifty bytes each; then all are forgotten, and looked up once more. As many wait to be looked
/// at again; of more the audit of the index finds what is wrong.
const MOST_SEEN: usize = 200_000;
/// From a level that moved until its document is looked at again: longer than the writing of a batch of documents may take, which is 20 s.
const SETTLES_IN: Duration = Duration::from_secs(25);
/// Documents that may say that they are popular: twice what is trending.
const MOST_POPULAR: usize = 200;

/// What one follower remembers.
pub struct Seen {
    mark: Option<i64>,
    levels: HashMap<Sku, Level>,
    /// Whose level moved, and from when on it is looked at again; the earliest first.
    unsettled: VecDeque<(Instant, Sku)>,
    settles_in: Duration,
}

impl Default for Seen {
    fn default() -> Self {
        Self::settling_in(SETTLES_IN)
    }
}

impl Seen {
    /// Nothing yet; what moves is looked at again after `settles_in`.
    pub fn settling_in(settles_in: Duration) -> Self {
        Self { mark: None, levels: HashMap::new(), unsettled: VecDeque::new(), settles_in }
    }
}

/// Until `shutdown`. Several processes may do so at once; then some documents are written twice.
pub async fn run<I: TurningIndex + StandingIndex>(
    store: &dyn ProductStore,
    index: &I,
    known: &Known,
    (watch, trends, post): (&dyn StockWatch, &dyn Trends, &Post),
    shutdown: CancellationToken,
) {
    let (mut seen, mut pause, mut until_trends) = (Seen::default(), LOOK_EVERY, 0_u32);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let looked = async {
            let mut written = look(store, index, known, (watch, post), &mut seen).await?;
            if until_trends == 0 {
                written += follow_trends(store, index, known, trends).await?;
                until_trends = TRENDS_EVERY;
            }
            until_trends -= 1;
            Ok::<usize, LookError>(written)
        };
        pause = match looked.await {
            Ok(written) => {
                STANDINGS_WRITTEN.with_label_values::<&str>(&[]).inc_by(written as u64);
                LOOK_EVERY
            }
            Err(error) => {
                tracing::warn!(error = %error, "availability in the search index waits to be renewed");
                (pause * 2).min(LONGEST_PAUSE)
            }
        };
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Stock(#[from] crate::usecases::ports::stock::StoreError),
    #[error(transparent)]
    Renew(#[from] RenewError),
    #[error(transparent)]
    Products(#[from] crate::usecases::ports::products::StoreDown),
    #[error(transparent)]
    Index(#[from] crate::usecases::ports::products::IndexDown),
}

/// One look at what moved. Of movements nothing is remembered by a look that failed, so the next one sees them again;
/// a limit is seen by the looks of a minute.
///
/// # Errors
/// The stock, the store or the index does not answer.
pub async fn look<I: TurningIndex + StandingIndex>(
    store: &dyn ProductStore,
    index: &I,
    known: &Known,
    (watch, post): (&dyn StockWatch, &Post),
    seen: &mut Seen,
) -> Result<usize, LookError> {
    let since = match seen.mark {
        Some(mark) => mark - OVERLAP,
        None => watch.mark().await? - BEFORE,
    };
    let moved = watch.moved_since(since).await?;
    let levels = known.levels(&moved.skus).await;
    let changed: Vec<Sku> = levels
        .iter()
        .filter(|(sku, level)| seen.levels.get(*sku) != Some(*level))
        .map(|(sku, _)| sku.clone())
        .collect();
    let now = Instant::now();
    let due = seen.unsettled.iter().take_while(|(from, _)| *from <= now).count();
    let again = seen.unsettled.iter().take(due).map(|(_, sku)| sku.clone());
    let wanted: BTreeSet<Sku> = changed.iter().cloned().chain(again).collect();
    let written = keep_standings(store, index, known, &wanted.into_iter().collect::<Vec<_>>()).await?;
    // A level that is seen for the first time may have been another: its page is told too, once.
    post.put_down_pages(&owners_of(store, &changed).await?);
    seen.unsettled.drain(..due);
    let from = now + seen.settles_in;
    seen.unsettled.extend(changed.iter().map(|sku| (from, sku.clone())));
    seen.unsettled.drain(..seen.unsettled.len().saturating_sub(MOST_SEEN));
    if seen.levels.len() + changed.len() > MOST_SEEN {
        seen.levels.clear();
    }
    seen.levels.extend(levels);
    seen.mark = Some(moved.mark.max(seen.mark.unwrap_or(0)));
    Ok(written)
}

/// One look at what is trending. What nobody can tell stays as it is.
///
/// # Errors
/// The store or the index does not answer.
pub async fn follow_trends<I: TurningIndex + StandingIndex>(
    store: &dyn ProductStore,
    index: &I,
    known: &Known,
    trends: &dyn Trends,
) -> Result<usize, LookError> {
    let Some(trending) = trends.trending().await else { return Ok(0) };
    let mut skus = index.popular(MOST_POPULAR).await?;
    let new: Vec<Sku> = trending.iter().filter(|sku| !skus.contains(sku)).cloned().collect();
    skus.extend(new);
    known.trending(trending);
    Ok(keep_standings(store, index, known, &skus).await?)
}
