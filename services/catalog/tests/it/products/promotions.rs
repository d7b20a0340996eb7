//! Promotions: one suite for both stores, what staff may do to them, and what a quote says about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use catalog::domain::lines::Line;
use catalog::domain::promotion::{Promotion, PromotionRevision, PromotionState};
use catalog::domain::promotion_draft::{CouponDraft, PromotionDraft, TargetDraft};
use catalog::inbound::promotions::learn;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::memory_promotions::MemoryPromotions;
use catalog::outbound::mongo::MongoPromotions;
use catalog::usecases::App;
use catalog::usecases::ports::products::{Insertion, ProductStore as _, StoreDown};
use catalog::usecases::ports::promotions::PromotionStore;
use catalog::usecases::promotions::{Promotions, PutPromotionError, Written, put_promotion};
use catalog::usecases::quote::{CouponAnswer, Quote, quote};
use common::{Explain as _, Sku, UserId, ids};
use futures::future::join_all;
use futures::poll;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::world::{Shop, caller, document_store, draft, live, staff, unique};
use crate::stock::world::{app_with, memory_stock};

fn clerk() -> UserId {
    UserId::from_uuid(ids::random())
}

fn wanted(id: &str) -> PromotionDraft {
    PromotionDraft {
        id: id.to_owned(),
        title: "Autumn".to_owned(),
        percent: Some("10".to_owned()),
        target: TargetDraft { basket: true, ..TargetDraft::default() },
        stacks: true,
        ..PromotionDraft::default()
    }
}

fn promotion(draft: PromotionDraft) -> Promotion {
    draft.check().unwrap()
}

fn with_code(id: &str, code: &str) -> PromotionDraft {
    let coupon = CouponDraft { code: code.to_owned(), most_uses: Some(100), most_per_person: None };
    PromotionDraft { coupon: Some(coupon), ..wanted(id) }
}

fn change(number: i64, state: PromotionState) -> PromotionRevision {
    let changed_at = chrono::DateTime::from_timestamp_millis(1_700_000_000_000 + number).unwrap();
    PromotionRevision { number, state, changed_at, changed_by: clerk() }
}

async fn stores() -> [Arc<dyn PromotionStore>; 2] {
    [Arc::new(MemoryPromotions::default()), Arc::new(MongoPromotions::beside(&document_store().await))]
}

