//! Tells the edge what pages and lists show otherwise although nobody changed a product: a price or a sale began or ended by its time, a
//! level of the stock moved, or people want something else. For each of these the documents of the index are written again, and whoever
//! does so does it through [`Renewing`]: what the index learns in this way, the edge hears of. Changes of products are told by `purges`.
//! The level of one variant is on the page of its product and in no document while another is there sooner: whoever follows the stock
//! puts that page down.
//!
//! Decided here: that nobody waits for the edge, and how long it is tried. No copy lives longer than [`PATIENCE`] at the edge, so news that
//! was not taken until then need not be told any more, and none has to outlast the process.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use common::Sku;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::http::finished::{SHOP_KEY, category_key, product_key};
use super::purges::{HELD, purge};
use crate::domain::product::Revision;
use crate::domain::standing::Standing;
use crate::metrics::PURGED;
use crate::usecases::ports::products::{Applied, IndexDown, TurningIndex};
use crate::usecases::ports::purger::{AT_ONCE, Purger};
use crate::usecases::ports::standings::StandingIndex;

/// The longest life of a copy: `s-maxage` and `stale-while-revalidate` of a page.
const PATIENCE: Duration = Duration::from_secs(40);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Writings whose news wait to be told. What finds no room ends by its age.
const MOST_WAITING: usize = 64;

/// What is out of date since a moment, by the keys that the answers carried.
#[derive(Debug)]
pub struct News {
    since: Instant,
    keys: BTreeSet<String>,
}

/// Puts news down for whoever tells them; by default there is nobody to be told.
#[derive(Clone, Debug, Default)]
pub struct Post(Option<Sender<News>>);

/// Where news are put down, and where they come out.
pub fn post() -> (Post, Receiver<News>) {
    let (news, told) = mpsc::channel(MOST_WAITING);
    (Post(Some(news)), told)
}

impl Post {
    fn put_down(&self, revisions: &[Revision]) {
        let Some(post) = &self.0 else { return };
        let mut keys: BTreeSet<String> = revisions.iter().map(|revision| product_key(revision.sku())).collect();
        for product in revisions.iter().filter_map(Revision::live) {
            keys.extend(product.category.lineage().map(category_key));
        }
        keys.insert(SHOP_KEY.to_owned());
        Self::put(post, keys);
    }

    /// The pages of these products say something else, and no list does.
    pub(super) fn put_down_pages(&self, products: &HashSet<Sku>) {
        if let Some(post) = self.0.as_ref().filter(|_| !products.is_empty()) {
            Self::put(post, products.iter().map(product_key).collect());
        }
    }

    fn put(post: &Sender<News>, keys: BTreeSet<String>) {
        let count = keys.len();
        if post.try_send(News { since: Instant::now(), keys }).is_err() {
            given_up(count);
        }
    }
}

/// An index whose documents are written again for what the edge shows too.
pub struct Renewing<I> {
    index: I,
    post: Post,
}

impl<I> Renewing<I> {
    pub fn new(index: I, post: Post) -> Self {
        Self { index, post }
    }
}

#[async_trait]
impl<I: TurningIndex> TurningIndex for Renewing<I> {
    async fn turned(&self, limit: usize) -> Result<Vec<Sku>, IndexDown> {
        self.index.turned(limit).await
    }

    async fn renew(&self, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        let applied = self.index.renew(revisions).await?;
        if applied.written > 0 {
            self.post.put_down(revisions);
        }
        Ok(applied)
    }
}

#[async_trait]
impl<I: StandingIndex> StandingIndex for Renewing<I> {
    async fn standings(&self, skus: &[Sku]) -> Result<HashMap<Sku, Standing>, IndexDown> {
        self.index.standings(skus).await
    }

    async fn popular(&self, limit: usize) -> Result<Vec<Sku>, IndexDown> {
        self.index.popular(limit).await
    }
}

/// Tells the edge, until `shutdown`.
pub async fn tell(edge: &dyn Purger, mut news: Receiver<News>, shutdown: CancellationToken) {
    shutdown.run_until_cancelled(tell_all(edge, &mut news)).await;
}

async fn tell_all(edge: &dyn Purger, news: &mut Receiver<News>) {
    let mut waiting = Vec::new();
    while news.recv_many(&mut waiting, MOST_WAITING).await > 0 {
        let newest = waiting.iter().map(|news| news.since).max().unwrap_or_else(Instant::now);
        let keys: BTreeSet<String> = waiting.drain(..).flat_map(|news| news.keys).collect();
        // As in `purges`: whoever asks right after a purge must not be given the old answer, which the edge would keep.
        sleep_until(newest + Duration::from_millis(HELD.unsigned_abs())).await;
        tell_until(newest + PATIENCE, edge, &keys.into_iter().collect::<Vec<_>>()).await;
    }
}

/// What the edge has taken is not told again when it refuses the next request.
async fn tell_until(end: Instant, edge: &dyn Purger, keys: &[String]) {
    let mut left = keys;
    while !left.is_empty() {
        let portion = &left[..left.len().min(AT_ONCE)];
        match purge(edge, portion).await {
            Ok(()) => left = &left[portion.len()..],
            Err(error) => {
                if Instant::now() + PAUSE > end {
                    tracing::warn!(reason = %error, keys = left.len(), "the edge was not told; its copies end by their age");
                    return given_up(left.len());
                }
                sleep(PAUSE).await;
            }
        }
        if Instant::now() > end {
            return given_up(left.len());
        }
    }
}

fn given_up(keys: usize) {
    PURGED.with_label_values(&["given_up"]).inc_by(keys as u64);
}
