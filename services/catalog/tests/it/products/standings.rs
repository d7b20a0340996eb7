//! Availability and popularity in the order of a search: they come by themselves, move what fits alike, and never stand in the way of a
//! newer revision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use catalog::domain::draft::ProductDraft;
use catalog::domain::inventory::{Level, SupplyKind};
use catalog::domain::product::Revision;
use catalog::domain::standing::Standing;
use catalog::inbound::edge_news::{self, Post};
use catalog::inbound::standings::{Seen, follow_trends, look};
use catalog::outbound::memory_stock::MemoryStock;
use catalog::outbound::search::ElasticProducts;
use catalog::usecases::keep_standings::Known;
use catalog::usecases::ports::pages::{StockChanges, StockWatch};
use catalog::usecases::ports::products::{
    Applied, IndexAudit as _, ProductIndex as _, ProductStore as _, TurningIndex as _,
};
use catalog::usecases::ports::purger::{PurgeDown, Purger};
use catalog::usecases::ports::standings::{StandingIndex as _, Standings, Trends};
use catalog::usecases::ports::stock::StoreError;
use common::Sku;
use serde_json::{Value, json};
use testkit::wait;
use tokio_util::sync::CancellationToken;

use super::world::{Shop, live};
use crate::stock::world::{memory_stock, receive};

/// Movements as a story says that they are.
#[derive(Default)]
struct Moved(Mutex<Vec<Sku>>);

impl Moved {
    fn now(&self, skus: &[String]) {
        self.0.lock().unwrap().extend(skus.iter().map(|sku| Sku::parse(sku).unwrap()));
    }
}

#[async_trait]
impl StockWatch for Moved {
    async fn mark(&self) -> Result<i64, StoreError> {
        Ok(self.0.lock().unwrap().len() as i64)
    }

    async fn moved_since(&self, mark: i64) -> Result<StockChanges, StoreError> {
        let moved = self.0.lock().unwrap();
        let mut skus: Vec<Sku> = moved.iter().skip(usize::try_from(mark).unwrap_or(0)).cloned().collect();
        skus.sort();
        skus.dedup();
        Ok(StockChanges { mark: moved.len() as i64, skus })
    }
}

struct Wanted(Option<Vec<Sku>>);

#[async_trait]
impl Trends for Wanted {
    async fn trending(&self) -> Option<Vec<Sku>> {
        self.0.clone()
    }
}

struct Scene {
    shop: Shop,
    stock: Arc<MemoryStock>,
    known: Arc<Known>,
    index: ElasticProducts,
    moved: Moved,
    seen: Seen,
    /// Who tells the edge; nobody by default.
    post: Post,
}

impl Scene {
    /// Products that fit the same words equally well; all of them came in.
    async fn set(names: &[&str]) -> Self {
        let shop = Shop::open().await;
        let stock = Arc::new(memory_stock());
        let known = Arc::new(Known::new(stock.clone()));
        let index = shop.index.clone().knowing(known.clone());
        let (moved, seen, post) = (Moved::default(), Seen::default(), Post::default());
        let scene = Self { shop, stock, known, index, moved, seen, post };
        for name in names {
            scene.comes_in(name, 1).await;
        }
        let revisions: Vec<_> = names.iter().map(|name| live(scene.shop.draft(name), 1)).collect();
        if !revisions.is_empty() {
            scene.shop.store.insert(&revisions).await.unwrap();
        }
        scene.index.apply(&revisions).await.unwrap();
        scene.index.refresh().await.unwrap();
        scene
    }

    async fn comes_in(&self, name: &str, units: u32) {
        let sku = self.shop.sku(name);
        receive(&*self.stock, &super::world::unique(), &[(&sku, SupplyKind::Counted, units)]).await.unwrap();
        self.moved.now(&[sku]);
    }