#[tokio::test]
async fn changes_come_back_as_they_were_written_and_in_their_order() {
    for store in stores().await {
        let everything = PromotionDraft {
            regions: vec!["us".to_owned(), "eu".to_owned()],
            from: Some("2026-11-01T00:00:00.250Z".to_owned()),
            until: Some("2026-12-01T01:00:00+01:00".to_owned()),
            priority: -7,
            target: TargetDraft { categories: vec!["audio/headphones".to_owned()], ..TargetDraft::default() },
            ..with_code("full", "full-10")
        };
        let amounts = PromotionDraft {
            percent: None,
            amount: Some(vec![("EUR".to_owned(), "5.00".to_owned()), ("JPY".to_owned(), "700".to_owned())]),
            target: TargetDraft { skus: vec!["B".to_owned(), "A".to_owned()], ..TargetDraft::default() },
            stacks: false,
            ..wanted("amounts")
        };
        let live = |draft| PromotionState::Live(promotion(draft));
        let ended = PromotionState::Ended(promotion(wanted("full")).id);
        let changes = [change(1, live(everything)), change(2, live(amounts)), change(3, ended)];
        assert_eq!(store.change(1).await.unwrap(), None);
        for change in &changes {
            assert_eq!(store.insert(change).await.unwrap(), Insertion::Written);
            assert_eq!(store.change(change.number).await.unwrap().as_ref(), Some(change));
        }
        assert_eq!(store.all().await.unwrap(), changes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_of_one_number_exactly_one_has_it() {
    for store in stores().await {
        let writers = (0..12).map(|n| {
            let store = store.clone();
            let change = change(1, PromotionState::Live(promotion(wanted(&format!("p{n}")))));
            tokio::spawn(async move { store.insert(&change).await.unwrap() })
        });
        let outcomes = futures::future::join_all(writers).await.into_iter().map(Result::unwrap);
        assert_eq!(outcomes.filter(|outcome| *outcome == Insertion::Written).count(), 1);
        assert_eq!(store.all().await.unwrap().len(), 1);
    }
}

/// A shop in memory with these promotions behind it.
async fn shop(store: Arc<dyn PromotionStore>) -> Arc<App> {
    let products = Arc::new(MemoryProducts::default());
    products.insert(&[live(draft("A"), 1), live(draft("B"), 1)]).await.unwrap();
    let mut app = app_with(Arc::new(memory_stock()), products);
    let opened = Arc::get_mut(&mut app).expect("nobody else has it yet");
    opened.products.promotions = Arc::new(Promotions::new(store));
    app
}

async fn put(app: &App, draft: PromotionDraft) -> Result<Written, PutPromotionError> {
    put_promotion(app, PromotionState::Live(promotion(draft)), None, clerk()).await
}

async fn quoted(app: &App, coupon: Option<&str>) -> Quote {
    let line = |sku: &str, quantity| Line { sku: Sku::parse(sku).unwrap(), quantity };
    quote(app, vec![line("A", 2), line("B", 1)], coupon).await.unwrap()
}

fn cuts(quote: &Quote) -> Vec<Vec<(&str, i64, i64)>> {
    quote
        .lines
        .iter()
        .map(|line| line.cuts.iter().map(|cut| (cut.promotion.as_str(), cut.revision, cut.amount.minor())).collect())
        .collect()
}

#[tokio::test]
async fn what_one_process_changes_another_reckons_with_at_once() {
    for store in stores().await {
        let (office, front) = (shop(store.clone()).await, shop(store).await);
        assert_eq!(cuts(&quoted(&front, None).await), [vec![], vec![]]);
        put(&office, wanted("autumn")).await.unwrap();
        assert_eq!(cuts(&quoted(&front, None).await), [vec![("autumn", 1, 998)], vec![("autumn", 1, 499)]]);
        // The coupon's own comes first by its priority; the other reckons on what is left.
        put(&office, PromotionDraft { priority: 5, ..with_code("coupon", "ten") }).await.unwrap();
        let with = quoted(&front, Some(" TEN ")).await;
        assert_eq!(
            cuts(&with),
            [vec![("coupon", 2, 998), ("autumn", 1, 898)], vec![("coupon", 2, 499), ("autumn", 1, 449)]]
        );
        assert_eq!(with.coupon, Some(CouponAnswer::Good { revision: 2, most_uses: Some(100), most_per_person: None }));
        // More changes than are followed one by one.
        for percent in 1..=40 {
            put(&office, PromotionDraft { percent: Some(percent.to_string()), ..wanted("autumn") }).await.unwrap();
        }
        assert_eq!(cuts(&quoted(&front, None).await)[1], [("autumn", 42, 1_996)]);
        let end = PromotionState::Ended(promotion(wanted("autumn")).id);
        put_promotion(&office, end, Some(42), clerk()).await.unwrap();
        assert_eq!(cuts(&quoted(&front, None).await), [vec![], vec![]]);
    }
}

/// A store whose looks take as long as the test wants: what is found is what was there when the look began.
struct Slow {
    inner: MemoryPromotions,
    looks: AtomicUsize,
    is_down: AtomicBool,
    may_answer: Semaphore,
    lists: AtomicUsize,
    may_list: Semaphore,
}

impl Slow {
    fn new(may_list: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryPromotions::default(),
            looks: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            may_answer: Semaphore::new(0),
            lists: AtomicUsize::new(0),
            may_list: Semaphore::new(may_list),
        })
    }
}

#[async_trait]
impl PromotionStore for Slow {
    async fn change(&self, number: i64) -> Result<Option<PromotionRevision>, StoreDown> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let found = self.inner.change(number).await;
        self.may_answer.acquire().await.unwrap().forget();
        if self.is_down.load(Ordering::Relaxed) { Err(StoreDown("away".to_owned())) } else { found }
    }

    async fn insert(&self, revision: &PromotionRevision) -> Result<Insertion, StoreDown> {
        self.inner.insert(revision).await
    }

    async fn all(&self) -> Result<Vec<PromotionRevision>, StoreDown> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.may_list.acquire().await.unwrap().forget();
        self.inner.all().await
    }
}

