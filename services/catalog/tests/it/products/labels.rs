//! Names of categories and attributes: one suite for both stores, what staff may do to them, and who reads which.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::body::Body;
use catalog::domain::labels::{LabelKey, LabelRevision, Nameable, Names, Reader};
use catalog::outbound::memory_labels::MemoryLabels;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::mongo::MongoLabels;
use catalog::usecases::App;
use catalog::usecases::labels::{Labels, PutLabelsError, Wanted, Written, put_labels};
use catalog::usecases::ports::labels::LabelStore;
use catalog::usecases::ports::products::{Insertion, StoreDown};
use common::{Explain as _, Region, UserId, ids};
use http::{Method, Request};
use serde_json::{Value, json};

use super::world::{Answer, Shop, authorised, caller, document_store, staff};
use crate::stock::world::{app_with, memory_stock};

fn clerk() -> UserId {
    UserId::from_uuid(ids::random())
}

fn names(list: &[(&str, &str)]) -> Names {
    Names::check(list.iter().map(|(language, name)| ((*language).to_owned(), (*name).to_owned())).collect()).unwrap()
}

fn change(number: i64, key: &str, names: Names) -> LabelRevision {
    let changed_at = chrono::DateTime::from_timestamp_millis(1_700_000_000_000 + number).unwrap();
    LabelRevision { number, key: LabelKey::parse(key).unwrap(), names, changed_at, changed_by: clerk() }
}

async fn stores() -> [Arc<dyn LabelStore>; 2] {
    [Arc::new(MemoryLabels::default()), Arc::new(MongoLabels::beside(&document_store().await))]
}

