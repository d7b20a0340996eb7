//! The live view of an order: each status once, resumable, bounded, ending with the order.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use order_payment::usecases::begin_payment::begin_payment;
use tower::ServiceExt as _;

use crate::http::routes;
use crate::world::{World, a_key, an_order, shopper};

fn request(id: impl std::fmt::Display, user: impl std::fmt::Display, last: Option<&str>) -> http::Request<Body> {
    let mut request = http::Request::get(format!("/v1/orders/{id}/events")).header("test-user", user.to_string());
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.body(Body::empty()).unwrap()
}

/// Reads a stream to its end.
async fn whole(body: Body) -> String {
    let mut text = String::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) =
        tokio::time::timeout(Duration::from_secs(10), chunks.next()).await.expect("the stream goes on or ends")
    {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn a_shopper_watches_an_order_to_its_end() {
    let world = World::in_postgres().await;
    let me = shopper();
    let id = world.place(me, &a_key(), an_order()).await.unwrap().order;
    let response = routes(&world).oneshot(request(id, me.user, None)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let watching = tokio::spawn(whole(response.into_body()));
    begin_payment(&world.app, world.message(), id).await.unwrap();
    world.pay().await;
    let text = watching.await.unwrap();
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id:")).map(str::trim).collect();
    assert_eq!(ids, ["1", "2", "3"], "{text}");
    assert!(text.contains("PAYMENT_PENDING") && text.contains("COMPLETED"));

    let resumed = routes(&world).oneshot(request(id, me.user, Some("2"))).await.unwrap();
    let text = whole(resumed.into_body()).await;
    assert_eq!(text.matches("id:").count(), 1, "{text}");
    let nothing_new = routes(&world).oneshot(request(id, me.user, Some("3"))).await.unwrap();
    assert_eq!(whole(nothing_new.into_body()).await, "", "an order that had ended tells nothing twice");
}

#[tokio::test]
async fn live_views_are_bounded_and_give_their_place_back() {
    let world = World::in_memory();
    let me = shopper();
    let id = world.place(me, &a_key(), an_order()).await.unwrap().order;
    let routes = routes(&world);
    let one = routes.clone().oneshot(request(id, me.user, None)).await.unwrap();
    let two = routes.clone().oneshot(request(id, me.user, None)).await.unwrap();
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));
    let three = routes.clone().oneshot(request(id, me.user, None)).await.unwrap();
    assert_eq!(three.status().as_u16(), 503);
    drop(one);
    let again = routes.clone().oneshot(request(id, me.user, None)).await.unwrap();
    assert_eq!(again.status().as_u16(), 200);
    drop(two);
}
