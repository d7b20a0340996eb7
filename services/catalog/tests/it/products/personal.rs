//! What interests change, for whom, and what happens without them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::domain::draft::ProductDraft;
use catalog::outbound::ratings::RedisRatings;
use catalog::usecases::ports::products::Ratings as _;
use common::{UserId, ids};
use contracts::interest;
use contracts::personalization::v1::{InterestProfile, Rating};
use redis::AsyncCommands as _;
use testkit::servers;

use super::world::{PSEUDONYM_KEY, Shop, caller, redis_at};

/// Writes a profile as personalization does.
async fn likes(subject: impl Into<interest::Subject>, category: &str, weight: f32) {
    let profile = InterestProfile {
        categories: vec![Rating { key: category.to_owned(), weight }],
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        ..InterestProfile::default()
    };
    let key = interest::profile_key(&interest::pseudonym(PSEUDONYM_KEY, subject));
    let mut redis = redis_at(&servers().redis_url);
    redis.set_ex::<_, _, ()>(key, interest::encode_profile(&profile), 60).await.expect("Redis takes a profile");
}

/// Four headphones and, last by SKU, two coats.
async fn shop() -> Shop {
    let shop = Shop::open().await;
    stock(&shop).await;
    shop
}

async fn stock(shop: &Shop) {
    let mut drafts: Vec<ProductDraft> = (1..=4).map(|number| shop.draft(&format!("A{number}"))).collect();
    drafts.extend(
        (1..=2)
            .map(|number| ProductDraft { category: "fashion/coats".to_owned(), ..shop.draft(&format!("Z{number}")) }),
    );
    shop.stock_up(drafts).await;
}

const PLAIN: [&str; 6] = ["A1", "A2", "A3", "A4", "Z1", "Z2"];

#[tokio::test]
async fn a_few_clicks_change_the_list_for_that_person_only() {
    let shop = shop().await;
    let person = UserId::from_uuid(ids::random());
    let (someone, other) = (caller(person, &[]), caller(UserId::from_uuid(ids::random()), &[]));
    assert_eq!(shop.get_as(&someone, "/v1/products").await.skus(&shop), PLAIN);
    likes(person, "fashion", 3.0).await;
    let personal = shop.get_as(&someone, "/v1/products").await;
    assert_eq!(personal.skus(&shop), ["Z1", "Z2", "A1", "A2", "A3", "A4"]);
    assert_eq!(personal.header("cache-control"), "private, no-store");
    let plain = shop.get("/v1/products").await;
    assert_eq!(plain.skus(&shop), PLAIN);
    assert!(plain.header("cache-control").starts_with("public") && plain.header("vary").contains("Authorization"));
    assert_eq!(shop.get_as(&other, "/v1/products").await.skus(&shop), PLAIN);
    shop.close().await;
}