#[tokio::test]
async fn changes_of_names_come_back_as_they_were_written_and_in_their_order() {
    for store in stores().await {
        let longest = "ü".repeat(80);
        let changes = [
            change(
                1,
                "/audio/headphones",
                names(&[("de", "Kopfhörer & Co."), ("en", "Headphones"), ("fr", longest.as_str())]),
            ),
            change(2, "screen_size", names(&[("de", "Größe (\"Zoll\")")])),
            change(3, "/audio/headphones", Names::default()),
        ];
        assert_eq!(store.change(1).await.unwrap(), None);
        assert!(store.all().await.unwrap().is_empty());
        for change in &changes {
            assert_eq!(store.insert(change).await.unwrap(), Insertion::Written);
            assert_eq!(store.change(change.number).await.unwrap().as_ref(), Some(change));
        }
        assert_eq!(store.all().await.unwrap(), changes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_of_one_number_of_names_exactly_one_has_it() {
    for store in stores().await {
        let writers = (0..12).map(|n| {
            let (store, change) = (store.clone(), change(1, &format!("k{n}"), names(&[("en", "Name")])));
            tokio::spawn(async move { store.insert(&change).await.unwrap() })
        });
        let outcomes = futures::future::join_all(writers).await.into_iter().map(Result::unwrap);
        assert_eq!(outcomes.filter(|outcome| *outcome == Insertion::Written).count(), 1);
        assert_eq!(store.all().await.unwrap().len(), 1);
    }
}

/// A shop in memory with these names behind it.
fn shop(store: Arc<dyn LabelStore>) -> Arc<App> {
    let mut app = app_with(Arc::new(memory_stock()), Arc::new(MemoryProducts::default()));
    let opened = Arc::get_mut(&mut app).expect("nobody else has it yet");
    opened.products.labels = Arc::new(Labels::new(store));
    app
}

async fn name(app: &App, key: &str, english: &str) -> Result<Written, PutLabelsError> {
    let (key, names) = (LabelKey::parse(key).unwrap(), names(&[("en", english)]));
    put_labels(app, Wanted { key, names, by: clerk(), reason: "a test".to_owned() }, None).await
}

fn read(app: &App, attribute: &str) -> String {
    let book = app.products.labels.shown();
    Reader { language: "en", region: Region::Eu, book: &book }.attribute(attribute)
}

#[tokio::test]
async fn what_one_process_names_another_shows_after_its_next_look() {
    for store in stores().await {
        let (office, front) = (shop(store.clone()), shop(store));
        name(&office, "colour", "Shade").await.unwrap();
        assert_eq!((read(&office, "colour"), read(&front, "colour")), ("Colour".to_owned(), "Colour".to_owned()));
        for app in [&office, &front] {
            app.products.labels.refresh().await.unwrap();
            assert_eq!((read(app, "colour"), app.products.labels.version()), ("Shade".to_owned(), 1));
        }
        // More changes than are followed one by one.
        for number in 2..=40 {
            let written = name(&office, "colour", &format!("Shade {number}")).await.unwrap();
            assert_eq!(written, Written { revision: number, created: false });
        }
        front.products.labels.refresh().await.unwrap();
        assert_eq!((read(&front, "colour"), front.products.labels.version()), ("Shade 40".to_owned(), 40));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_name_things_at_once_nobody_is_lost() {
    for store in stores().await {
        let app = shop(store.clone());
        let writers = (0..8).map(|n| {
            let app = app.clone();
            tokio::spawn(async move { name(&app, &format!("k{n}"), "Name").await.unwrap() })
        });
        assert!(futures::future::join_all(writers).await.into_iter().all(|written| written.unwrap().created));
        let book = app.products.labels.newest().await.unwrap();
        assert_eq!((store.all().await.unwrap().len(), book.all(Nameable::Attribute).count()), (8, 8));
    }
}

/// A store that can be away.
#[derive(Default)]
struct Shaky {
    inner: MemoryLabels,
    is_down: AtomicBool,
}

impl Shaky {
    fn up(&self) -> Result<&MemoryLabels, StoreDown> {
        if self.is_down.load(Ordering::Relaxed) { Err(StoreDown("away".to_owned())) } else { Ok(&self.inner) }
    }
}

#[async_trait]
impl LabelStore for Shaky {
    async fn change(&self, number: i64) -> Result<Option<LabelRevision>, StoreDown> {
        self.up()?.change(number).await
    }

    async fn insert(&self, revision: &LabelRevision) -> Result<Insertion, StoreDown> {
        self.up()?.insert(revision).await
    }

    async fn all(&self) -> Result<Vec<LabelRevision>, StoreDown> {
        self.up()?.all().await
    }
}

#[tokio::test]
async fn while_the_store_is_away_readers_see_what_was_known_and_nobody_names_anything() {
    let store = Arc::new(Shaky::default());
    let app = shop(store.clone());
    name(&app, "colour", "Shade").await.unwrap();
    app.products.labels.refresh().await.unwrap();
    store.is_down.store(true, Ordering::Relaxed);
    assert!(app.products.labels.refresh().await.is_err());
    assert_eq!(name(&app, "colour", "Hue").await.unwrap_err().code(), "dependency-down");
    assert_eq!(read(&app, "colour"), "Shade");
    store.is_down.store(false, Ordering::Relaxed);
    app.products.labels.refresh().await.unwrap();
    assert_eq!((read(&app, "colour"), app.products.labels.version()), ("Shade".to_owned(), 1));
}

async fn in_language(shop: &Shop, language: &str, path: &str) -> Answer {
    let request = Request::get(path).header("accept-language", language).body(Body::empty()).unwrap();
    let answer = shop.send(request).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer
}

async fn put(shop: &Shop, path: &str, if_match: Option<&str>, labels: Value) -> Answer {
    shop.send_json(&staff(), Method::PUT, path, if_match, &json!({"labels": labels})).await
}

fn facet<'a>(search: &'a Value, key: &str) -> &'a Value {
    let facets = search["facets"].as_array().expect("facets");
    facets.iter().find(|facet| facet["key"] == key).unwrap_or_else(|| panic!("{key} in {search}"))
}

fn labels(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap_or_else(|| panic!("a list: {list}"));
    items.iter().map(|item| item["label"].as_str().unwrap_or_default()).collect()
}

/// What a reader of this language is told: of the categories, of the colour, and of two facets that every shop has.
async fn told(shop: &Shop, language: &str) -> [String; 5] {
    let search = in_language(shop, language, "/v1/search?brand=Acme").await.body;
    let tree = in_language(shop, language, "/v1/categories").await.body;
    let page = in_language(shop, language, &format!("/v1/products/{}", shop.sku("A"))).await.body;
    let list = in_language(shop, language, "/v1/products?category=audio").await.body;
    let categories = labels(&tree["items"]);
    assert_eq!(categories, labels(&page["breadcrumbs"]), "{language}");
    assert_eq!(categories, labels(&facet(&search, "category")["buckets"]), "{language}");
    let colour = facet(&search, "attr.colour")["label"].clone();
    assert_eq!([&colour, &colour], [&page["attributes"][0]["label"], &list["items"][0]["attributes"][0]["label"]]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let built_in = |key: &str| text(&facet(&search, key)["label"]);
    [categories[0].to_owned(), categories[1].to_owned(), text(&colour), built_in("category"), built_in("brand")]
}

#[tokio::test]
async fn a_category_has_a_name_in_each_language_of_its_readers() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    let in_words = ["Audio", "Headphones", "Colour", "Kategorie", "Marke"];
    assert_eq!(told(&shop, "de").await, in_words);

    let (audio, headphones) = ("/v1/admin/categories/audio", "/v1/admin/categories/audio/headphones");
    let colour = "/v1/admin/attributes/colour";
    let made = put(&shop, audio, None, json!({"de": "Ton & Klang", "en": "Sound"})).await;
    assert_eq!((made.status.as_u16(), &made.body, made.header("etag")), (201, &json!({"revision": 1}), "\"1\""));
    assert_eq!(put(&shop, headphones, None, json!({"de": "Kopfhörer", "fr": "Casques"})).await.status, 201);
    let hues = json!({"de": "Farbe", "en": "Hue", "fr": "Couleur"});
    assert_eq!(put(&shop, colour, None, hues.clone()).await.header("etag"), "\"3\"");
    assert_eq!(told(&shop, "de").await, in_words, "until the next look");

    shop.app.products.labels.refresh().await.unwrap();
    assert_eq!(told(&shop, "de").await, ["Ton & Klang", "Kopfhörer", "Farbe", "Kategorie", "Marke"]);
    // What has no French or English name has that of the region's first language.
    assert_eq!(told(&shop, "fr-CA").await, ["Ton & Klang", "Casques", "Couleur", "Catégorie", "Marque"]);
    assert_eq!(told(&shop, "en").await, ["Sound", "Kopfhörer", "Hue", "Category", "Brand"]);

    let page = format!("/v1/products/{}", shop.sku("A"));
    let before = in_language(&shop, "en", &page).await;
    let again = put(&shop, colour, Some("\"3\""), hues).await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (200, "\"3\""), "writing what is there writes nothing");
    let changed = put(&shop, colour, Some("\"3\""), json!({"en": "Colour & finish"})).await;
    assert_eq!((changed.status.as_u16(), changed.header("etag")), (200, "\"4\""));
    put(&shop, colour, Some("\"3\""), json!({"en": "Late"})).await.is_problem(412, "precondition-failed");
    shop.app.products.labels.refresh().await.unwrap();
    assert_eq!(told(&shop, "en").await[2], "Colour & finish");
    assert_eq!(told(&shop, "fr").await[2], "Colour", "neither French nor German any more");
    let after = in_language(&shop, "en", &page).await;
    assert_ne!(before.header("etag"), after.header("etag"));

    let list = shop.get_as(&staff(), "/v1/admin/categories").await;
    let paths: Vec<_> = list.body["items"].as_array().unwrap().iter().map(|item| item["path"].as_str()).collect();
    assert_eq!(paths, [Some("audio"), Some("audio/headphones")]);
    let shown = shop.get_as(&staff(), colour).await;
    assert_eq!((shown.header("etag"), &shown.body["labels"]), ("\"4\"", &json!({"en": "Colour & finish"})));
    assert_eq!((&shown.body["key"], &shown.body["revision"]), (&json!("colour"), &json!(4)));
    let removed = shop.send_json(&staff(), Method::DELETE, colour, Some("\"4\""), &Value::Null).await;
    assert_eq!(removed.status, 204);
    shop.send_json(&staff(), Method::DELETE, colour, None, &Value::Null).await.is_problem(404, "not-found");
    shop.get_as(&staff(), colour).await.is_problem(404, "not-found");
    shop.app.products.labels.refresh().await.unwrap();
    assert_eq!(told(&shop, "en").await[2], "Colour");
    let acts: Vec<_> = shop.notes.acts().into_iter().map(|act| (act.name, act.subject)).collect();
    let act = |name, subject: &str| (name, subject.to_owned());
    assert_eq!(
        acts,
        [
            act("category.name", "/audio"),
            act("category.name", "/audio/headphones"),
            act("attribute.name", "colour"),
            act("attribute.name", "colour"),
            act("attribute.name", "colour"),
        ]
    );
    shop.close().await;
}

#[tokio::test]
async fn only_the_desk_of_products_says_what_things_are_called() {
    let shop = Shop::open().await;
    let body = json!({"labels": {"de": "Ton"}});
    for path in ["/v1/admin/categories/audio", "/v1/admin/attributes/colour"] {
        for roles in [&[][..], &["shopper"], &["pricing"], &["Staff"]] {
            let nobody = caller(clerk(), roles);
            for method in [Method::PUT, Method::DELETE, Method::GET] {
                shop.send_json(&nobody, method, path, None, &body).await.is_problem(403, "forbidden");
            }
        }
    }
    for path in ["/v1/admin/categories", "/v1/admin/attributes"] {
        shop.get_as(&caller(clerk(), &["shopper"]), path).await.is_problem(403, "forbidden");
    }
    assert!(MongoLabels::beside(&shop.store).all().await.unwrap().is_empty());
    let merchandiser = caller(clerk(), &["merchandiser"]);
    let path = "/v1/admin/categories/audio?reason=spring";
    assert_eq!(shop.send_json(&merchandiser, Method::PUT, path, None, &body).await.status, 201);
    assert_eq!(shop.notes.acts()[0].reason, "spring");
    shop.close().await;
}

#[tokio::test]
async fn names_that_are_too_much_or_half_or_hostile_are_refused_with_their_place_and_nothing_is_stored() {
    let shop = Shop::open().await;
    let send = async |path: &str, if_match: Option<&str>, body: String| {
        let request = authorised(&staff(), Request::builder().method(Method::PUT).uri(path));
        let request = request.header("content-type", "application/json");
        let request = if let Some(tag) = if_match { request.header("if-match", tag) } else { request };
        shop.send(request.body(Body::from(body)).unwrap()).await
    };
    let german = |name: &str| json!({"labels": {"de": name}}).to_string();
    let many: serde_json::Map<String, Value> = (0..500).map(|number| (format!("x{number}"), json!("Ton"))).collect();
    for (body, status, code, pointer) in [
        (german(""), 422, "invalid-field", "/labels/de"),
        (german(&"x".repeat(81)), 422, "invalid-field", "/labels/de"),
        (german("two\nlines"), 422, "invalid-field", "/labels/de"),
        (german("nul\0"), 422, "invalid-field", "/labels/de"),
        (german("<script>alert(1)</script>"), 422, "invalid-field", "/labels/de"),
        (german("gnp.\u{202e}exe"), 422, "invalid-field", "/labels/de"),
        (german(&"x".repeat(100_000)), 413, "body-too-large", ""),
        (json!({"labels": {}}).to_string(), 422, "invalid-field", "/labels"),
        (json!({"labels": {"xx": "Ton"}}).to_string(), 422, "invalid-field", "/labels"),
        (json!({"labels": many}).to_string(), 422, "invalid-field", "/labels"),
        (r#"{"labels": {"de": "Ton", "de": "Klang"}}"#.to_owned(), 422, "invalid-field", "/labels"),
        (json!({"labels": {"de": "Ton"}, "path": "/toys"}).to_string(), 422, "unknown-field", "/path"),
        (json!({"labels": {"de": 7}}).to_string(), 422, "invalid-field", "/labels"),
        (json!({"labels": [["de", "Ton"]]}).to_string(), 422, "invalid-field", "/labels"),
        (german("Ton")[..10].to_owned(), 400, "malformed-request", ""),
        (String::new(), 400, "malformed-request", ""),
    ] {
        for path in ["/v1/admin/categories/audio/headphones", "/v1/admin/attributes/colour"] {
            let shown: String = body.chars().take(100).collect();
            let answer = send(path, None, body.clone()).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{shown}: {}", answer.body);
            let told = answer.body["errors"][0]["pointer"].as_str().unwrap_or_default();
            assert!(told.starts_with(pointer) && told.is_empty() == pointer.is_empty(), "{shown}: {told}");
        }
    }
    let unknown = send("/v1/admin/attributes/colour", None, json!({"labels": {"DE": "Ton"}}).to_string()).await;
    let message = unknown.body["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("de, en, fr"), "the known ones are told: {message}");
    for path in [
        "/v1/admin/categories/Audio",
        "/v1/admin/categories/a/b/c/d/e/f",
        "/v1/admin/categories/..%2Fetc",
        "/v1/admin/categories/audio%00",
        "/v1/admin/attributes/%24set",
        "/v1/admin/attributes/a%2Fb",
        "/v1/admin/attributes/%2Faudio",
    ] {
        send(path, None, german("Ton")).await.is_problem(404, "not-found");
    }
    // Somebody has seen names that are not there.
    for tag in ["\"1\"", "*", "1"] {
        send("/v1/admin/categories/audio", Some(tag), german("Ton")).await.is_problem(412, "precondition-failed");
    }
    assert!(MongoLabels::beside(&shop.store).all().await.unwrap().is_empty());
    assert!(shop.notes.acts().is_empty());
    shop.close().await;
}
