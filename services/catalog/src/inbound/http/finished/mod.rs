//! Finished product pages of this process: bytes, tag and headers as they go out, so that a hit is a look-up and a pointer.
//!
//! Decided here: what is kept, in which memory, who makes a page that is missing, and what makes one go. A page is kept by SKU,
//! language and encoding; region and currency are those of the process. One caller makes a missing page while the others wait for
//! it. A change that is heard of takes its pages away at once, by version; ages bound what was not heard. The version of the names of
//! categories and attributes is part of the key: from the moment this process knows new ones, seconds after they were written
//! (`wiring::products`), nobody finds a page with the old ones, and what is not found makes room. Behind it stand the
//! newest revisions in Redis (`outbound/cache`), behind those the store. Not decided here: who hears of changes (`inbound/freshness`).

mod bodies;
mod encoding;
mod kin;
mod page;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chassis::Problem;
use chassis::extract::Language;
use chassis::http::{AtHand, IDENTIFYING, Shelf};
use common::Sku;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use quick_cache::sync::{Cache, EntryAction};
use quick_cache::{Equivalent, OptionsBuilder, Weighter};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use bodies::{Bodies, Sent};
pub use encoding::Encoding;
use kin::Kin;
pub use kin::Shown;
use page::{Age, Content, Lives, Page};
pub use page::{SHOP_KEY, category_key, product_key};

use crate::domain::inventory::Level;
use crate::domain::labels::Reader;
use crate::metrics::{PAGES_DROPPED, PAGES_MADE};
use crate::usecases::App;
use crate::usecases::get_product::{GetProductError, get_product, level_of};
use crate::usecases::ports::pages::Forgets;

/// Where product pages are.
const FOLDER: &str = "/v1/products/";
/// A page may be this old in a shared cache, in seconds, and be shown while it is renewed: prices are confirmed by the order.
const SHARED_PAGE: &str = "public, max-age=0, s-maxage=10, stale-while-revalidate=30";
/// After this no shared cache shows such a page any more.
const LONGEST_SHARED: Duration = Duration::from_secs(40);
/// What a CDN is told to forget by, when a product or a category changes.
pub(super) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Stands where each answer has something of its own; no answer leaves with it.
const TO_FILL: HeaderValue = HeaderValue::from_static("-");
/// What an entry takes beside its texts: key, counters, header values, slots of the table. Measured by `bench page-memory`.
const OVERHEAD: usize = 560;
/// The part of the memory that encoded lists have.
const OF_LISTS: u64 = 16;
/// SKUs whose newest number is remembered after a change, so that an older copy in Redis does not come back.
const FLOORS: usize = 50_000;
/// Pages that wait to be renewed; more are renewed by whoever asks for them.
const RENEWALS: usize = 1_024;
/// Renewals under way at once: each asks the store and the stock.
const RENEWALS_AT_ONCE: usize = 16;

/// What the settings say about pages.
#[derive(Clone, Copy, Debug)]
pub struct PageSettings {
    /// Memory for all pages of the process, and for its lists in their encodings.
    pub max_bytes: u64,
    pub fresh: Duration,
    pub stale: Duration,
}

