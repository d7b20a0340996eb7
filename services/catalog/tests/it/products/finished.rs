//! Finished pages: made once however many ask, gone as soon as a change is heard of, shown when nothing better can be had, and
//! never more than their memory.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use catalog::domain::draft::{ProductDraft, TextDraft};
use catalog::domain::inventory::{Level, SupplyKind};
use catalog::domain::labels::{LabelKey, Names};
use catalog::domain::product::Revision;
use catalog::inbound::freshness::{Revisions, follow_stock, look};
use catalog::inbound::http::finished::{PageSettings, Pages};
use catalog::outbound::bare;
use catalog::outbound::feed::KafkaFeed;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::memory_stock::MemoryStock;
use catalog::outbound::postgres::PgStock;
use catalog::usecases::App;
use catalog::usecases::labels::{Wanted, put_labels};
use catalog::usecases::ports::pages::{Forgets as _, StockChanges, StockWatch};
use catalog::usecases::ports::products::{ProductCache, ProductFeed as _, ProductPorts, ProductStore, StoreDown};
use catalog::usecases::ports::stock::{StockStore as _, StoreError};
use chassis::Problem;
use chassis::http::{AtHand, Shelf as _};
use common::{Region, Sku, SystemClock, ids};
use contracts::topics;
use futures::future::join_all;
use http::{HeaderMap, HeaderValue, Uri};
use messaging::{Epoch, Publisher, Tail};
use serde_json::Value;
use testkit::{kafka, wait};
use tokio_util::sync::CancellationToken;

use super::world::{draft, gone, live, unique};
use crate::stock::world::{KnownOrders, World, app_made_of, centres, clerk, memory_stock, receive};

/// Where revisions come from: counts how often it is asked, takes its time, may be down, and may hold an older copy until it is
/// told to forget.
#[derive(Default)]
struct Origin {
    newest: Mutex<HashMap<Sku, Revision>>,
    older_copy: Mutex<Option<Revision>>,
    asked: AtomicUsize,
    down: AtomicBool,
    /// What the next question takes instead of the usual time.
    slow_once: Mutex<Option<Duration>>,
}

