//! A shop whose search index goes away and comes back: what can still be done meanwhile, and that nobody has to help.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use catalog::domain::product::Revision;
use catalog::inbound::freshness::Revisions;
use catalog::inbound::http::finished::{PageSettings, Pages};
use catalog::inbound::indexer::Indexer;
use catalog::inbound::{relay, stand_in};
use catalog::outbound::feed::KafkaFeed;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::ratings::RedisRatings;
use catalog::outbound::search::ElasticProducts;
use catalog::usecases::ports::products::{Insertion, ProductStore, StoreDown};
use catalog::usecases::stand_in::{StandIn, fill};
use common::{Region, Sku};
use contracts::topics;
use messaging::{BatchConsumer, Epoch, Publisher, Tail};
use serde_json::json;
use testkit::{kafka, servers, wait};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::world::{PSEUDONYM_KEY, Shop, draft, live, redis_at, staff, unique};

/// The way to the index server, which can be closed: then connections break and new ones are not answered.
pub struct Gate {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
    broken: Arc<std::sync::Mutex<CancellationToken>>,
}

impl Gate {
    async fn to(url: &str) -> Self {
        let target = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            address: listener.local_addr().unwrap(),
            is_open: Arc::new(AtomicBool::new(true)),
            broken: Arc::default(),
        };
        let (is_open, broken) = (gate.is_open.clone(), gate.broken.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if !is_open.load(Ordering::SeqCst) {
                    continue;
                }
                let (target, breaks) = (target.clone(), broken.lock().unwrap().clone());
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await?;
                    tokio::select! {
                        copied = tokio::io::copy_bidirectional(&mut client, &mut server) => copied.map(drop),
                        () = breaks.cancelled() => Ok(()),
                    }
                });
            }
        });
        gate
    }

    pub fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.broken.lock().unwrap().cancel();
    }

    pub fn open(&self) {
        *self.broken.lock().unwrap() = CancellationToken::new();
        self.is_open.store(true, Ordering::SeqCst);
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A shop that reaches its index through a gate.
pub async fn shop_behind_a_gate() -> (Shop, Gate) {
    let gate = Gate::to(&servers().elasticsearch_url).await;
    let index =
        ElasticProducts::new(&gate.url(), &format!("{}-", unique()), Region::Eu, Duration::from_secs(10)).unwrap();
    index.create().await.unwrap();
    let redis = redis_at(&servers().redis_url);
    let ratings = RedisRatings::new(redis.clone(), PSEUDONYM_KEY, Duration::from_secs(2));
    (Shop::over(redis, Arc::new(ratings), index).await, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_index_is_away_writes_succeed_pages_work_and_search_finds_and_says_so() {
    let (shop, gate) = shop_behind_a_gate().await;
    let settings = kafka::topics(&[&topics::PRODUCT_CHANGED]).await;
    let stop = CancellationToken::new();
    let feed = KafkaFeed::new(Publisher::new(&settings, Region::Eu, Epoch::new(1)).unwrap());
    let indexer = Arc::new(Indexer::new(shop.app.clone()));
    let topic = [&topics::PRODUCT_CHANGED];
    let consumer = BatchConsumer::new("catalog-indexer", &topic, Region::Eu, &settings, indexer).unwrap();
    // As a process of the role serve has it: one who hears of changes for its pages and its stand-in.
    let pages = Pages::new(shop.app.clone(), PageSettings::default());
    let news = stand_in::News::new(shop.app.products.stand_in.clone(), Region::Eu);
    let hear = stand_in::All(vec![Arc::new(Revisions::new(pages, Region::Eu)), Arc::new(news)]);
    let tail = Tail::new("catalog-pages", &topic, Region::Eu, &settings, Arc::new(hear)).unwrap();
    let (store, ended) = (shop.store.clone(), stop.clone());
    let mut tasks = vec![tokio::spawn(async move { relay::run(&store, &feed, ended).await })];
    tasks.push(tokio::spawn(tail.run(stop.clone())));
    let kept = shop.app.products.stand_in.clone();
    tasks.push(tokio::spawn(stand_in::keep(shop.app.products.store.clone(), kept, stop.clone())));
    let indexing = tokio::spawn(consumer.run(stop.clone()));

    let write = async |name: &str, title: &str| {
        let body = json!({"products": [{
            "sku": shop.sku(name), "family": "general", "category": "toys/tops", "brand": "Acme",
            "texts": {"de": {"name": title}}, "prices": {"EUR": "9.90"}
        }]});
        assert_eq!(shop.post_as(&staff(), "/v1/admin/products/batch", &body).await.status, 200);
    };
    let finds = async |degraded: bool, expected: &[&str]| {
        wait::until("the search to follow", Duration::from_secs(60), async || {
            let answer = shop.get("/v1/search?q=kreisel").await;
            let is_as_expected = answer.status == 200 && answer.body["degraded"] == degraded;
            if is_as_expected && answer.skus(&shop) == expected { Ok(()) } else { Err(answer.body.to_string()) }
        })
        .await;
    };
    write("A", "Roter Kreisel").await;
    finds(false, &["A"]).await;
    wait::until("the stand-in to be filled", Duration::from_secs(30), async || {
        if shop.app.products.stand_in.is_ready() { Ok(()) } else { Err("not yet") }
    })
    .await;

    gate.close();
    write("B", "Kreisel aus Holz").await;
    finds(true, &["A", "B"]).await;
    let answer = shop.get("/v1/search?q=kreisel").await;
    assert_eq!((answer.header("shopsphere-degraded"), answer.header("cache-control")), ("search", "no-store"));
    assert_eq!(
        answer.body["facets"][0],
        json!({"key": "category", "label": "Kategorie", "buckets": [
            {"value": "toys", "label": "Toys", "count": 2, "selected": false},
            {"value": "toys/tops", "label": "Tops", "count": 2, "selected": false}
        ]})
    );
    assert_eq!(shop.get(&format!("/v1/products/{}", shop.sku("B"))).await.status, 200);
    for path in ["/v1/products?category=toys", "/v1/categories", "/v1/search/completions?q=krei"] {
        let answer = shop.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.body["degraded"]), (200, &json!(true)), "{path}");
        assert!(answer.body["items"].as_array().is_some_and(|items| !items.is_empty()), "{path}: {}", answer.body);
        assert_eq!(answer.header("shopsphere-degraded"), "search", "{path}");
    }
    let by_attribute = shop.get("/v1/search?q=kreisel&attr.colour=red").await;
    assert_eq!((by_attribute.status.as_u16(), &by_attribute.body["total"]["value"]), (200, &json!(0)));
    // What it does not keep it does not pretend to know.
    assert_eq!(answer.body["without"][0], "descriptions");
    let path = format!("/v1/admin/products/{}", shop.sku("A"));
    assert_eq!(shop.send_json(&staff(), http::Method::DELETE, &path, None, &serde_json::Value::Null).await.status, 204);
    finds(true, &["B"]).await;

    gate.open();
    finds(false, &["B"]).await;
    assert_eq!(shop.get("/v1/search?q=kreisel").await.header("shopsphere-degraded"), "");

    stop.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    indexing.await.unwrap().unwrap();
    shop.close().await;
}

#[tokio::test]
async fn whoever_leafs_keeps_the_place_when_the_index_comes_back() {
    let (shop, gate) = shop_behind_a_gate().await;
    let drafts = (0..7).map(|number| shop.draft(&format!("P{number}"))).collect();
    shop.stock_up(drafts).await;
    fill(&*shop.app.products.store, &shop.app.products.stand_in, Duration::ZERO).await;
    gate.close();
    let first = shop.get("/v1/search?q=kopfh%C3%B6rer&limit=3").await;
    assert_eq!(
        (first.skus(&shop), &first.body["degraded"]),
        (vec!["P0".into(), "P1".into(), "P2".into()], &json!(true))
    );
    // They have descriptions, and nobody read those.
    assert_eq!(first.body["total"], json!({"value": 7, "relation": "gte"}));
    let next = async |answer: &super::world::Answer| {
        let cursor = answer.body["page"]["next_cursor"].as_str().expect("it goes on").to_owned();
        shop.get(&format!("/v1/search?q=kopfh%C3%B6rer&limit=3&cursor={cursor}")).await
    };
    let second = next(&first).await;
    assert_eq!(second.skus(&shop), ["P3", "P4", "P5"]);
    gate.open();
    wait::until("the index to answer again", Duration::from_secs(30), async || {
        let answer = shop.get("/v1/search?q=kopfh%C3%B6rer").await;
        if answer.body["degraded"] == false { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    let last = next(&second).await;
    assert_eq!((last.skus(&shop), &last.body["degraded"]), (vec!["P6".into()], &json!(true)));
    assert!(last.body["page"]["next_cursor"].is_null());
    shop.close().await;
}

#[tokio::test]
async fn a_stand_in_that_was_not_filled_or_has_no_room_does_not_make_up_answers() {
    let (shop, gate) = shop_behind_a_gate().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    gate.close();
    shop.get("/v1/search?q=x").await.is_problem(503, "dependency-down");
    fill(&*shop.app.products.store, &shop.app.products.stand_in, Duration::ZERO).await;
    assert_eq!(shop.get("/v1/search?q=x").await.status, 200);
    let small = StandIn::new(Region::Eu, 1);
    fill(&*shop.app.products.store, &small, Duration::ZERO).await;
    assert_eq!(small.told().0, 0);
    assert_eq!(small.told().2, 1, "what found no room is counted");
    gate.open();
    shop.close().await;
}

/// A store that answers every second question only, and says how often it was asked.
struct Faltering {
    shop: MemoryProducts,
    asked: AtomicUsize,
}

impl Faltering {
    fn falters(&self) -> Result<(), StoreDown> {
        let answers = self.asked.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        if answers { Ok(()) } else { Err(StoreDown("down for a test".to_owned())) }
    }
}

#[async_trait]
impl ProductStore for Faltering {
    async fn newest(&self, sku: &Sku) -> Result<Option<Revision>, StoreDown> {
        self.shop.newest(sku).await
    }

    async fn newest_many(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        self.shop.newest_many(skus).await
    }

    async fn newest_readable(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        self.falters()?;
        self.shop.newest_readable(skus).await
    }

    async fn insert(&self, revisions: &[Revision]) -> Result<Vec<Insertion>, StoreDown> {
        self.shop.insert(revisions).await
    }

    async fn unpublished(&self, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        self.shop.unpublished(limit).await
    }

    async fn mark_published(&self, revisions: &[Revision]) -> Result<(), StoreDown> {
        self.shop.mark_published(revisions).await
    }

    async fn history(&self, sku: &Sku, before: Option<i64>, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        self.shop.history(sku, before, limit).await
    }

    async fn skus(&self) -> Result<Vec<Sku>, StoreDown> {
        self.falters()?;
        self.shop.skus().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_meanwhile_is_read_on_and_not_from_the_start() {
    let store = Faltering { shop: MemoryProducts::default(), asked: AtomicUsize::new(0) };
    let products: Vec<Revision> = (0..450).map(|number| live(draft(&format!("P{number}")), 1)).collect();
    store.insert(&products).await.unwrap();
    let stand_in = StandIn::new(Region::Eu, 64 * 1024 * 1024);
    fill(&store, &stand_in, Duration::ZERO).await;
    assert!(stand_in.is_ready());
    assert_eq!(stand_in.told().0, 450);
    // The names and three portions, each asked for twice.
    assert_eq!(store.asked.load(Ordering::SeqCst), 8);
}