    async fn is_sold_out(&self, name: &str) {
        let correction = catalog::domain::correction::Correction::new(
            catalog::domain::receipt::ReceiptReference::parse(&super::world::unique()).unwrap(),
            crate::stock::world::centre(crate::stock::world::CENTRES[0]),
            "gone".to_owned(),
            vec![catalog::domain::correction::CorrectionLine {
                sku: Sku::parse(&self.shop.sku(name)).unwrap(),
                change: -1,
            }],
        );
        let by = common::UserId::from_uuid(common::ids::random());
        let now = chrono::DateTime::UNIX_EPOCH;
        use catalog::usecases::ports::stock::StockStore as _;
        self.stock.correct(&correction.unwrap(), by, now).await.unwrap();
        self.moved.now(&[self.shop.sku(name)]);
    }

    /// A product that comes in these sizes, in the store and in the index; its forms are called `V` and the size.
    async fn in_forms(&self, name: &str, sizes: &[&str]) -> Sku {
        let form = |size: &&str| {
            let attributes = json!([{"key": "size", "value": size}]);
            json!({"sku": self.shop.sku(&format!("V{size}")), "attributes": attributes})
        };
        let body = json!({
            "family": "general", "category": "a", "brand": "x", "texts": {"de": {"name": "Kopfhörer"}}, "prices": {"EUR": "1.00"},
            "variants": sizes.iter().map(form).collect::<Vec<_>>()
        });
        let path = format!("/v1/admin/products/{}", self.shop.sku(name));
        let written = self.shop.send_json(&super::world::staff(), http::Method::PUT, &path, None, &body).await;
        assert_eq!(written.status, 201, "{}", written.body);
        let sku = Sku::parse(&self.shop.sku(name)).unwrap();
        let revision = self.shop.store.newest(&sku).await.unwrap().unwrap();
        self.index.apply(&[revision]).await.unwrap();
        sku
    }

    /// Says how many documents were written.
    async fn look(&mut self) -> usize {
        let store = &*self.shop.app.products.store;
        let watch = (&self.moved as &dyn StockWatch, &self.post);
        let written = look(store, &self.index, &self.known, watch, &mut self.seen).await.unwrap();
        self.index.refresh().await.unwrap();
        written
    }

    async fn people_want(&self, names: &[&str]) -> usize {
        let wanted = Wanted(Some(names.iter().map(|name| Sku::parse(&self.shop.sku(name)).unwrap()).collect()));
        let written = follow_trends(&*self.shop.app.products.store, &self.index, &self.known, &wanted).await.unwrap();
        self.index.refresh().await.unwrap();
        written
    }