impl Origin {
    fn put(&self, revision: Revision) {
        self.newest.lock().unwrap().insert(revision.sku().clone(), revision);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn is_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

struct OriginPort(Arc<Origin>);

#[async_trait]
impl ProductCache for OriginPort {
    async fn newest(&self, sku: &Sku, _: &Arc<dyn ProductStore>) -> Result<Option<Arc<Revision>>, StoreDown> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let found =
            self.0.older_copy.lock().unwrap().clone().or_else(|| self.0.newest.lock().unwrap().get(sku).cloned());
        let slow = self.0.slow_once.lock().unwrap().take();
        tokio::time::sleep(slow.unwrap_or(Duration::from_millis(20))).await;
        if self.0.down.load(Ordering::SeqCst) {
            return Err(StoreDown("down for a test".to_owned()));
        }
        Ok(found.map(Arc::new))
    }

    async fn forget(&self, _: &[Sku]) {
        *self.0.older_copy.lock().unwrap() = None;
    }
}

struct Shelf {
    origin: Arc<Origin>,
    stock: Arc<MemoryStock>,
    app: Arc<App>,
    pages: Arc<Pages>,
}

const HOUR: Duration = Duration::from_secs(3_600);
/// Shorter than anybody's patience; tests wait for it to be over, and never for it not to be.
const SHORT: Duration = Duration::from_millis(100);

/// Nothing grows old here.
fn shelf() -> Shelf {
    shelf_of(8 << 20, HOUR, HOUR)
}

fn shelf_of(max_bytes: u64, fresh: Duration, stale: Duration) -> Shelf {
    let (origin, stock) = (Arc::new(Origin::default()), Arc::new(memory_stock()));
    let ports = ProductPorts {
        cache: Arc::new(OriginPort(origin.clone())),
        ..bare::products(Arc::new(MemoryProducts::default()))
    };
    let app = app_made_of(stock.clone(), ports, Arc::new(SystemClock), Arc::new(KnownOrders::default()));
    let pages = Pages::new(app.clone(), PageSettings { max_bytes, fresh, stale });
    Shelf { origin, stock, app, pages }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

impl Shelf {
    async fn ask(&self, name: &str, list: &[(&'static str, &str)]) -> Result<AtHand, Problem> {
        self.pages.answer(Sku::parse(name).unwrap(), "en", &headers(list)).await
    }

    async fn page(&self, name: &str) -> Value {
        let answer = self.ask(name, &[]).await.expect("a page");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    async fn brand(&self, name: &str) -> String {
        self.page(name).await["brand"].as_str().unwrap_or_default().to_owned()
    }

    async fn status(&self, name: &str) -> u16 {
        match self.ask(name, &[]).await {
            Ok(answer) if answer.changed => 200,
            Ok(_) => 304,
            Err(problem) => problem.kind().status(),
        }
    }

    fn at_hand(&self, name: &str, list: &[(&'static str, &str)]) -> Option<AtHand> {
        let uri: Uri = format!("/v1/products/{name}?utm_source=mail").parse().unwrap();
        let mut all = headers(list);
        all.insert("accept-language", HeaderValue::from_static("en"));
        self.pages.at_hand(&uri, &all)
    }
}

fn branded(name: &str, brand: &str, number: i64) -> Revision {
    live(ProductDraft { brand: brand.to_owned(), ..draft(name) }, number)
}

/// Long enough to be worth an encoding.
fn long(name: &str) -> Revision {
    let text = TextDraft {
        language: "en".to_owned(),
        name: "A lamp".to_owned(),
        description: "It lights the room, and the room is lit by it. ".repeat(60),
    };
    live(ProductDraft { texts: vec![text], ..draft(name) }, 1)
}

#[tokio::test]
async fn a_thousand_at_once_ask_the_origin_once() {
    let shelf = shelf();
    shelf.origin.put(long("A"));
    let encodings = ["identity", "gzip", "br", "gzip, br"];
    let asked = (0..1_000).map(|number| {
        let encoding = encodings[number % encodings.len()];
        let shelf = &shelf;
        async move { shelf.ask("A", &[("accept-encoding", encoding)]).await }
    });
    let answers = join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.changed && !answer.body.is_empty())));
    assert_eq!(shelf.origin.asked(), 1);
    assert_eq!(join_all((0..1_000).map(|_| shelf.status("NONE"))).await, vec![404; 1_000]);
    assert_eq!(shelf.origin.asked(), 2, "what is not there is asked for once too");
    shelf.origin.is_down(true);
    assert_eq!(join_all((0..1_000).map(|_| shelf.status("B"))).await, vec![503; 1_000]);
    assert_eq!(shelf.origin.asked(), 3, "and so is what cannot be had");
}

#[tokio::test]
async fn an_encoding_is_the_same_page_under_a_tag_of_its_own() {
    let shelf = shelf();
    shelf.origin.put(long("A"));
    let plain = shelf.ask("A", &[]).await.unwrap();
    assert!(plain.headers.get("content-encoding").is_none());
    let mut tags = vec![plain.headers["etag"].clone()];
    for name in ["gzip", "br"] {
        let answer = shelf.ask("A", &[("accept-encoding", name)]).await.unwrap();
        assert_eq!(answer.headers["content-encoding"], name);
        assert_eq!(answer.headers["vary"], "Accept-Language, Accept-Encoding");
        let mut read = Vec::new();
        match name {
            "gzip" => flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut read).map(drop).unwrap(),
            _ => brotli::BrotliDecompress(&mut &answer.body[..], &mut read).unwrap(),
        }
        assert_eq!(read, plain.body);
        assert!(answer.body.len() * 2 < plain.body.len(), "the text repeats itself");
        let tag = answer.headers["etag"].clone();
        let again =
            shelf.ask("A", &[("accept-encoding", name), ("if-none-match", tag.to_str().unwrap())]).await.unwrap();
        assert!(!again.changed && again.body.is_empty() && again.headers.get("content-encoding").is_none());
        assert_eq!(again.headers["etag"], tag);
        tags.push(tag);
    }
    tags.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    tags.dedup();
    assert_eq!(tags.len(), 3, "other bytes are another entity");
    assert_eq!(shelf.origin.asked(), 1);
}

#[tokio::test]
async fn what_is_at_hand_is_what_the_long_way_answers() {
    let shelf = shelf();
    shelf.origin.put(long("A"));
    assert!(shelf.at_hand("A", &[]).is_none(), "nothing was made yet");
    for list in [&[][..], &[("accept-encoding", "br")], &[("accept-encoding", "gzip")]] {
        let long_way = shelf.ask("A", list).await.unwrap();
        let at_hand = shelf.at_hand("A", list).expect("it was made");
        assert_eq!((&at_hand.headers, &at_hand.body), (&long_way.headers, &long_way.body));
        assert!(at_hand.headers["cache-control"].to_str().unwrap().contains("stale-while-revalidate="));
        assert_eq!(at_hand.headers["cache-tag"], "p-A,c-audio,c-audio/headphones");
        let tag = at_hand.headers["etag"].to_str().unwrap();
        let unchanged = shelf.at_hand("A", &[list, &[("if-none-match", tag)]].concat()).unwrap();
        assert!(!unchanged.changed && unchanged.body.is_empty());
    }
    for other in ["B", "A/", "A%20", "../A", ""] {
        assert!(shelf.at_hand(other, &[]).is_none(), "{other}");
    }
    assert_eq!(shelf.status("NONE").await, 404);
    assert!(shelf.at_hand("NONE", &[]).is_none(), "a refusal is worded by the long way");
}

#[tokio::test]
async fn a_change_takes_the_page_away_and_an_older_copy_does_not_bring_it_back() {
    let shelf = shelf();
    shelf.origin.put(branded("A", "One", 1));
    assert_eq!(shelf.brand("A").await, "One");
    shelf.origin.put(branded("A", "Two", 2));
    assert_eq!(shelf.brand("A").await, "One", "nothing was heard yet");
    // Somewhere in between an older copy is still kept.
    *shelf.origin.older_copy.lock().unwrap() = Some(branded("A", "One", 1));
    shelf.pages.changed(&Sku::parse("A").unwrap(), 2);
    assert!(shelf.at_hand("A", &[]).is_none());
    assert_eq!(shelf.brand("A").await, "Two");
    let asked = shelf.origin.asked();
    shelf.pages.changed(&Sku::parse("A").unwrap(), 2);
    shelf.pages.changed(&Sku::parse("A").unwrap(), 1);
    assert_eq!((shelf.brand("A").await.as_str(), shelf.origin.asked()), ("Two", asked), "old news changes nothing");
    shelf.origin.put(gone("A", 3));
    shelf.pages.changed(&Sku::parse("A").unwrap(), 3);
    assert_eq!(shelf.status("A").await, 404);
}

#[tokio::test]
async fn a_page_that_was_being_made_when_a_change_came_is_not_kept() {
    let shelf = shelf();
    shelf.origin.put(branded("A", "One", 1));
    let (early, ()) = tokio::join!(shelf.brand("A"), async {
        // The origin has read the first revision and takes its time.
        tokio::time::sleep(Duration::from_millis(5)).await;
        shelf.origin.put(branded("A", "Two", 2));
        shelf.pages.changed(&Sku::parse("A").unwrap(), 2);
    });
    assert!(early == "One" || early == "Two");
    assert_eq!(shelf.brand("A").await, "Two");
}

#[tokio::test]
async fn a_changed_name_is_on_every_page_from_the_moment_it_is_known() {
    let shelf = shelf();
    shelf.origin.put(live(draft("A"), 1));
    let label = async || shelf.page("A").await["attributes"][0]["label"].as_str().unwrap_or_default().to_owned();
    assert_eq!(label().await, "Colour");
    let names = Names::check([("en".to_owned(), "Shade".to_owned())].into()).unwrap();
    let key = LabelKey::parse("colour").unwrap();
    let wanted = Wanted { key, names, by: clerk(), reason: "a test".to_owned() };
    put_labels(&shelf.app, wanted, None).await.unwrap();
    assert_eq!(label().await, "Colour", "nobody has looked yet");
    assert!(shelf.at_hand("A", &[]).is_some());
    assert_eq!(shelf.origin.asked(), 1);
    shelf.app.products.labels.refresh().await.unwrap();
    assert!(shelf.at_hand("A", &[]).is_none(), "nobody is given the old name any more");
    assert_eq!(label().await, "Shade");
    assert!(shelf.at_hand("A", &[]).is_some());
    assert_eq!(shelf.origin.asked(), 2);
    // A look that finds nothing new takes nothing away.
    shelf.app.products.labels.refresh().await.unwrap();
    assert_eq!((label().await, shelf.origin.asked()), ("Shade".to_owned(), 2));
}

#[tokio::test]
async fn a_stale_page_is_shown_while_one_renews_it() {
    let shelf = shelf_of(8 << 20, SHORT, HOUR);
    shelf.origin.put(branded("A", "One", 1));
    shelf.brand("A").await;
    shelf.origin.put(branded("A", "Two", 2));
    tokio::time::sleep(SHORT).await;
    let brands = join_all((0..100).map(|_| shelf.brand("A"))).await;
    assert_eq!(shelf.origin.asked(), 2, "one of a hundred renews");
    assert_eq!(brands.iter().filter(|brand| *brand == "One").count(), 99, "the others do not wait");
    assert_eq!(shelf.brand("A").await, "Two");
}

#[tokio::test]
async fn with_a_renewing_task_nobody_waits_at_all() {
    let shelf = shelf_of(8 << 20, SHORT, HOUR);
    shelf.origin.put(branded("A", "One", 1));
    shelf.brand("A").await;
    let stop = CancellationToken::new();
    let renewing = tokio::spawn(shelf.pages.clone().renew_stale(stop.clone()));
    tokio::task::yield_now().await;
    shelf.origin.put(branded("A", "Two", 2));
    tokio::time::sleep(SHORT).await;
    assert!(shelf.at_hand("A", &[]).is_some(), "stale, and shown at once");
    wait::until("the new page", Duration::from_secs(5), async || match shelf.at_hand("A", &[]) {
        Some(answer) if String::from_utf8_lossy(&answer.body).contains("Two") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    stop.cancel();
    renewing.await.unwrap();
}

#[tokio::test]
async fn while_the_store_is_away_an_old_page_is_shown() {
    let shelf = shelf_of(8 << 20, SHORT, Duration::ZERO);
    shelf.origin.put(branded("A", "One", 1));
    shelf.brand("A").await;
    shelf.origin.is_down(true);
    for _ in 0..3 {
        tokio::time::sleep(SHORT).await;
        assert_eq!(shelf.status("A").await, 200, "old, and better than none");
    }
    assert_eq!(shelf.status("B").await, 503, "of this one there is nothing");
    shelf.origin.is_down(false);
    shelf.origin.put(branded("A", "Two", 2));
    wait::until("the store's own word", Duration::from_secs(10), async || match shelf.brand("A").await.as_str() {
        "Two" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
}

#[tokio::test]
async fn pages_never_take_more_than_their_memory() {
    let limit = 1 << 20;
    let shelf = shelf_of(limit, HOUR, HOUR);
    for number in 0..3_000 {
        let name = format!("S{number}");
        shelf.origin.put(branded(&name, "One", 1));
    }
    for chunk in (0..3_000).collect::<Vec<_>>().chunks(500) {
        join_all(chunk.iter().map(|number| {
            let name = format!("S{number}");
            let shelf = &shelf;
            async move { assert_eq!(shelf.status(&name).await, 200) }
        }))
        .await;
        assert!(shelf.pages.bytes() <= limit, "{}", shelf.pages.bytes());
    }
    assert!(shelf.pages.bytes() > limit / 2, "it is used: {}", shelf.pages.bytes());
    assert!(shelf.origin.asked() == 3_000);
}

/// Movements as a test tells them.
struct Told(Mutex<Vec<Sku>>);

#[async_trait]
impl StockWatch for Told {
    async fn mark(&self) -> Result<i64, StoreError> {
        Ok(0)
    }

    async fn moved_since(&self, mark: i64) -> Result<StockChanges, StoreError> {
        Ok(StockChanges { mark: mark + 1, skus: self.0.lock().unwrap().clone() })
    }
}

#[tokio::test]
async fn a_level_that_changed_takes_the_page_away_and_a_mere_sale_does_not() {
    let shelf = shelf();
    let sku = Sku::parse("A").unwrap();
    shelf.origin.put(branded("A", "One", 1));
    receive(&*shelf.stock, "r-1", &[("A", SupplyKind::Counted, 100)]).await.unwrap();
    assert_eq!(shelf.page("A").await["availability"], "in_stock");
    let watch = Told(Mutex::new(vec![sku.clone(), Sku::parse("UNKNOWN").unwrap()]));
    receive(&*shelf.stock, "r-2", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    look(&shelf.app, &watch, &shelf.pages, Some(0), true).await.unwrap();
    assert_eq!(shelf.origin.asked(), 1);
    assert!(shelf.at_hand("A", &[]).is_some(), "in stock before and after");
    let shown = shelf.pages.shown_with(std::slice::from_ref(&sku));
    shelf.pages.levels(&shown[0], &HashMap::from([(sku.clone(), Level::Low)]));
    assert!(shelf.at_hand("A", &[]).is_none(), "the page said that there is plenty");
    assert_eq!(shelf.page("A").await["availability"], "in_stock", "made anew of what the stock says");
    shelf.pages.forget(&[sku]);
    assert!(shelf.at_hand("A", &[]).is_none());
}

#[tokio::test]
async fn a_renewal_that_was_overtaken_does_not_bring_the_old_page_back() {
    let shelf = shelf_of(8 << 20, SHORT, HOUR);
    shelf.origin.put(branded("A", "One", 1));
    assert_ne!(shelf.page("A").await["availability"], "in_stock", "nothing ever came in");
    tokio::time::sleep(SHORT).await;
    *shelf.origin.slow_once.lock().unwrap() = Some(3 * SHORT);
    let watch = Told(Mutex::new(vec![Sku::parse("A").unwrap()]));
    let (renewed, ()) = tokio::join!(shelf.page("A"), async {
        // The renewal has asked the stock and waits for its origin.
        tokio::time::sleep(SHORT / 2).await;
        receive(&*shelf.stock, "r-1", &[("A", SupplyKind::Counted, 100)]).await.unwrap();
        look(&shelf.app, &watch, &shelf.pages, Some(0), true).await.unwrap();
        assert_eq!(shelf.page("A").await["availability"], "in_stock");
    });
    assert_ne!(renewed["availability"], "in_stock", "it was made of what was there before");
    assert_eq!(shelf.page("A").await["availability"], "in_stock");
}

#[tokio::test]
async fn what_moved_in_the_stock_is_told_once_it_is_committed() {
    let world = World::new().await;
    let watch = PgStock::new(world.database.database.clone(), centres());
    let start = watch.mark().await.unwrap();
    assert_eq!(watch.moved_since(start).await.unwrap(), StockChanges { mark: start, skus: Vec::new() });
    receive(&*world.store, "r-1", &[("A", SupplyKind::Counted, 3), ("B", SupplyKind::Counted, 4)]).await.unwrap();
    receive(&*world.store, "r-2", &[("A", SupplyKind::Counted, 3)]).await.unwrap();
    let moved = watch.moved_since(start).await.unwrap();
    let mut skus: Vec<&str> = moved.skus.iter().map(Sku::as_str).collect();
    skus.sort_unstable();
    assert_eq!((skus, moved.mark), (vec!["A", "B"], watch.mark().await.unwrap()));
    assert!(watch.moved_since(moved.mark).await.unwrap().skus.is_empty());
}

#[tokio::test]
async fn a_limit_of_what_may_be_promised_is_told_although_nothing_moved() {
    let world = World::new().await;
    let watch = PgStock::new(world.database.database.clone(), centres());
    receive(&*world.store, "r-1", &[("A", SupplyKind::Counted, 3)]).await.unwrap();
    let mark = watch.mark().await.unwrap();
    assert!(watch.moved_since(mark).await.unwrap().skus.is_empty());
    let sku = Sku::parse("A").unwrap();
    world.store.limit_back_orders(&sku, 5, clerk()).await.unwrap();
    assert_eq!(watch.moved_since(mark).await.unwrap(), StockChanges { mark, skus: vec![sku] });
}

#[tokio::test]
async fn a_page_follows_the_stock_of_the_database() {
    let world = World::new().await;
    let shelf = shelf();
    let stock: Arc<PgStock> = Arc::new(PgStock::new(world.database.database.clone(), centres()));
    let products = shelf.app.products.clone();
    let app = app_made_of(stock.clone(), products, Arc::new(SystemClock), Arc::new(KnownOrders::default()));
    // Nothing but the watch may take the page away.
    let pages = Pages::new(app.clone(), PageSettings { max_bytes: 8 << 20, fresh: HOUR, stale: HOUR });
    shelf.origin.put(branded("A", "One", 1));
    let availability = async || {
        let answer = pages.answer(Sku::parse("A").unwrap(), "en", &HeaderMap::new()).await.expect("a page");
        serde_json::from_slice::<Value>(&answer.body).unwrap()["availability"].as_str().map(str::to_owned)
    };
    // A first connection may take longer than a page waits, so there is one before.
    stock.availability(&[Sku::parse("A").unwrap()]).await.unwrap();
    wait::until("the stock to be asked", Duration::from_secs(20), async || match availability().await.as_deref() {
        Some("out") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let stop = CancellationToken::new();
    let following = tokio::spawn(follow_stock(app, stock.clone(), pages.clone(), stop.clone()));
    wait::until("the page to follow the stock", Duration::from_secs(20), async || {
        // A receipt before the first look would be missed; a further one is a further movement.
        let reference = format!("r-{}", ids::random().simple());
        receive(&*stock, &reference, &[("A", SupplyKind::Counted, 1)]).await.map_err(|error| error.to_string())?;
        match availability().await.as_deref() {
            Some("low" | "in_stock") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    stop.cancel();
    following.await.unwrap();
    assert!(stock.availability(&[Sku::parse("A").unwrap()]).await.unwrap().len() == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_hears_of_a_change_and_takes_its_page_away() {
    let settings = kafka::topics(&[&topics::PRODUCT_CHANGED]).await;
    let name = unique().to_uppercase();
    let (one, other) = (shelf(), shelf());
    let stop = CancellationToken::new();
    let mut tails = Vec::new();
    for shelf in [&one, &other] {
        shelf.origin.put(branded(&name, "One", 1));
        assert_eq!(shelf.brand(&name).await, "One");
        let hears = Arc::new(Revisions::new(shelf.pages.clone(), Region::Eu));
        let tail = Tail::new("catalog-pages", &[&topics::PRODUCT_CHANGED], Region::Eu, &settings, hears).unwrap();
        tails.push(tokio::spawn(tail.run(stop.clone())));
        shelf.origin.put(branded(&name, "Two", 2));
    }
    let feed = KafkaFeed::new(Publisher::new(&settings, Region::Eu, Epoch::new(1)).unwrap());
    kafka::put_raw(&settings, &topics::PRODUCT_CHANGED, &name, b"\xff\xff", &[]).await;
    wait::until("both pages to follow", Duration::from_secs(30), async || {
        // A tail hears from the moment it is there, so the change is told until it is.
        feed.publish(&[branded(&name, "Two", 2)]).await.map_err(|error| error.to_string())?;
        match (one.brand(&name).await.as_str(), other.brand(&name).await.as_str()) {
            ("Two", "Two") => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    stop.cancel();
    for tail in tails {
        tail.await.unwrap();
    }
}
