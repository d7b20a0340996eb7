//! Clicking: a few clicks later the shop has changed for this person and for nobody else.

use std::time::Duration;

use common::{Clock as _, SystemClock, ids};
use fleet::shopper::{HTTP, Shopper, get, send, url};
use serde_json::{Value, json};
use testkit::wait::until;

fn order_of(page: &Value) -> Vec<String> {
    page["items"].as_array().into_iter().flatten().filter_map(|item| item["sku"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_few_clicks_change_the_product_list_for_this_person_only() {
    let (clicker, bystander) = (Shopper::new().await, Shopper::new().await);
    let path = "/v1/products?limit=40";
    let before = send(clicker.get(path)).await.expect(200);
    let plain = order_of(&before.body);
    assert!(plain.len() >= 20, "the demo catalog is there: {plain:?}");
    // Something from the end of the page, clicked a few times.
    let favourite = before.body["items"].as_array().unwrap().last().unwrap()["sku"].clone();
    let clicks: Vec<Value> =
        (0..6).map(|_| json!({ "event_id": ids::random(), "type": "view", "sku": favourite, "at": now() })).collect();
    let accepted = send(clicker.post("/v1/events").json(&json!({ "visitor_id": ids::random(), "events": clicks })))
        .await
        .expect(202);
    assert_eq!(accepted.body["accepted"], 6, "{:#}", accepted.body);

    until("the list to change", Duration::from_secs(30), async || {
        let shown = send(clicker.get(path)).await.expect(200);
        let order = order_of(&shown.body);
        let place = order.iter().position(|sku| *sku == favourite.as_str().unwrap());
        let old_place = plain.iter().position(|sku| *sku == favourite.as_str().unwrap());
        if place.is_some() && place < old_place {
            assert!(
                shown.header("cache-control").contains("private"),
                "a personal page is never shared: {}",
                shown.header("cache-control")
            );
            Ok(())
        } else {
            Err((place, old_place))
        }
    })
    .await;
    let others = send(bystander.get(path)).await.expect(200);
    assert_eq!(order_of(&others.body), plain, "nobody else's list changes");
}

#[tokio::test]
async fn recommendations_follow_the_clicks() {
    let clicker = Shopper::new().await;
    let page = get("/v1/products?limit=40").await.expect(200);
    let favourite = page.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["family"] == "gadget")
        .unwrap_or(&page.body["items"][0])
        .clone();
    let clicks: Vec<Value> = (0..5)
        .map(|_| json!({ "event_id": ids::random(), "type": "add", "sku": favourite["sku"], "at": now() }))
        .collect();
    send(clicker.post("/v1/events").json(&json!({ "visitor_id": ids::random(), "events": clicks }))).await.expect(202);
    until("recommendations from the profile", Duration::from_secs(30), async || {
        let answer = send(clicker.get("/v1/recommendations?kind=for_you&limit=10")).await.expect(200);
        let items = answer.body["items"].as_array().map_or(0, Vec::len);
        if items > 0 && answer.body["profile_age_ms"].is_number() { Ok(()) } else { Err(answer.body) }
    })
    .await;
}

#[tokio::test]
async fn a_browser_that_says_do_not_track_is_answered_alike_and_forgotten() {
    let sku = get("/v1/products?limit=1").await.expect(200).body["items"][0]["sku"].clone();
    let (silent, open) = (ids::random(), ids::random());
    let click = |visitor| json!({ "visitor_id": visitor, "events": [{ "event_id": ids::random(), "type": "view", "sku": sku, "at": now() }] });
    let report = async |visitor, signal| {
        send(HTTP.post(url("/v1/events")).header("DNT", signal).json(&click(visitor))).await.expect(202)
    };
    assert_eq!(report(silent, "1").await.body, report(open, "0").await.body);
    let profile =
        async |visitor| get(&format!("/v1/recommendations?kind=for_you&visitor_id={visitor}")).await.expect(200);
    // Both clicks went the same way; once the later one has arrived, the earlier one would have, too.
    until("the profile of the browser that did not object", Duration::from_secs(30), async || {
        let answer = profile(open).await.body;
        if answer["profile_age_ms"].is_number() { Ok(()) } else { Err(answer) }
    })
    .await;
    assert!(profile(silent).await.body["profile_age_ms"].is_null());
}

fn now() -> String {
    SystemClock.now().to_rfc3339()
}
