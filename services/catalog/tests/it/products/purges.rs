//! The edge is told what changed, until it takes it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use catalog::inbound::purges::Purges;
use catalog::outbound::cdn::PurgeWebhook;
use catalog::outbound::feed::KafkaFeed;
use catalog::usecases::ports::products::ProductFeed as _;
use common::{Region, SystemClock};
use contracts::topics;
use http::{HeaderMap, StatusCode};
use messaging::{BatchConsumer, Epoch, Publisher};
use serde_json::Value;
use testkit::{kafka, wait};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::world::{draft, live, unique};

/// Refuses a few times before it takes anything.
struct Edge {
    refusals: Mutex<usize>,
    taken: Mutex<Vec<Value>>,
}

async fn purge(State(edge): State<Arc<Edge>>, headers: HeaderMap, body: axum::Json<Value>) -> StatusCode {
    if headers["authorization"] != "Bearer of-the-edge" {
        return StatusCode::UNAUTHORIZED;
    }
    let mut refusals = edge.refusals.lock().unwrap();
    if *refusals > 0 {
        *refusals -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    edge.taken.lock().unwrap().push(body.0);
    StatusCode::OK
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_to_the_edge_until_it_takes_it() {
    let edge = Arc::new(Edge { refusals: Mutex::new(3), taken: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/purge", listener.local_addr().unwrap());
    let routes = Router::new().route("/purge", post(purge)).with_state(edge.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let settings = kafka::topics(&[&topics::PRODUCT_CHANGED]).await;
    let name = unique().to_uppercase();
    let feed = KafkaFeed::new(Publisher::new(&settings, Region::Eu, Epoch::new(1)).unwrap());
    feed.publish(&[live(draft(&name), 1), live(draft(&name), 2)]).await.unwrap();

    let secret = serde_json::from_value(Value::from("of-the-edge")).expect("a secret");
    let purges = Arc::new(Purges::new(Arc::new(PurgeWebhook::new(&url, secret).unwrap()), Arc::new(SystemClock)));
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
    assert_eq!(tags, ["c-audio", "c-audio/headphones", format!("p-{name}").as_str()]);
    assert_eq!(*edge.refusals.lock().unwrap(), 0);
}