#[tokio::test]
async fn readers_of_one_moment_share_a_look_and_nobody_takes_one_that_began_before_them() {
    let store = Slow::new(1);
    let promotions = Promotions::new(store.clone());
    let looks = || store.looks.load(Ordering::Relaxed);
    let mut first = Box::pin(promotions.current());
    assert!(poll!(&mut first).is_pending());
    // The look has found nothing yet when this is written; whoever comes now must see it.
    store.insert(&change(1, PromotionState::Live(promotion(wanted("autumn"))))).await.unwrap();
    let mut others = Box::pin(join_all((0..20).map(|_| promotions.current())));
    assert!(poll!(&mut others).is_pending());
    assert_eq!(looks(), 1);
    store.may_answer.add_permits(3);
    assert_eq!(first.await.unwrap().number(), 0);
    assert!(others.await.into_iter().all(|book| book.unwrap().number() == 1));
    // The change, and that there is none after it: for twenty readers as for one.
    assert_eq!(looks(), 3);

    // A failure is told to all who wait by then; the next one looks anew.
    let mut first = Box::pin(promotions.current());
    assert!(poll!(&mut first).is_pending());
    let mut others = Box::pin(join_all((0..20).map(|_| promotions.current())));
    assert!(poll!(&mut others).is_pending());
    store.is_down.store(true, Ordering::Relaxed);
    store.may_answer.add_permits(1);
    assert!(first.await.is_err());
    assert!(others.await.iter().all(Result::is_err));
    assert_eq!(looks(), 4);
    store.is_down.store(false, Ordering::Relaxed);

    // One who goes away in the middle takes nobody along.
    let mut first = Box::pin(promotions.current());
    assert!(poll!(&mut first).is_pending());
    let mut other = Box::pin(promotions.current());
    assert!(poll!(&mut other).is_pending());
    drop(first);
    store.may_answer.add_permits(1);
    assert_eq!(other.await.unwrap().number(), 1);
}

#[tokio::test]
async fn quotes_that_give_up_while_the_promotions_are_read_for_the_first_time_do_not_end_the_reading() {
    let store = Slow::new(0);
    store.insert(&change(1, PromotionState::Live(promotion(wanted("autumn"))))).await.unwrap();
    let promotions = Arc::new(Promotions::new(store.clone()));
    let mut learning = Box::pin(learn(promotions.clone(), CancellationToken::new()));
    assert!(poll!(&mut learning).is_pending());
    for _ in 0..5 {
        let mut quote = Box::pin(promotions.current());
        assert!(poll!(&mut quote).is_pending());
    }
    // What was read is kept, though the store goes away before anybody can be told.
    store.is_down.store(true, Ordering::Relaxed);
    store.may_list.add_permits(1);
    store.may_answer.add_permits(1);
    assert!(poll!(&mut learning).is_pending());
    store.is_down.store(false, Ordering::Relaxed);
    store.may_answer.add_permits(2);
    learning.await;
    assert_eq!(promotions.current().await.unwrap().number(), 1);
    assert_eq!((store.lists.load(Ordering::Relaxed), store.looks.load(Ordering::Relaxed)), (1, 3));
}

