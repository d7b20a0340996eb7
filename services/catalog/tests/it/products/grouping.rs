//! How searches travel: alone while the index is idle, together while it is busy, and not at all when the same was just asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use catalog::outbound::search::{ElasticProducts, SearchSettings};
use catalog::usecases::ports::products::{Hit, IndexDown, ProductIndex as _};
use common::Region;
use futures::future::join_all;
use serde_json::{Value, json};
use testkit::{servers, wait};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::world::{draft, index, live, unique};

/// Fails by itself, wherever it travels.
const BAD: usize = 13;
/// The index runs out of time for these: it has found something until then, or nothing.
const LATE: usize = 17;
const LATE_AND_EMPTY: usize = 18;
/// Answers that are read one by one and are too large together, and one that is not even read alone.
const LARGE: [usize; 3] = [91, 92, 93];
const TOO_LARGE: usize = 99;

/// An index that answers when it is allowed to, and remembers the sizes that were asked for, request by request.
struct Index {
    asked: Mutex<Vec<Vec<usize>>>,
    may_answer: Semaphore,
}

impl Index {
    async fn start(grouped: bool) -> (Arc<Self>, ElasticProducts) {
        Self::remembering(grouped, Duration::ZERO).await
    }

    async fn remembering(grouped: bool, remembered: Duration) -> (Arc<Self>, ElasticProducts) {
        let index = Arc::new(Self { asked: Mutex::default(), may_answer: Semaphore::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/{index}/_search", post(one))
            .route("/{index}/_msearch", post(many))
            .with_state(index.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let settings = SearchSettings { deadline: Duration::from_secs(20), remembered, grouped };
        (index, ElasticProducts::with(&url, "", Region::Eu, settings).unwrap())
    }

    async fn answer(&self, sizes: Vec<usize>) {
        self.asked.lock().unwrap().push(sizes);
        self.may_answer.acquire().await.unwrap().forget();
    }

    async fn is_asked(&self, requests: usize) {
        wait::until("the requests to be there", Duration::from_secs(10), async || {
            let asked = self.asked.lock().unwrap().clone();
            if asked.len() >= requests { Ok(()) } else { Err(asked) }
        })
        .await;
    }

    fn everything_may_be_answered(&self) {
        self.may_answer.add_permits(10_000);
    }
}

fn size(question: &str) -> usize {
    let question: Value = serde_json::from_str(question).expect("a question is JSON");
    question["size"].as_u64().unwrap() as usize
}

fn told(size: usize) -> Value {
    match size {
        BAD => json!({"error": {"type": "parsing_exception"}, "status": 400}),
        LATE => json!({"status": 200, "timed_out": true, "hits": {"hits": [{"_source": "a part"}]}}),
        _ if LARGE.contains(&size) => json!({"status": 200, "hits": {"hits": []}, "padding": "x".repeat(6 << 20)}),
        TOO_LARGE => json!({"status": 200, "hits": {"hits": []}, "padding": "x".repeat(17 << 20)}),
        0 | LATE_AND_EMPTY => json!({"status": 200, "timed_out": true, "hits": {"hits": []}}),
        _ => json!({"status": 200, "timed_out": false, "hits": {"hits": []}}),
    }
}

async fn one(State(index): State<Arc<Index>>, body: String) -> impl IntoResponse {
    let size = size(&body);
    index.answer(vec![size]).await;
    let status = if size == BAD { http::StatusCode::BAD_REQUEST } else { http::StatusCode::OK };
    (status, axum::Json(told(size)))
}

async fn many(State(index): State<Arc<Index>>, body: String) -> impl IntoResponse {
    let lines: Vec<&str> = body.lines().collect();
    let sizes: Vec<usize> = lines.chunks(2).map(|pair| size(pair[1])).collect();
    assert!(lines.chunks(2).all(|pair| serde_json::from_str::<Value>(pair[0]).is_ok()));
    index.answer(sizes.clone()).await;
    axum::Json(json!({ "responses": sizes.into_iter().map(told).collect::<Vec<_>>() }))
}

async fn list(products: &ElasticProducts, size: usize) -> Result<Vec<Hit>, IndexDown> {
    products.list(None, None, size, "de").await
}

#[tokio::test]
async fn an_idle_index_is_asked_at_once_and_a_busy_one_in_groups() {
    let (index, products) = Index::start(true).await;
    let searches = (1..=20).map(|size| list(&products, size));
    let (answers, ()) = tokio::join!(join_all(searches), async {
        // Four travel alone; what comes meanwhile does not wait for them, only for each other.
        index.is_asked(5).await;
        index.everything_may_be_answered();
    });
    for (answer, size) in answers.iter().zip(1..) {
        let fails = [BAD, LATE, LATE_AND_EMPTY].contains(&size);
        assert_eq!(answer.is_ok(), !fails, "{size}: each member has its own answer: {answer:?}");
    }
    let mut asked = index.asked.lock().unwrap().clone();
    let alone = asked.iter().filter(|request| request.len() == 1).count();
    assert!(alone >= 4 && asked.len() < 20, "{asked:?}");
    assert!(asked.iter().all(|request| request.len() <= 16), "{asked:?}");
    let mut all: Vec<usize> = asked.drain(..).flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=20).collect::<Vec<_>>(), "each was asked once");
}

#[tokio::test]
async fn what_an_index_broke_off_is_no_answer_and_is_not_remembered() {
    let (index, products) = Index::remembering(true, Duration::from_secs(7_200)).await;
    index.everything_may_be_answered();
    for size in [LATE, LATE, LATE_AND_EMPTY] {
        let answer = list(&products, size).await;
        assert!(answer.is_err(), "{size}: {answer:?}");
    }
    assert_eq!(index.asked.lock().unwrap().len(), 3, "each was asked");
    let (answers, texts) = (products.categories().await, products.completions("a", "de").await);
    assert!(answers.is_err() && texts.is_err(), "{answers:?} {texts:?}");
}

#[tokio::test]
async fn whoever_leaves_does_not_take_the_others_along() {
    let (index, products) = Index::start(true).await;
    let busy = (1..=4).map(|size| list(&products, size));
    let (_, ()) = tokio::join!(join_all(busy), async {
        index.is_asked(4).await;
        let leaves = tokio::time::timeout(Duration::from_micros(50), list(&products, 5));
        let stays = (6..=9).map(|size| list(&products, size));
        let (_, stayed, ()) = tokio::join!(leaves, join_all(stays), async {
            index.is_asked(5).await;
            index.everything_may_be_answered();
        });
        assert!(stayed.iter().all(Result::is_ok), "{stayed:?}");
    });
}

#[tokio::test]
async fn a_group_with_too_large_an_answer_falls_apart_and_each_goes_alone_once() {
    let (index, products) = Index::start(true).await;
    let together = [91, 92, 93, 5, TOO_LARGE];
    let busy = (1..=4).map(|size| list(&products, size));
    let (_, answers) = tokio::join!(join_all(busy), async {
        index.is_asked(4).await;
        let searches = together.map(|size| list(&products, size));
        let (answers, ()) = tokio::join!(join_all(searches), async {
            index.is_asked(5).await;
            index.everything_may_be_answered();
        });
        answers
    });
    for (answer, size) in answers.iter().zip(together) {
        assert_eq!(answer.is_ok(), size != TOO_LARGE, "{size}: {answer:?}");
    }
    let asked = index.asked.lock().unwrap().clone();
    assert_eq!(asked[4], together, "they gathered: {asked:?}");
    let mut alone: Vec<usize> = asked[5..].iter().flatten().copied().collect();
    alone.sort_unstable();
    assert_eq!((asked.len(), alone), (10, vec![5, 91, 92, 93, TOO_LARGE]), "each once: {asked:?}");
    // More in a row than faults that open a breaker.
    for _ in 0..6 {
        assert!(list(&products, TOO_LARGE).await.is_err());
    }
    let small = list(&products, 6).await;
    assert!(small.is_ok(), "nobody says that the index is down: {small:?}");
}

#[tokio::test]
async fn searches_can_be_told_to_travel_alone() {
    let (index, products) = Index::start(false).await;
    index.everything_may_be_answered();
    join_all((1..=12).map(|size| list(&products, size))).await;
    let asked = index.asked.lock().unwrap().clone();
    assert!(asked.len() == 12 && asked.iter().all(|request| request.len() == 1), "{asked:?}");
}

#[tokio::test]
async fn the_same_question_is_asked_once_in_a_while_unless_its_answer_was_empty() {
    // Somebody else writes; this one reads the same index and remembers.
    let writer = index().await;
    let prefix = writer.alias().trim_end_matches("products-eu").to_owned();
    let hours = Duration::from_secs(7_200);
    let settings = SearchSettings { deadline: Duration::from_secs(10), remembered: hours, grouped: true };
    let reader = ElasticProducts::with(&servers().elasticsearch_url, &prefix, Region::Eu, settings).unwrap();
    let found = async || reader.list(None, None, 10, "de").await.unwrap().len();
    let (one, other) = (unique(), unique());
    assert_eq!(found().await, 0);
    writer.apply(&[live(draft(&one), 1)]).await.unwrap();
    writer.refresh().await.unwrap();
    assert_eq!(found().await, 1, "nothing is not remembered");
    writer.apply(&[live(draft(&other), 1)]).await.unwrap();
    writer.refresh().await.unwrap();
    assert_eq!(found().await, 1, "remembered");
    assert_eq!(reader.list(None, None, 9, "de").await.unwrap().len(), 2, "another question");
    reader.refresh().await.unwrap();
    assert_eq!(found().await, 2);
    writer.drop_all().await.unwrap();
}