impl Default for PageSettings {
    fn default() -> Self {
        Self { max_bytes: 16 << 20, fresh: Duration::from_secs(10), stale: Duration::from_secs(30) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    sku: Sku,
    /// Place in the languages of the region.
    language: u8,
    encoding: Encoding,
    /// Of the names on it.
    labels: i64,
}

/// A key that owns nothing. It hashes as [`Key`] does: the same fields in the same order.
#[derive(Hash)]
struct Asked<'a> {
    sku: &'a str,
    language: u8,
    encoding: Encoding,
    labels: i64,
}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.sku == key.sku.as_str()
            && self.language == key.language
            && self.encoding == key.encoding
            && self.labels == key.labels
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Page>> for ByBytes {
    fn weight(&self, key: &Key, page: &Arc<Page>) -> u64 {
        (OVERHEAD + key.sku.as_str().len() + page.weight()) as u64
    }
}

impl Weighter<HeaderValue, Option<Bytes>> for ByBytes {
    fn weight(&self, tag: &HeaderValue, body: &Option<Bytes>) -> u64 {
        (OVERHEAD + tag.len() + body.as_ref().map_or(0, Bytes::len)) as u64
    }
}

/// A cache that takes so much memory at most.
fn bounded<K: Eq + Hash, V: Clone, W: Weighter<K, V> + Clone>(max_bytes: u64, weighter: W) -> Cache<K, V, W> {
    let options = OptionsBuilder::new()
        .estimated_items_capacity(usize::try_from(max_bytes).unwrap_or(usize::MAX) / (2 * OVERHEAD))
        .weight_capacity(max_bytes)
        // Few shards: each has its part of the memory, and an entry must find room in its part.
        .shards(8)
        .build();
    // The builder refuses only what was not set above.
    let Ok(options) = options else { return Cache::with_weighter(1_000, max_bytes, weighter) };
    Cache::with_options(options, weighter, Default::default(), Default::default())
}

pub struct Pages {
    app: Arc<App>,
    lives: Lives,
    kept: Cache<Key, Arc<Page>, ByBytes>,
    /// Of what is not kept finished.
    bodies: Bodies,
    floors: Cache<Sku, i64>,
    kin: Kin,
    /// By language, then by encoding: headers of a whole answer, and of one that says that nothing changed.
    heads: Vec<[(HeaderMap, HeaderMap); Encoding::ALL.len()]>,
    wanted: mpsc::Sender<Key>,
    /// Taken by the task that renews. As long as it is here, whoever finds a stale page renews it.
    renewals: Mutex<Option<mpsc::Receiver<Key>>>,
}

impl Pages {
    pub fn new(app: Arc<App>, settings: PageSettings) -> Arc<Self> {
        let of_lists = settings.max_bytes / OF_LISTS;
        let (wanted, renewals) = mpsc::channel(RENEWALS);
        Arc::new(Self {
            lives: Lives { fresh: settings.fresh, stale: settings.stale },
            kept: bounded(settings.max_bytes - of_lists, ByBytes),
            bodies: Bodies::new(of_lists),
            floors: Cache::new(FLOORS),
            kin: Kin::default(),
            heads: app
                .region
                .languages()
                .iter()
                .map(|language| Encoding::ALL.map(|encoding| head(language, encoding)))
                .collect(),
            app,
            wanted,
            renewals: Mutex::new(Some(renewals)),
        })
    }

    /// The page of `sku`, from memory or made now.
    pub async fn answer(&self, sku: Sku, language: &str, headers: &HeaderMap) -> Result<AtHand, Problem> {
        let (language, encoding) = (self.place_of(language), Encoding::wanted(headers));
        let key = Key { sku, language, encoding, labels: self.app.products.labels.version() };
        let page = self.page(&key).await;
        match (self.at_hand_of(&page, key.language, headers), &page.content) {
            (Some(answer), _) => Ok(answer),
            (None, Content::Down(error)) => Err(Problem::from(GetProductError::Store(error.clone()))),
            (None, _) => Err(Problem::not_found()),
        }
    }

    /// The page for `key`: made by one caller while the others wait, or by the first who finds it stale.
    async fn page(&self, key: &Key) -> Arc<Page> {
        let mut fallback = None;
        if let Some(page) = self.kept.get(key) {
            match page.age(Instant::now()) {
                Age::Fresh => return page,
                Age::Stale if !page.begins_renewal() => return page,
                Age::Stale if self.hand_over(key) => return page,
                Age::Stale => return self.renew(key, &page).await,
                Age::Old | Age::Over => {
                    // From here on it is as if there were none, but it is at hand should the store be away.
                    self.kept.remove_if(key, |kept| Arc::ptr_eq(kept, &page));
                    fallback = Some(page).filter(|page| page.age(Instant::now()) == Age::Old);
                }
            }
        }
        let page = match self.kept.get_value_or_guard_async(key).await {
            Ok(page) => page,
            Err(place) => {
                let page = self.make(key).await;
                // Refused when a change came meanwhile: then nobody else shall see this one.
                let _ = place.insert(page.clone());
                page
            }
        };
        match fallback {
            Some(old) if matches!(page.content, Content::Down(_)) => {
                let old = Arc::new(old.kept_for_now());
                self.kept.insert(key.clone(), old.clone());
                old
            }
            _ => page,
        }
    }

    /// A new page in the place of `stale`, which stays when no newer one can be had.
    async fn renew(&self, key: &Key, stale: &Arc<Page>) -> Arc<Page> {
        let page = self.make(key).await;
        let page = if matches!(page.content, Content::Down(_)) { Arc::new(stale.kept_for_now()) } else { page };
        // Only if it is still there: a change that came meanwhile has taken it away for good, and what stands there since is newer
        // than what this page was made of.
        let _ = self.kept.entry(key, Some(Duration::ZERO), |_, kept| {
            if Arc::ptr_eq(kept, stale) {
                *kept = page.clone();
            }
            EntryAction::Retain(())
        });
        page
    }

