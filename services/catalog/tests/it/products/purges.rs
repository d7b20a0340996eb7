//! The edge is told what changed, until it takes it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use catalog::domain::draft::PriceDraft;
use catalog::domain::inventory::SupplyKind;
use catalog::inbound::edge_news::{self, Renewing};
use catalog::inbound::purges::Purges;
use catalog::outbound::cdn::PurgeWebhook;
use catalog::outbound::feed::KafkaFeed;
use catalog::usecases::keep_standings::{Known, keep_standings};
use catalog::usecases::ports::products::ProductFeed as _;
use catalog::usecases::ports::purger::Purger as _;
use catalog::usecases::renew_turned::renew_turned;
use chassis::config::Secret;
use chrono::{SecondsFormat, TimeDelta};
use common::{Clock as _, Region, Sku, SystemClock};
use contracts::topics;
use http::{HeaderMap, StatusCode};
use messaging::{BatchConsumer, Epoch, Publisher};
use serde_json::{Value, json};
use testkit::{kafka, wait};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::world::{Shop, draft, live, unique};
use crate::stock::world::{memory_stock, receive};

/// Refuses a few times before it takes anything, as Cloudflare does: by its status, and by what it says in the body.
struct Edge {
    refusals: Mutex<usize>,
    taken: Mutex<Vec<Value>>,
}

impl Edge {
    /// One that is listening, and who tells it.
    async fn open(refusals: usize) -> (Arc<Self>, Arc<PurgeWebhook>) {
        let edge = Arc::new(Self { refusals: Mutex::new(refusals), taken: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/purge", listener.local_addr().unwrap());
        let routes = Router::new().route("/purge", post(purge)).with_state(edge.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let secret = serde_json::from_value(Value::from("of-the-edge")).expect("a secret");
        (edge, Arc::new(PurgeWebhook::new(&url, secret).unwrap()))
    }

    /// Everything it was told so far, in that order.
    fn tags(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let tags = taken.iter().flat_map(|body| body["tags"].as_array().into_iter().flatten());
        tags.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

async fn purge(State(edge): State<Arc<Edge>>, headers: HeaderMap, body: axum::Json<Value>) -> Response {
    if headers["authorization"] != "Bearer of-the-edge" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut refusals = edge.refusals.lock().unwrap();
    if *refusals > 0 {
        *refusals -= 1;
        // the last refusal looks like a success to who reads the status alone
        let status = if *refusals == 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return (status, axum::Json(json!({"success": false, "errors": [{"code": 1134}]}))).into_response();
    }
    edge.taken.lock().unwrap().push(body.0);
    axum::Json(json!({"success": true, "errors": [], "result": {"id": "a-zone"}})).into_response()
}

#[tokio::test]
async fn a_webhook_of_ones_own_need_not_answer_in_cloudflares_words() {
    for (text, taken) in [("", true), ("done", true), ("{\"success\": true}", true), ("{\"success\": false}", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/purge", listener.local_addr().unwrap());
        let routes = Router::new().route("/purge", post(move || async move { text }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let webhook = PurgeWebhook::new(&url, Secret::default()).unwrap();
        assert_eq!(webhook.purge(&["shop".to_owned()]).await.is_ok(), taken, "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_keys_than_cloudflare_takes_at_once_are_told_in_portions() {
    let (edge, webhook) = Edge::open(0).await;
    let keys: Vec<String> = (0..65).map(|at| format!("p-{at}")).collect();
    webhook.purge(&keys).await.unwrap();
    let portions: Vec<usize> =
        edge.taken.lock().unwrap().iter().map(|body| body["tags"].as_array().unwrap().len()).collect();
    assert_eq!(portions, [30, 30, 5]);
    assert_eq!(edge.tags(), keys);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_to_the_edge_until_it_takes_it() {
    let (edge, webhook) = Edge::open(3).await;
    let settings = kafka::topics(&[&topics::PRODUCT_CHANGED]).await;
    let name = unique().to_uppercase();
    let feed = KafkaFeed::new(Publisher::new(&settings, Region::Eu, Epoch::new(1)).unwrap());
    feed.publish(&[live(draft(&name), 1), live(draft(&name), 2)]).await.unwrap();

    let purges = Arc::new(Purges::new(webhook, Arc::new(SystemClock)));
    let stop = CancellationToken::new();
    let consumer =
        BatchConsumer::new("catalog-cdn", &[&topics::PRODUCT_CHANGED], Region::Eu, &settings, purges).unwrap();
    let running = tokio::spawn(consumer.run(stop.clone()));
    wait::until("the edge to have taken it", Duration::from_secs(30), async || {
        let taken = edge.taken.lock().unwrap().clone();
        if taken.is_empty() { Err("nothing yet") } else { Ok(()) }
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let taken = edge.taken.lock().unwrap().clone();
    let tags: Vec<&str> = taken[0]["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(tags, ["c-audio", "c-audio/headphones", format!("p-{name}").as_str(), "shop"]);
    assert_eq!(*edge.refusals.lock().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_by_its_time_or_with_the_stock_is_told_to_the_edge_without_a_revision() {
    let (edge, webhook) = Edge::open(1).await;
    let (shop, stock) = (Shop::open().await, Arc::new(memory_stock()));
    let known = Arc::new(Known::new(stock.clone()));
    let (post, news) = edge_news::post();
    let index = Renewing::new(shop.index.clone().knowing(known.clone()), post);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let telling = tokio::spawn(async move { edge_news::tell(&*webhook, news, stopped).await });
    let store = &*shop.app.products.store;
    let (page_of_a, page_of_b) = (format!("p-{}", shop.sku("A")), format!("p-{}", shop.sku("B")));

    let moment = SystemClock.now() + TimeDelta::seconds(2);
    let mut cheaper = shop.draft("A");
    cheaper.special_prices = vec![PriceDraft {
        currency: "EUR".to_owned(),
        amount: "9.90".to_owned(),
        from: Some(moment.to_rfc3339_opts(SecondsFormat::Millis, true)),
        ..PriceDraft::default()
    }];
    shop.stock_up(vec![cheaper, shop.draft("B")]).await;
    let patience = Duration::from_secs(30);
    wait::until("the edge to hear of the price that began", patience, async || {
        renew_turned(store, &index).await.unwrap();
        let tags = edge.tags();
        if tags.contains(&page_of_a) { Ok(()) } else { Err(tags) }
    })
    .await;
    let tags = edge.tags();
    for list in ["c-audio", "c-audio/headphones", "shop"] {
        assert!(tags.iter().any(|tag| tag == list), "{list} in {tags:?}");
    }
    assert!(!tags.contains(&page_of_b), "nothing became of the other: {tags:?}");
    assert_eq!(*edge.refusals.lock().unwrap(), 0, "it was told until it took it");

    let sku = shop.sku("B");
    receive(&*stock, &unique(), &[(&sku, SupplyKind::Counted, 1)]).await.unwrap();
    let moved = [Sku::parse(&sku).unwrap()];
    assert_eq!(keep_standings(store, &index, &*known, &moved).await.unwrap(), 1);
    wait::until("the edge to hear of the stock", patience, async || {
        let tags = edge.tags();
        if tags.contains(&page_of_b) { Ok(()) } else { Err(tags) }
    })
    .await;
    stop.cancel();
    telling.await.unwrap();
    shop.close().await;
}