#[tokio::test]
async fn leafing_through_a_personal_list_shows_everything_once_even_when_the_interest_changes() {
    let shop = shop().await;
    let person = UserId::from_uuid(ids::random());
    let someone = caller(person, &[]);
    likes(person, "fashion", 3.0).await;
    let first = shop.get_as(&someone, "/v1/products?limit=2").await;
    assert_eq!(first.skus(&shop), ["Z1", "A1"]);
    likes(person, "audio", 9.0).await;
    let mut seen = first.skus(&shop);
    let mut next = first.body["page"]["next_cursor"].as_str().map(str::to_owned);
    while let Some(cursor) = next {
        let page = shop.get_as(&someone, &format!("/v1/products?limit=2&cursor={cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        seen.extend(page.skus(&shop));
        next = page.body["page"]["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["Z1", "A1", "A2", "A3", "A4", "Z2"]);
    shop.close().await;
}

#[tokio::test]
async fn going_back_to_a_personal_page_shows_what_stood_there() {
    let shop = shop().await;
    let person = UserId::from_uuid(ids::random());
    let someone = caller(person, &[]);
    likes(person, "fashion", 3.0).await;
    let first = shop.get_as(&someone, "/v1/products?limit=2").await;
    assert_eq!(first.skus(&shop), ["Z1", "A1"]);
    let cursor = |answer: &super::world::Answer, name: &str| answer.body["page"][name].as_str().map(str::to_owned);
    let (this, next) = (cursor(&first, "cursor").unwrap(), cursor(&first, "next_cursor").unwrap());
    likes(person, "audio", 9.0).await;
    let second = shop.get_as(&someone, &format!("/v1/products?limit=2&cursor={next}")).await;
    assert_eq!(second.skus(&shop), ["A2", "A3"]);
    assert_eq!(cursor(&second, "cursor").as_deref(), Some(next.as_str()), "a later page is named by its cursor");
    for _ in 0..2 {
        let back = shop.get_as(&someone, &format!("/v1/products?limit=2&cursor={this}")).await;
        assert_eq!(back.skus(&shop), ["Z1", "A1"], "as it stood there");
        assert_eq!(cursor(&back, "next_cursor").as_deref(), Some(next.as_str()), "and forward again from there");
        assert_eq!(back.header("cache-control"), "private, no-store");
    }
    let anew = shop.get_as(&someone, "/v1/products?limit=2").await.skus(&shop);
    assert!(anew.iter().all(|name| name.starts_with('A')), "asked anew it is another list: {anew:?}");
    let plain = shop.get("/v1/products?limit=2").await;
    assert_eq!(cursor(&plain, "cursor"), None, "the address alone names the plain page");
    shop.get(&format!("/v1/products?category=audio&cursor={this}")).await.is_problem(400, "cursor-invalid");
    shop.close().await;
}

#[tokio::test]
async fn going_on_and_back_in_a_personal_search_shows_the_list_as_it_was_begun() {
    let shop = shop().await;
    let person = UserId::from_uuid(ids::random());
    let someone = caller(person, &[]);
    likes(person, "fashion", 3.0).await;
    let cursor = |answer: &super::world::Answer, name: &str| answer.body["page"][name].as_str().map(str::to_owned);
    let first = shop.get_as(&someone, "/v1/search?limit=2").await;
    assert_eq!(first.skus(&shop), ["Z1", "Z2"]);
    let (this, next) = (cursor(&first, "cursor").unwrap(), cursor(&first, "next_cursor").unwrap());
    likes(person, "audio", 9.0).await;
    let second = shop.get_as(&someone, &format!("/v1/search?limit=2&cursor={next}")).await;
    assert_eq!(second.skus(&shop), ["A1", "A2"], "as the list was begun");
    assert_eq!(cursor(&second, "cursor").as_deref(), Some(next.as_str()), "a later page is named by its cursor");
    let third = cursor(&second, "next_cursor").unwrap();
    assert_eq!(shop.get_as(&someone, &format!("/v1/search?limit=2&cursor={third}")).await.skus(&shop), ["A3", "A4"]);
    for _ in 0..2 {
        let back = shop.get_as(&someone, &format!("/v1/search?limit=2&cursor={this}")).await;
        assert_eq!(back.skus(&shop), ["Z1", "Z2"], "as it stood there");
        assert_eq!(cursor(&back, "next_cursor").as_deref(), Some(next.as_str()), "and forward again from there");
        assert_eq!(back.header("cache-control"), "private, no-store");
    }
    let stranger = shop.get(&format!("/v1/search?limit=2&cursor={this}")).await;
    assert_eq!(stranger.header("cache-control"), "private, no-store", "one person's order is never shared");
    let anew = shop.get_as(&someone, "/v1/search?limit=2").await.skus(&shop);
    assert!(anew.iter().all(|name| name.starts_with('A')), "asked anew it is another list: {anew:?}");
    shop.get(&format!("/v1/search?brand=Acme&limit=2&cursor={this}")).await.is_problem(400, "cursor-invalid");
    shop.close().await;
}

#[tokio::test]
async fn a_search_begun_plain_stays_plain_when_interests_come() {
    let shop = shop().await;
    let person = UserId::from_uuid(ids::random());
    let someone = caller(person, &[]);
    let first = shop.get_as(&someone, "/v1/search?limit=2").await;
    let this = first.body["page"]["cursor"].as_str().unwrap().to_owned();
    likes(person, "fashion", 3.0).await;
    let mut seen = first.skus(&shop);
    let mut next = first.body["page"]["next_cursor"].as_str().map(str::to_owned);
    while let Some(cursor) = next {
        let page = shop.get_as(&someone, &format!("/v1/search?limit=2&cursor={cursor}")).await;
        seen.extend(page.skus(&shop));
        next = page.body["page"]["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, PLAIN);
    assert_eq!(shop.get_as(&someone, &format!("/v1/search?limit=2&cursor={this}")).await.skus(&shop), ["A1", "A2"]);
    let stranger = shop.get("/v1/search?limit=2").await;
    assert!(stranger.body["page"].get("cursor").is_none(), "the address alone names a stranger's page");
    shop.close().await;
}

#[tokio::test]
async fn what_comes_and_goes_during_a_personal_search_moves_nothing_that_was_there() {
    let shop = shop().await;
    let person = UserId::from_uuid(ids::random());
    let someone = caller(person, &[]);
    likes(person, "fashion", 3.0).await;
    let first = shop.get_as(&someone, "/v1/search?limit=2").await;
    let next = first.body["page"]["next_cursor"].as_str().unwrap().to_owned();
    shop.stock_up(vec![ProductDraft { category: "fashion/coats".to_owned(), ..shop.draft("A0") }]).await;
    let second = shop.get_as(&someone, &format!("/v1/search?limit=2&cursor={next}")).await;
    assert_eq!(second.skus(&shop), ["A1", "A2"], "the new one would have been first");
    let third = second.body["page"]["next_cursor"].as_str().unwrap().to_owned();
    let third = shop.get_as(&someone, &format!("/v1/search?limit=3&cursor={third}")).await;
    assert_eq!(third.skus(&shop), ["A3", "A4", "A0"], "it comes at the end");
    shop.close().await;
}

#[tokio::test]
async fn a_search_is_woven_and_says_why() {
    let shop = shop().await;
    let person = UserId::from_uuid(ids::random());
    let someone = caller(person, &[]);
    likes(person, "fashion/coats", 5.0).await;
    let answer = shop.get_as(&someone, "/v1/search?explain=true&limit=3").await;
    assert_eq!(answer.skus(&shop), ["Z1", "Z2", "A1"]);
    assert_eq!(answer.header("cache-control"), "private, no-store");
    let interests: Vec<f64> =
        (0..3).filter_map(|place| answer.body["items"][place]["explain"]["interest"].as_f64()).collect();
    assert!(interests[0] > 0.0 && interests[0] <= 1.0 && interests[2].abs() < f64::EPSILON, "{interests:?}");
    let cursor = answer.body["page"]["next_cursor"].as_str().expect("six products");
    let second = shop.get_as(&someone, &format!("/v1/search?explain=true&limit=3&cursor={cursor}")).await;
    assert_eq!(second.skus(&shop), ["A2", "A3", "A4"]);
    let by_price = shop.get_as(&someone, "/v1/search?sort=price_asc").await;
    assert_eq!(by_price.skus(&shop), PLAIN, "a chosen order stays as chosen");
    shop.close().await;
}

#[tokio::test]
async fn a_browser_has_interests_too_and_a_person_without_consent_has_none() {
    let shop = shop().await;
    let (visitor, person) = (ids::random(), UserId::from_uuid(ids::random()));
    likes(common::VisitorId::from_uuid(visitor), "fashion", 3.0).await;
    likes(person, "fashion", 3.0).await;
    let answer = shop.get(&format!("/v1/products?visitor_id={visitor}")).await;
    assert_eq!((answer.skus(&shop)[0].as_str(), answer.header("cache-control")), ("Z1", "private, no-store"));
    let mut silent = caller(person, &[]);
    silent.personalisation_consent = false;
    let answer = shop.get_as(&silent, &format!("/v1/products?visitor_id={visitor}")).await;
    assert_eq!(answer.skus(&shop), PLAIN);
    shop.close().await;
}

#[tokio::test]
async fn without_redis_the_order_is_plain_and_not_late() {
    // Nobody listens there.
    let redis = redis_at("redis://127.0.0.1:1");
    let patience = Duration::from_millis(5);
    let ratings = RedisRatings::new(redis.clone(), PSEUDONYM_KEY, patience);
    let begun = Instant::now();
    assert_eq!(ratings.interests(UserId::from_uuid(ids::random()).into()).await, None);
    // The patience, and what a busy machine needs to notice that it is over.
    assert!(begun.elapsed() < patience + Duration::from_millis(50), "{:?}", begun.elapsed());
    let shop = Shop::with(redis, Arc::new(ratings)).await;
    stock(&shop).await;
    let someone = caller(UserId::from_uuid(ids::random()), &[]);
    assert_eq!(shop.get_as(&someone, "/v1/products").await.skus(&shop), PLAIN);
    assert_eq!(shop.get_as(&someone, "/v1/search").await.skus(&shop), PLAIN);
    assert_eq!(
        shop.get(&format!("/v1/products/{}", shop.sku("A1"))).await.status,
        200,
        "the page does without its cache"
    );
    shop.close().await;
}

#[tokio::test]
async fn bytes_that_are_no_profile_are_no_interest() {
    let subject = interest::Subject::from(UserId::from_uuid(ids::random()));
    let key = interest::profile_key(&interest::pseudonym(PSEUDONYM_KEY, subject));
    let mut redis = redis_at(&servers().redis_url);
    redis.set_ex::<_, _, ()>(&key, "\u{1}nonsense", 60).await.unwrap();
    let ratings = RedisRatings::new(redis, PSEUDONYM_KEY, Duration::from_secs(1));
    assert_eq!(ratings.interests(subject).await, None);
}