#[tokio::test]
async fn a_coupon_is_answered_for_whatever_was_typed_in() {
    let app = shop(Arc::new(MemoryPromotions::default())).await;
    let over = PromotionDraft { until: Some("2020-01-01T00:00:00Z".to_owned()), ..with_code("over", "over") };
    let elsewhere = PromotionDraft { regions: vec!["us".to_owned()], ..with_code("elsewhere", "elsewhere") };
    let other = TargetDraft { categories: vec!["fashion".to_owned()], ..TargetDraft::default() };
    let coats = PromotionDraft { target: other, ..with_code("coats", "coats") };
    for draft in [over, elsewhere, coats] {
        put(&app, draft).await.unwrap();
    }
    for (code, expected) in [
        ("over", CouponAnswer::NotNow),
        ("elsewhere", CouponAnswer::Unknown),
        ("coats", CouponAnswer::ReducesNothing),
        ("nobody-knows", CouponAnswer::Unknown),
        ("{\"$gt\": \"\"}", CouponAnswer::Unknown),
    ] {
        let quote = quoted(&app, Some(code)).await;
        assert_eq!((quote.coupon.as_ref(), cuts(&quote)), (Some(&expected), vec![vec![], vec![]]), "{code}");
    }
    assert_eq!(quoted(&app, None).await.coupon, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_promotions_with_one_code_one_gets_it_and_no_change_is_lost() {
    for store in stores().await {
        let app = shop(store.clone()).await;
        let twins = (0..8).map(|n| {
            let app = app.clone();
            tokio::spawn(async move { put(&app, with_code(&format!("p{n}"), "same")).await })
        });
        let mut won = 0;
        for twin in futures::future::join_all(twins).await {
            match twin.unwrap() {
                Ok(_) => won += 1,
                Err(error) => {
                    assert_eq!((error.code(), error.fields()[0].pointer.as_str()), ("invalid-field", "/coupon/code"))
                }
            }
        }
        assert_eq!(won, 1);
        let others = (0..8).map(|n| {
            let app = app.clone();
            tokio::spawn(async move { put(&app, wanted(&format!("other-{n}"))).await.unwrap() })
        });
        for other in futures::future::join_all(others).await {
            assert!(other.unwrap().created);
        }
        assert_eq!(
            (store.all().await.unwrap().len(), app.products.promotions.current().await.unwrap().all().count()),
            (9, 9)
        );
    }
}

fn body() -> Value {
    json!({
        "title": "Autumn", "percent": "12.5", "target": {"categories": ["audio"]}, "priority": 3,
        "until": "2099-01-01T00:00:00Z", "coupon": {"code": "autumn-10", "most_uses": 100, "most_per_person": 1}
    })
}

#[tokio::test]
async fn staff_writes_shows_and_ends_promotions_and_nobody_else_does() {
    let shop = Shop::open().await;
    let path = "/v1/admin/promotions/autumn";
    let shopper = caller(clerk(), &["shopper"]);
    for (method, path) in
        [(Method::PUT, path), (Method::DELETE, path), (Method::GET, path), (Method::GET, "/v1/admin/promotions")]
    {
        shop.send_json(&shopper, method, path, None, &body()).await.is_problem(403, "forbidden");
    }
    shop.get_as(&staff(), path).await.is_problem(404, "not-found");
    let made = shop.send_json(&staff(), Method::PUT, path, None, &body()).await;
    assert_eq!(
        (made.status.as_u16(), &made.body, made.header("etag")),
        (201, &json!({"id": "autumn", "revision": 1}), "\"1\"")
    );
    let again = shop.send_json(&staff(), Method::PUT, path, Some("\"1\""), &body()).await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (200, "\"1\""), "writing what is there writes nothing");
    let shown = shop.get_as(&staff(), path).await;
    assert_eq!(
        shown.body,
        json!({
            "id": "autumn", "revision": 1, "title": "Autumn", "percent": "12.50", "target": {"categories": ["audio"]},
            "until": "2099-01-01T00:00:00.000Z", "priority": 3, "stacks": false, "in_force": true,
            "coupon": {"code": "AUTUMN-10", "most_uses": 100, "most_per_person": 1}
        })
    );
    let mut changed = body();
    changed["percent"] = json!("15");
    let written = shop.send_json(&staff(), Method::PUT, path, Some("\"1\""), &changed).await;
    assert_eq!((written.status.as_u16(), written.header("etag")), (200, "\"2\""));
    shop.send_json(&staff(), Method::PUT, path, Some("\"1\""), &body()).await.is_problem(412, "precondition-failed");
    let list = shop.get_as(&staff(), "/v1/admin/promotions").await;
    assert_eq!(
        (list.body["items"].as_array().unwrap().len(), list.body["items"][0]["percent"].as_str()),
        (1, Some("15.00"))
    );
    let taken = shop.send_json(&staff(), Method::PUT, "/v1/admin/promotions/other", None, &body()).await;
    taken.is_problem(422, "invalid-field");
    assert_eq!(taken.body["errors"][0]["pointer"], "/coupon/code");
    shop.send_json(&staff(), Method::DELETE, path, Some("\"1\""), &Value::Null)
        .await
        .is_problem(412, "precondition-failed");
    assert_eq!(shop.send_json(&staff(), Method::DELETE, path, Some("\"2\""), &Value::Null).await.status, 204);
    shop.send_json(&staff(), Method::DELETE, path, None, &Value::Null).await.is_problem(404, "not-found");
    shop.close().await;
}

#[tokio::test]
async fn a_promotion_that_makes_no_sense_is_refused_with_all_its_faults() {
    let shop = Shop::open().await;
    let path = format!("/v1/admin/promotions/{}", unique());
    for (pointer, value, fault) in [
        ("/percent", json!("100"), "/percent"),
        ("/percent", json!("-5"), "/percent"),
        ("/amount", json!({"EUR": "5.00"}), "/percent"),
        ("/target", json!({}), "/target"),
        ("/target", json!({"basket": true, "skus": ["A"]}), "/target"),
        ("/target", json!({"skus": ["../etc"]}), "/target/skus/0"),
        ("/until", json!("tomorrow"), "/until"),
        ("/coupon", json!({"code": "x"}), "/coupon/code"),
        ("/coupon", json!({"code": "abc", "most_uses": 0}), "/coupon/most_uses"),
        ("/priority", json!(5_000), "/priority"),
    ] {
        let mut crooked = body();
        crooked[&pointer[1..]] = value.clone();
        let refused = shop.send_json(&staff(), Method::PUT, &path, None, &crooked).await;
        refused.is_problem(422, "invalid-field");
        assert_eq!(refused.body["errors"][0]["pointer"], fault, "{pointer} {value}");
    }
    let mut unknown = body();
    unknown["cheap"] = json!(true);
    shop.send_json(&staff(), Method::PUT, &path, None, &unknown).await.is_problem(422, "unknown-field");
    shop.send_json(&staff(), Method::PUT, "/v1/admin/promotions/No%20Good", None, &body())
        .await
        .is_problem(422, "invalid-field");
    shop.get_as(&staff(), &path).await.is_problem(404, "not-found");
    shop.close().await;
}
