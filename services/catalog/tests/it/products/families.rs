//! Families with schemas of their own, prices at their desk, and what the history tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::domain::product::{Author, Family};
use catalog::domain::schema::Schema;
use catalog::usecases::families::{Families, Migrated, migrate_products};
use catalog::usecases::ports::products::{Insertion, ProductStore as _, SchemaStore, StoreDown};
use common::{Region, Sku, SystemClock, UserId, ids};
use http::Method;
use serde_json::{Value, json};

use super::world::{Shop, caller, draft, product, staff};

const SCHEMAS: &str = "/v1/admin/products/families/gadget/schemas";

fn gadget(shop: &Shop, name: &str, attributes: Value) -> Value {
    json!({
        "sku": shop.sku(name), "family": "gadget", "category": "a", "brand": "x", "texts": {"en": {"name": "N"}},
        "prices": {"EUR": "1.00"}, "attributes": attributes
    })
}

fn schema() -> Value {
    json!({"reason": "data sheets", "attributes": [
        {"key": "weight", "kind": "number", "unit": "g", "required": true, "formerly": "mass"},
        {"key": "wireless", "kind": "flag", "default": "no"},
        {"key": "colour", "kind": "one_of", "values": ["red", "blue"]},
    ]})
}

async fn put(shop: &Shop, body: &Value) -> super::world::Answer {
    let path = format!("/v1/admin/products/{}", body["sku"].as_str().unwrap());
    shop.send_json(&staff(), Method::PUT, &path, None, body).await
}

#[tokio::test]
async fn a_family_says_what_its_attributes_are_and_older_products_go_over() {
    let shop = Shop::open().await;
    let old = gadget(&shop, "OLD", json!([{"key": "mass", "value": "200 g"}, {"key": "colour", "value": "RED"}]));
    let odd = gadget(&shop, "ODD", json!([{"key": "mass", "value": "heavy"}]));
    for body in [&old, &odd] {
        assert_eq!(put(&shop, body).await.status, 201);
    }
    let added = shop.post_as(&staff(), SCHEMAS, &schema()).await;
    assert_eq!((added.status.as_u16(), &added.body["version"]), (201, &json!(2)), "{}", added.body);
    let versions = shop.get_as(&staff(), SCHEMAS).await;
    assert_eq!(versions.body["items"].as_array().map(Vec::len), Some(2));
    // What is written from now on keeps the new schema.
    let table = [
        (json!([{"key": "weight", "value": "heavy", "unit": "g"}]), "/attributes/0/value"),
        (json!([{"key": "weight", "value": "5", "unit": "kg"}]), "/attributes/0/unit"),
        (json!([{"key": "colour", "value": "red"}]), "/attributes"),
        (json!([{"key": "weight", "value": "5", "unit": "g"}, {"key": "x", "value": "1"}]), "/attributes/1/key"),
    ];
    for (attributes, pointer) in table {
        let answer = put(&shop, &gadget(&shop, "NEW", attributes)).await;
        answer.is_problem(422, "invalid-field");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.body);
    }
    let good = json!([{"key": "weight", "value": "5", "unit": "g"}, {"key": "colour", "value": "blue"}]);
    assert_eq!(put(&shop, &gadget(&shop, "NEW", good)).await.status, 201);
    // What was written before is seen in the new form, without a write; what cannot go over stays as it is.
    let page = shop.get(&format!("/v1/products/{}", shop.sku("OLD"))).await;
    let shown: Vec<_> = page.body["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| (own["key"].clone(), own["value"].clone()))
        .collect();
    assert_eq!(
        shown,
        [(json!("weight"), json!("200")), (json!("colour"), json!("red")), (json!("wireless"), json!("no"))]
    );
    assert_eq!(page.body["revision"], 1);
    let page = shop.get(&format!("/v1/products/{}", shop.sku("ODD"))).await;
    assert_eq!(page.body["attributes"][0]["key"], "mass");
    // In bulk they are written so, once.
    let clock: common::SharedClock = std::sync::Arc::new(SystemClock);
    let schemas = shop.app.products.families.known();
    let migrate = async || migrate_products(&shop.store, &schemas, Region::Eu, &clock, |_, _| ()).await.unwrap();
    assert_eq!(migrate().await, Migrated { adopted: 1, current: 1, stubborn: 1, overtaken: 0 });
    assert_eq!(migrate().await, Migrated { adopted: 0, current: 2, stubborn: 1, overtaken: 0 });
    let kept = shop.store.newest(&Sku::parse(&shop.sku("OLD")).unwrap()).await.unwrap().unwrap();
    assert_eq!((kept.number, kept.live().unwrap().schema), (2, 2));
    shop.close().await;
}

/// Schemas that cannot be read until somebody says so.
#[derive(Default)]
struct Away(AtomicBool);

#[async_trait::async_trait]
impl SchemaStore for Away {
    async fn schemas(&self) -> Result<Vec<Schema>, StoreDown> {
        if !self.0.load(Ordering::Relaxed) {
            return Err(StoreDown("away for a test".to_owned()));
        }
        Ok(vec![Schema { version: 2, open: false, ..Schema::open(Family::Gadget) }])
    }

    async fn add_schema(&self, _: &Schema, _: &Author) -> Result<Insertion, StoreDown> {
        Ok(Insertion::Taken)
    }
}

