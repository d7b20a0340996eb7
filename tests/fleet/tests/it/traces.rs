//! One trace for a click and one for an order: the spans arrive, and each hangs below the one that caused it.

use std::collections::HashMap;
use std::time::Duration;

use common::{Clock as _, SystemClock, ids};
use fleet::shopper::{HTTP, Shopper, get, key, product_in_stock, send, url};
use serde_json::json;
use testkit::servers;
use testkit::spans::{SpanSeen, SpanStore, drawing};
use testkit::wait::until;
use tokio::sync::OnceCell;
use xtask::ports::Port;

/// Where the services of the test stack export to; one receiver for all stories of this process.
async fn spans() -> &'static SpanStore {
    static STORE: OnceCell<SpanStore> = OnceCell::const_new();
    STORE
        .get_or_init(|| async {
            let address = servers().ports.address(Port::Otlp).parse().expect("an address");
            // On a runtime that outlives the first test.
            let (send, receive) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
                runtime.block_on(async {
                    let _ = send.send(SpanStore::listen(address).await);
                    std::future::pending::<()>().await;
                });
            });
            receive.await.expect("the receiver starts")
        })
        .await
}

/// The trace that a browser begins: its trace id and the header it sends.
fn browser_trace() -> (String, String, String) {
    let trace = ids::random().simple().to_string();
    let span = ids::random().simple().to_string()[..16].to_owned();
    let header = format!("00-{trace}-{span}-01");
    (trace, span, header)
}

/// Whether some span of `child` (service, name prefix) lies below one of `ancestor`, at any depth.
fn below(spans: &[SpanSeen], child: (&str, &str), ancestor: (&str, &str)) -> bool {
    let by_id: HashMap<&str, &SpanSeen> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let is = |span: &SpanSeen, (service, name): (&str, &str)| span.service == service && span.name.contains(name);
    spans.iter().filter(|span| is(span, child)).any(|span| {
        let mut parent = by_id.get(span.parent_span_id.as_str());
        // A trace is a tree; the limit only keeps a broken one from looping.
        for _ in 0..64 {
            match parent {
                Some(found) if is(found, ancestor) => return true,
                Some(found) => parent = by_id.get(found.parent_span_id.as_str()),
                None => return false,
            }
        }
        false
    })
}

/// Service and part of the name of a span.
type Span<'a> = (&'a str, &'a str);

async fn edges_appear(trace: &str, edges: &[(Span<'_>, Span<'_>)]) {
    let store = spans().await;
    until("the edges of the trace", Duration::from_secs(60), async || {
        let seen = store.trace(trace);
        match edges.iter().find(|(child, ancestor)| !below(&seen, *child, *ancestor)) {
            None => Ok(()),
            Some(missing) => Err(Seen(format!("missing {missing:?} in\n{}", drawing(&seen)))),
        }
    })
    .await;
}

/// Prints its lines as they are.
struct Seen(String);

impl std::fmt::Debug for Seen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

#[tokio::test]
async fn one_trace_shows_a_click_from_the_browser_to_the_changed_page() {
    spans().await;
    let shopper = Shopper::new().await;
    let sku = get("/v1/products?limit=1").await.expect(200).body["items"][0]["sku"].clone();
    let (trace, browser_span, traceparent) = browser_trace();
    let body = json!({ "visitor_id": ids::random(), "events": [{ "event_id": ids::random(), "type": "view", "sku": sku, "at": SystemClock.now().to_rfc3339() }] });
    send(HTTP.post(url("/v1/events")).bearer_auth(&shopper.token).header("traceparent", &traceparent).json(&body))
        .await
        .expect(202);
    // The page the browser shows next, in the same trace, reads the rating that the click has written.
    let page = async || {
        send(HTTP.get(url("/v1/search?q=a&limit=5")).bearer_auth(&shopper.token).header("traceparent", &traceparent))
            .await
            .expect(200)
    };
    edges_appear(&trace, &[(("personalization", "interest.write"), ("user", "clicks.publish"))]).await;
    page().await;
    edges_appear(
        &trace,
        &[
            (("user", "/v1/events"), ("edge", "")),
            (("user", "clicks.publish"), ("user", "/v1/events")),
            (("personalization", "click.fold"), ("user", "clicks.publish")),
            (("personalization", "interest.write"), ("personalization", "click.fold")),
            (("catalog", "/v1/search"), ("edge", "")),
            (("catalog", "interest.read"), ("catalog", "/v1/search")),
        ],
    )
    .await;
    let seen = spans().await.trace(&trace);
    assert!(
        seen.iter().any(|span| span.service == "edge" && span.parent_span_id == browser_span),
        "{}",
        drawing(&seen)
    );
}

#[tokio::test]
async fn one_trace_shows_a_whole_order() {
    spans().await;
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let (trace, browser_span, traceparent) = browser_trace();
    let placed =
        send(shopper.order(&product, 1, "tok_ok", &key()).header("traceparent", &traceparent)).await.expect(201);
    let ended = shopper.wait_for_end(placed.body["order_id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "COMPLETED");
    edges_appear(
        &trace,
        &[
            (("order-payment", "/v1/orders"), ("edge", "")),
            (("order-payment", "order.place"), ("order-payment", "/v1/orders")),
            // the question that needs an answer now, over gRPC
            (("catalog", "Quote"), ("order-payment", "/v1/orders")),
            // then the saga, over Kafka: reserve, pay, finalise
            (("catalog", "event.handle"), ("order-payment", "/v1/orders")),
            (("order-payment", "event.handle"), ("catalog", "event.handle")),
            (("order-payment", "payment.process"), ("order-payment", "event.handle")),
            (("catalog", "event.handle"), ("order-payment", "payment.process")),
        ],
    )
    .await;
    let seen = spans().await.trace(&trace);
    assert!(
        seen.iter().any(|span| span.service == "edge" && span.parent_span_id == browser_span),
        "{}",
        drawing(&seen)
    );
}