    async fn make(&self, key: &Key) -> Arc<Page> {
        if key.encoding != Encoding::Identity {
            let plain = Key { encoding: Encoding::Identity, ..key.clone() };
            let plain = self.plain(&plain).await;
            return Arc::new(plain.encoded(key.encoding));
        }
        let begun = Instant::now();
        let mut found = get_product(&self.app, &key.sku).await;
        if let Ok(page) = &found
            && page.revision.number < self.floors.get(page.revision.sku()).unwrap_or_default()
        {
            // An older copy was kept somewhere in between.
            self.app.products.cache.forget(&[page.revision.sku().clone(), key.sku.clone()]).await;
            found = get_product(&self.app, &key.sku).await;
        }
        if let Ok(page) = &found {
            self.kin.note(page);
        }
        let language = self.app.region.languages().get(usize::from(key.language)).copied().unwrap_or("en");
        // Those of the key, or newer ones.
        let names = self.app.products.labels.shown();
        let reader = Reader { language, region: self.app.region, book: &names };
        let (outcome, page) = match found {
            Ok(page) => ("made", Page::whole(&page, (&key.sku, begun), reader, self.lives)),
            Err(GetProductError::NotFound) => ("absent", Page::absent()),
            Err(GetProductError::Store(error)) => {
                tracing::warn!(reason = %error, "a page cannot be made");
                ("down", Page::down(error))
            }
        };
        PAGES_MADE.with_label_values(&[outcome]).inc();
        Arc::new(page)
    }

    /// [`Self::page`] by its own way: a page in an encoding is made of the plain one.
    fn plain<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Arc<Page>> {
        Box::pin(self.page(key))
    }

    /// Whether the renewing task has taken it.
    fn hand_over(&self, key: &Key) -> bool {
        let waits_for_its_task = self.renewals.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        !waits_for_its_task && self.wanted.try_send(key.clone()).is_ok()
    }

    /// Renews stale pages until `shutdown`; nobody waits for them.
    pub async fn renew_stale(self: Arc<Self>, shutdown: CancellationToken) {
        let taken = self.renewals.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut wanted) = taken else { return };
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(()) = under_way.next() => {}
                key = wanted.recv(), if under_way.len() < RENEWALS_AT_ONCE => {
                    let Some(key) = key else { return };
                    under_way.push(self.renew_one(key));
                }
            }
        }
    }

    async fn renew_one(&self, key: Key) {
        if let Some(stale) = self.kept.peek(&key) {
            self.renew(&key, &stale).await;
        }
    }

    /// A product has this revision now: what was made of an older one goes, and none such comes back.
    pub fn changed(&self, sku: &Sku, revision: i64) {
        if self.floors.peek(sku).is_none_or(|known| known < revision) {
            self.floors.insert(sku.clone(), revision);
        }
        for key in self.kin.of(sku).all().flat_map(|shown| self.keys(shown)).chain(self.keys(sku)) {
            // A page that is being made has no number yet; it is not known what it will be made of, so it is not kept. The number
            // of a variant says nothing of the page of its product.
            let is_newer = |page: &Page| page.revision >= revision && !page.of_variant && key.sku == *sku;
            if self.kept.peek(&key).is_none_or(|page| !is_newer(&page)) && self.kept.remove(&key).is_some() {
                PAGES_DROPPED.with_label_values(&["changed"]).inc();
            }
        }
    }

    /// What is bought on the pages that show one of `skus`, page by page; nothing where there is no such page.
    pub fn shown_with(&self, skus: &[Sku]) -> Vec<Shown> {
        let mut shown: Vec<Shown> = skus.iter().map(|sku| self.kin.of(sku)).collect();
        shown.sort_by(|one, other| one.page.cmp(&other.page));
        shown.dedup();
        shown.retain(|shown| shown.all().flat_map(|sku| self.keys(sku)).any(|key| self.kept.contains_key(&key)));
        shown
    }

    /// What the stock says now of what is bought on a page: pages that say otherwise go.
    pub fn levels(&self, shown: &Shown, levels: &HashMap<Sku, Level>) {
        let now: Vec<Option<Level>> = shown.bought.iter().map(|sku| Some(level_of(levels, sku))).collect();
        for key in shown.all().flat_map(|sku| self.keys(sku)) {
            if self.kept.remove_if(&key, |page| page.revision > 0 && *page.levels != *now).is_some() {
                PAGES_DROPPED.with_label_values(&["stock"]).inc();
            }
        }
    }

    /// Where lists and strips find their encodings.
    pub fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// Bytes that they take, and the encoded lists.
    pub fn bytes(&self) -> u64 {
        self.kept.weight() + self.bodies.bytes()
    }

    fn keys(&self, sku: &Sku) -> impl Iterator<Item = Key> {
        let languages = 0..u8::try_from(self.heads.len()).unwrap_or(u8::MAX);
        let labels = self.app.products.labels.version();
        languages.flat_map(move |language| {
            Encoding::ALL.map(|encoding| Key { sku: sku.clone(), language, encoding, labels })
        })
    }

    fn place_of(&self, language: &str) -> u8 {
        let place = self.app.region.languages().iter().position(|code| *code == language).unwrap_or_default();
        u8::try_from(place).unwrap_or_default()
    }

    /// `None` for what is no whole page.
    fn at_hand_of(&self, page: &Page, language: u8, headers: &HeaderMap) -> Option<AtHand> {
        let Content::Whole { body, tag, keys } = &page.content else { return None };
        let (whole, same) = &self.heads.get(usize::from(language))?[page.encoding as usize];
        let changed = !has_tag(headers, tag);
        let mut head = if changed { whole } else { same }.clone();
        head.insert(ETAG, tag.clone());
        head.insert(CACHE_TAG, keys.clone());
        if let Some(turn) = page.turn {
            let left = turn.saturating_duration_since(Instant::now());
            if left < LONGEST_SHARED {
                head.insert(CACHE_CONTROL, shared_until_turn(left, 10));
            }
        }
        Some(if changed { AtHand { changed, headers: head, body: body.clone() } } else { unchanged(head) })
    }
}