    async fn found(&self) -> Value {
        let answer = self.shop.get("/v1/search?q=kopfh%C3%B6rer&explain=true").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    async fn order(&self) -> Vec<String> {
        self.shop.get("/v1/search?q=kopfh%C3%B6rer").await.skus(&self.shop)
    }
}

#[tokio::test]
async fn what_is_sold_out_goes_behind_what_fits_alike_and_what_people_want_before_it() {
    let mut scene = Scene::set(&["A", "B", "C"]).await;
    assert_eq!(scene.order().await, ["A", "B", "C"]);
    scene.is_sold_out("A").await;
    assert_eq!(scene.look().await, 1, "one product changed its level");
    assert_eq!(scene.order().await, ["B", "C", "A"]);
    assert_eq!(scene.people_want(&["C"]).await, 1);
    assert_eq!(scene.order().await, ["C", "B", "A"]);
    let body = scene.found().await;
    let explained = |place: usize| {
        let explain = &body["items"][place]["explain"];
        let part = |name: &str| explain[name].as_f64().unwrap();
        let product = part("relevance") * part("availability") * part("popularity") * (1.0 + part("interest"));
        assert!((product - body["items"][place]["score"].as_f64().unwrap()).abs() < 1e-6, "{explain}");
        (part("availability"), part("popularity"))
    };
    assert_eq!((explained(0), explained(1), explained(2)), ((1.0, 1.2), (1.0, 1.0), (0.7, 1.0)));
    let by_price = scene.shop.get("/v1/search?q=kopfh%C3%B6rer&sort=price_asc&explain=true").await;
    assert_eq!(by_price.skus(&scene.shop).len(), 3);
    for item in by_price.body["items"].as_array().unwrap() {
        let nothing = json!({"relevance": 1.0, "availability": 1.0, "popularity": 1.0, "interest": 0.0});
        assert_eq!(item["explain"], nothing, "a price decided, and none of these");
    }
    // The goods come back, and people want something else.
    scene.comes_in("A", 9).await;
    assert_eq!(scene.look().await, 1);
    assert_eq!(scene.people_want(&["B"]).await, 2, "one is popular, one no longer");
    assert_eq!(scene.order().await, ["B", "A", "C"]);
    scene.shop.close().await;
}

#[tokio::test]
async fn movements_of_one_product_are_one_write_and_those_that_change_no_level_are_none() {
    let mut scene = Scene::set(&["A", "B"]).await;
    assert_eq!(scene.look().await, 0, "the pipeline wrote what is known already");
    for _ in 0..5 {
        scene.comes_in("A", 50).await;
    }
    assert_eq!(scene.look().await, 1, "low became in stock, once");
    scene.comes_in("A", 50).await;
    assert_eq!(scene.look().await, 0);
    assert_eq!(scene.people_want(&["A", "B"]).await, 2);
    assert_eq!(scene.people_want(&["B", "A"]).await, 0, "a place within a grade is no news");
    // Nobody can tell: then it stays.
    let store = &*scene.shop.app.products.store;
    assert_eq!(follow_trends(store, &scene.index, &scene.known, &Wanted(None)).await.unwrap(), 0);
    assert_eq!(scene.index.popular(10).await.unwrap().len(), 2);
    scene.shop.close().await;
}

/// Somebody who asked for the levels before they moved.
struct AsItWas;

#[async_trait]
impl Standings for AsItWas {
    async fn of(&self, revisions: &[Revision]) -> HashMap<Sku, Standing> {
        let low = Standing { level: Some(Level::Low), popularity: 0 };
        revisions.iter().map(|revision| (revision.sku().clone(), low)).collect()
    }
}

#[tokio::test]
async fn a_level_that_somebody_overwrote_who_had_read_an_older_one_comes_back() {
    let mut scene = Scene::set(&["A"]).await;
    scene.seen = Seen::settling_in(Duration::ZERO);
    scene.look().await;
    scene.is_sold_out("A").await;
    assert_eq!(scene.look().await, 1);
    // Its document was on the way when the last unit went.
    let late = scene.shop.index.clone().knowing(Arc::new(AsItWas));
    let renamed = live(ProductDraft { brand: "Emca".to_owned(), ..scene.shop.draft("A") }, 2);
    scene.shop.store.insert(std::slice::from_ref(&renamed)).await.unwrap();
    late.apply(std::slice::from_ref(&renamed)).await.unwrap();
    assert_eq!(scene.look().await, 1, "nothing moved, and yet it is looked at again");
    let sku = renamed.sku().clone();
    assert_eq!(scene.index.standings(std::slice::from_ref(&sku)).await.unwrap()[&sku].level, Some(Level::Out));
    assert_eq!(scene.look().await, 0, "once");
    scene.shop.close().await;
}

#[tokio::test]
async fn an_older_revision_overwrites_nothing_and_a_newer_one_keeps_the_standing() {
    let mut scene = Scene::set(&["A"]).await;
    scene.is_sold_out("A").await;
    scene.look().await;
    scene.people_want(&["A"]).await;
    let renamed = ProductDraft { brand: "Emca".to_owned(), ..scene.shop.draft("A") };
    let (old, new) = (live(scene.shop.draft("A"), 1), live(renamed, 2));
    scene.shop.store.insert(std::slice::from_ref(&new)).await.unwrap();
    let stale = Applied { stale: 1, ..Applied::default() };
    assert_eq!(
        scene.index.apply(std::slice::from_ref(&old)).await.unwrap(),
        stale,
        "the same revision again is no news"
    );
    scene.index.apply(std::slice::from_ref(&new)).await.unwrap();
    // Somebody who read the older revision a moment ago writes its standing late.
    assert_eq!(scene.index.renew(std::slice::from_ref(&old)).await.unwrap(), stale);
    scene.index.refresh().await.unwrap();
    let item = scene.found().await["items"][0].clone();
    assert_eq!((&item["brand"], &item["revision"]), (&json!("Emca"), &json!(2)));
    assert_eq!((&item["explain"]["availability"], &item["explain"]["popularity"]), (&json!(0.7), &json!(1.2)));
    assert_eq!(scene.index.differences(&[new]).await.unwrap().len(), 0, "the audit finds it right");
    scene.shop.close().await;
}

#[tokio::test]
async fn a_product_is_there_as_long_as_one_of_its_forms_is() {
    let mut scene = Scene::set(&[]).await;
    let sku = scene.in_forms("P", &["S", "M"]).await;
    let code = async |scene: &Scene| {
        let standings = scene.index.standings(std::slice::from_ref(&sku)).await.unwrap();
        standings[&sku].level.map(|level| level.code())
    };
    let listed = async |scene: &Scene| {
        let (list, search) = tokio::join!(scene.shop.get("/v1/products"), scene.shop.get("/v1/search"));
        [list, search].map(|answer| answer.body["items"][0]["availability"].as_str().unwrap_or_default().to_owned())
    };
    scene.index.refresh().await.unwrap();
    assert_eq!(code(&scene).await, Some("out"), "nothing ever came in");
    assert_eq!(listed(&scene).await, ["out", "out"]);
    scene.comes_in("VM", 9).await;
    assert_eq!(scene.look().await, 1, "the movement of a form is its product's affair");
    assert_eq!(code(&scene).await, Some("in_stock"));
    assert_eq!(listed(&scene).await, ["in_stock", "in_stock"], "in lists too, where its forms are not named");
    scene.shop.close().await;
}

/// An edge that remembers what it was told to forget.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

#[async_trait]
impl Purger for Told {
    async fn purge(&self, keys: &[String]) -> Result<(), PurgeDown> {
        self.0.lock().unwrap().extend_from_slice(keys);
        Ok(())
    }
}

#[tokio::test]
async fn a_form_that_is_sold_out_or_comes_back_is_told_to_the_edge_though_its_product_is_there() {
    let mut scene = Scene::set(&[]).await;
    let page = format!("p-{}", scene.in_forms("P", &["S", "M"]).await);
    let (post, news) = edge_news::post();
    scene.post = post;
    let (edge, stop) = (Arc::new(Told::default()), CancellationToken::new());
    let (told, stopped) = (edge.clone(), stop.clone());
    let telling = tokio::spawn(async move { edge_news::tell(&*told, news, stopped).await });
    // Its page, and no list: what lists say of the product is what they said before.
    let hears = async |times: usize| {
        wait::until("the edge to hear of the page", Duration::from_secs(30), async || {
            let told = edge.0.lock().unwrap().clone();
            if told == vec![page.clone(); times] { Ok(()) } else { Err(told) }
        })
        .await;
    };
    scene.comes_in("VS", 1).await;
    scene.comes_in("VM", 9).await;
    assert_eq!(scene.look().await, 1, "the product is there");
    hears(1).await;
    scene.is_sold_out("VS").await;
    assert_eq!(scene.look().await, 0, "the other form is there, and its document says so");
    hears(2).await;
    scene.comes_in("VM", 9).await;
    assert_eq!(scene.look().await, 0, "more of what was there: no page says anything else");
    scene.comes_in("VS", 1).await;
    assert_eq!(scene.look().await, 0);
    hears(3).await;
    assert_eq!(scene.look().await, 0);
    stop.cancel();
    telling.await.unwrap();
    assert_eq!(edge.0.lock().unwrap().len(), 3, "nothing that changed no level");
    scene.shop.close().await;
}
