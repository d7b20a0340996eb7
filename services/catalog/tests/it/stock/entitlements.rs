//! Subscriptions: granted with the sale for as long as the product says, ended by a refund, at home in their region.

use std::sync::Arc;

use catalog::domain::assortment::Assortment;
use catalog::domain::inventory::SupplyKind;
use catalog::domain::price::PriceList;
use catalog::domain::product::{Attribute, CategoryPath, Family, Product, Revision, State, Text};
use catalog::domain::trail::Trail;
use catalog::inbound::events::SagaEvents;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::usecases::ports::products::ProductStore as _;
use chrono::{DateTime, Utc};
use common::{Currency, Money};
use messaging::{Handler as _, Verdict};

use super::world::{SHOPPER, World, app_with, completed, created, delivery, new_order, receive, returned, sku};

async fn with_subscription(world: &World) -> SagaEvents {
    let products = Arc::new(MemoryProducts::default());
    let product = Product {
        sku: sku("D"),
        family: Family::DigitalSubscription,
        schema: 1,
        category: CategoryPath::parse("digital").unwrap(),
        brand: "Lumen".to_owned(),
        texts: vec![Text { language: "en".to_owned(), name: "D".to_owned(), description: String::new() }],
        prices: PriceList::new([Money::from_minor(990, Currency::Eur).unwrap()]).unwrap(),
        attributes: vec![Attribute { key: "term".to_owned(), value: "12".to_owned(), unit: Some("months".to_owned()) }],
        options: Vec::new(),
        images: Vec::new(),
        assortment: Assortment::everywhere(),
        variants: Vec::new(),
    };
    let state = State::Live(product);
    let revision = Revision {
        number: 1,
        state,
        changed_at: DateTime::UNIX_EPOCH,
        traceparent: None,
        author: None,
        trail: Trail::default(),
        moved_from: None,
    };
    products.insert(&[revision]).await.unwrap();
    receive(&*world.store, "r1", &[("D", SupplyKind::Unlimited, 0)]).await.unwrap();
    SagaEvents::new(app_with(world.store.clone(), products))
}

type Row = (String, String, i64, i64, DateTime<Utc>, Option<DateTime<Utc>>);

async fn entitlement(world: &World) -> Row {
    sqlx::query_as(
        "SELECT residency_region::text, user_id::text, quantity, revoked, valid_from, valid_until FROM entitlements",
    )
    .fetch_one(&world.database.owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_subscription_may_be_used_for_its_term_until_its_money_comes_back() {
    let world = World::new().await;
    let saga = with_subscription(&world).await;
    let (order, basket) = (new_order(), [("D", 2)]);
    for event in [created(order, &basket), completed(order, &basket), completed(order, &basket)] {
        assert_eq!(saga.handle(&delivery(&event)).await, Verdict::Done);
    }
    let (region, user, quantity, revoked, from, until) = entitlement(&world).await;
    assert_eq!((region.as_str(), user.as_str(), quantity, revoked), (common::Region::ALL[0].code(), SHOPPER, 2, 0));
    assert_eq!(until, from.checked_add_months(chrono::Months::new(12)));
    assert_eq!(returned(&world, order, 7, Some(&[("D", 1)])).await, Verdict::Done);
    assert_eq!(returned(&world, order, 7, Some(&[("D", 1)])).await, Verdict::Done);
    assert_eq!(entitlement(&world).await.3, 1, "the same refund told twice ends one seat");
    assert_eq!(returned(&world, order, 8, None).await, Verdict::Done);
    assert_eq!(entitlement(&world).await.3, 2);
    let too_much = returned(&world, order, 9, Some(&[("D", 1)])).await;
    assert!(matches!(too_much, Verdict::Park(_)), "{too_much:?}");
    world.audit().await;
}

#[tokio::test]
async fn nothing_is_granted_before_the_money_or_outside_the_region() {
    let world = World::new().await;
    let saga = with_subscription(&world).await;
    let order = new_order();
    assert_eq!(saga.handle(&delivery(&created(order, &[("D", 1)]))).await, Verdict::Done);
    assert_eq!(returned(&world, order, 7, None).await, Verdict::Retry, "the sale may still be on its way");
    let insert = "INSERT INTO entitlements (residency_region, user_id, order_id, sku, quantity, valid_from) VALUES ($1, $2, $2, 'D', 1, now())";
    let refused = async |region: &str| {
        let outcome = sqlx::query(insert).bind(region).bind(order.uuid()).execute(&world.database.owner).await;
        outcome.unwrap_err().as_database_error().and_then(|error| error.constraint()).map(str::to_owned)
    };
    assert_eq!(refused(common::Region::ALL[0].code()).await.as_deref(), Some("entitlements_follow_sale"));
    assert_eq!(saga.handle(&delivery(&completed(order, &[("D", 1)]))).await, Verdict::Done);
    assert_eq!(refused(common::Region::ALL[1].code()).await.as_deref(), Some("entitlements_stays_home"));
    let unrevoked = sqlx::query("UPDATE entitlements SET quantity = 9").execute(&world.database.owner).await;
    assert!(unrevoked.is_err());
}