impl Shelf for Pages {
    fn route(&self) -> &'static str {
        "/v1/products/{sku}"
    }

    fn at_hand(&self, uri: &Uri, headers: &HeaderMap) -> Option<AtHand> {
        let sku = uri.path().strip_prefix(FOLDER)?;
        let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Language(language) = Language::negotiate(wanted, self.app.region.languages());
        let (language, encoding) = (self.place_of(language), Encoding::wanted(headers));
        let asked = Asked { sku, language, encoding, labels: self.app.products.labels.version() };
        let page = self.kept.get(&asked)?;
        match page.age(Instant::now()) {
            Age::Fresh => {}
            Age::Stale if !page.begins_renewal() => {}
            Age::Stale => {
                let key = Key { sku: Sku::parse(sku).ok()?, language, encoding, labels: asked.labels };
                if !self.hand_over(&key) {
                    // The long way renews it.
                    page.gives_up_renewal();
                    return None;
                }
            }
            Age::Old | Age::Over => return None,
        }
        self.at_hand_of(&page, asked.language, headers)
    }
}

impl Forgets for Pages {
    fn forget(&self, skus: &[Sku]) {
        let shown: Vec<Shown> = skus.iter().map(|sku| self.kin.of(sku)).collect();
        for key in skus.iter().chain(shown.iter().flat_map(Shown::all)).flat_map(|sku| self.keys(sku)) {
            if self.kept.remove(&key).is_some() {
                PAGES_DROPPED.with_label_values(&["forgotten"]).inc();
            }
        }
    }
}

fn head(language: &'static str, encoding: Encoding) -> (HeaderMap, HeaderMap) {
    // A place for what each answer fills in: a copy of this map has no room to grow, and need not.
    let mut same: HeaderMap = [ETAG, CACHE_TAG].into_iter().chain(IDENTIFYING).map(|name| (name, TO_FILL)).collect();
    same.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
    same.insert(VARY, HeaderValue::from_static("Accept-Language, Accept-Encoding"));
    same.insert(CACHE_CONTROL, HeaderValue::from_static(SHARED_PAGE));
    let mut whole = same.clone();
    whole.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(encoding) = encoding.header() {
        whole.insert(CONTENT_ENCODING, encoding);
    }
    (whole, same)
}

/// No shared cache shows a price that has ended by itself; `usual` is how long it keeps others, in seconds.
pub(super) fn shared_until_turn(left: Duration, usual: u64) -> HeaderValue {
    let rule = format!("public, max-age=0, s-maxage={}", left.as_secs().min(usual));
    HeaderValue::try_from(rule).unwrap_or(HeaderValue::from_static("no-store"))
}

fn unchanged(headers: HeaderMap) -> AtHand {
    AtHand { changed: false, headers, body: Bytes::new() }
}

/// Whether the caller has this version. Weak tags compare by their text, as the specification wants it for reads.
pub(super) fn has_tag(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|own| own == "*" || own.strip_prefix("W/").unwrap_or(own).as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_any_list_of_tags() {
        let has = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            has_tag(&headers, &HeaderValue::from_static("\"abc\""))
        };
        assert!(has("\"abc\"") && has("\"x\", W/\"abc\"") && has("*"));
        assert!(!has("\"abcd\"") && !has("abc") && !has(""));
    }

    #[test]
    fn a_borrowed_key_finds_the_owned_one() {
        use std::hash::BuildHasher as _;
        let key = Key { sku: Sku::parse("A-1").unwrap(), language: 2, encoding: Encoding::Brotli, labels: 7 };
        let asked = Asked { sku: "A-1", language: 2, encoding: Encoding::Brotli, labels: 7 };
        let hasher = std::hash::RandomState::new();
        assert!(asked.equivalent(&key) && hasher.hash_one(&asked) == hasher.hash_one(&key));
        assert!(!Asked { labels: 8, ..asked }.equivalent(&key), "names were changed since");
    }
}