#[tokio::test]
async fn nothing_is_accepted_before_the_schemas_were_read_once() {
    let store = Arc::new(Away::default());
    let families = Families::new(store.clone());
    let coloured = || product(draft("A-1"));
    assert!(families.accept(coloured(), "").await.is_err(), "an open schema would take it");
    store.0.store(true, Ordering::Relaxed);
    let refused = families.accept(coloured(), "").await.unwrap().unwrap_err();
    assert_eq!(refused.0[0].pointer, "/attributes/0/key");
    store.0.store(false, Ordering::Relaxed);
    assert!(families.accept(coloured(), "").await.is_ok(), "what was read once is known");
}

#[tokio::test]
async fn a_schema_that_contradicts_itself_or_comes_from_somebody_else_is_refused() {
    let shop = Shop::open().await;
    let one = |declared: Value| json!({"reason": "r", "attributes": [declared]});
    let table = [
        (one(json!({"key": "$set", "kind": "text"})), "/attributes/0/key"),
        (one(json!({"key": "a", "kind": "date"})), "/attributes/0/kind"),
        (one(json!({"key": "a", "kind": "flag", "unit": "g"})), "/attributes/0/unit"),
        (one(json!({"key": "a", "kind": "one_of"})), "/attributes/0/values"),
        (one(json!({"key": "a", "kind": "number", "default": "x"})), "/attributes/0/default"),
        (json!({"reason": "", "attributes": []}), "/reason"),
    ];
    for (body, pointer) in table {
        let answer = shop.post_as(&staff(), SCHEMAS, &body).await;
        answer.is_problem(422, "invalid-field");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.body);
    }
    let pricing = caller(UserId::from_uuid(ids::random()), &["pricing"]);
    shop.post_as(&pricing, SCHEMAS, &schema()).await.is_problem(403, "forbidden");
    shop.post_as(&staff(), "/v1/admin/products/families/toys/schemas", &schema()).await.is_problem(404, "not-found");
    let adding = (0..4).map(|_| async { shop.post_as(&staff(), SCHEMAS, &schema()).await });
    let answers = futures::future::join_all(adding).await;
    let mut versions: Vec<_> = answers.iter().filter_map(|answer| answer.body["version"].as_u64()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..2 + versions.len() as u64).collect::<Vec<_>>(), "each version was added once");
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.code() == "version-conflict"));
    shop.close().await;
}

#[tokio::test]
async fn whoever_sets_prices_changes_prices_only_and_the_history_proves_them() {
    let shop = Shop::open().await;
    put(&shop, &gadget(&shop, "A", json!([]))).await;
    let pricing = caller(UserId::from_uuid(ids::random()), &["pricing"]);
    let path = format!("/v1/admin/products/{}/prices", shop.sku("A"));
    let until = "2031-01-01T00:00:00Z";
    let sale = json!({"reason": "sale", "prices": {"EUR": "1.00"}, "special_prices": [{"currency": "EUR", "amount": "0.80", "from": "2020-01-01T00:00:00Z", "until": until}]});
    let put_prices = async |by: &chassis::extract::Caller, tag: Option<&str>, body: &Value| {
        shop.send_json(by, Method::PUT, &path, tag, body).await
    };
    let answer = put_prices(&pricing, Some("\"1\""), &sale).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"2\""), "{}", answer.body);
    put_prices(&pricing, Some("\"1\""), &sale).await.is_problem(412, "precondition-failed");
    put_prices(&caller(UserId::from_uuid(ids::random()), &["merchandiser"]), None, &sale)
        .await
        .is_problem(403, "forbidden");
    put_prices(&pricing, None, &json!({"reason": "x", "prices": {"EUR": "0"}})).await.is_problem(422, "invalid-field");
    let product = format!("/v1/admin/products/{}", shop.sku("A"));
    shop.send_json(&pricing, Method::DELETE, &product, None, &Value::Null).await.is_problem(403, "forbidden");
    let history = shop.get_as(&pricing, &path).await;
    let amounts: Vec<_> =
        history.body["steps"].as_array().unwrap().iter().map(|step| step["price"]["amount"].clone()).collect();
    assert_eq!(amounts, ["1.00", "0.80"], "{}", history.body);
    assert_eq!(history.body["lowest_price_of_30_days"]["amount"], "1.00");
    assert_eq!(history.body["shown_lowest_price_of_30_days"], history.body["lowest_price_of_30_days"]);
    let page = shop.get(&format!("/v1/products/{}", shop.sku("A"))).await;
    assert_eq!(
        (&page.body["lowest_price_of_30_days"]["amount"], &page.body["price_until"]),
        (&json!("1.00"), &json!(until))
    );
    let life = shop.get_as(&staff(), &format!("{product}/revisions")).await;
    let told: Vec<_> = life.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| (own["revision"].clone(), own["author"].clone(), own["reason"].clone()))
        .collect();
    assert_eq!(told[0], (json!(2), json!(pricing.user_id.to_string()), json!("sale")));
    assert_eq!(told[1].0, 1);
    let form = shop.get_as(&staff(), &product).await;
    assert_eq!((form.header("etag"), &form.body["product"]["special_prices"][0]["amount"]), ("\"2\"", &json!("0.80")));
    assert_eq!(
        put(&shop, &form.body["product"]).await.header("etag"),
        "\"2\"",
        "writing what was read changes nothing"
    );
    shop.close().await;
}
