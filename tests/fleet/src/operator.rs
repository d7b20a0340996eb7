//! An operator: reads the region's databases as their owners and the gateway's books, independent of the services.

use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::servers;

use crate::shopper::{Answer, HTTP, send};

/// A database of the running region, as its owner.
pub fn database(name: &str) -> PgPool {
    let url = servers().postgres_url(name, &format!("{name}_owner"));
    PgPoolOptions::new().max_connections(2).connect_lazy(&url).expect("the URL is well formed")
}

/// What the shelf has of one SKU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Shelf {
    pub available: i64,
    pub held: i64,
    pub sold: i64,
}

pub async fn shelf(sku: &str) -> Shelf {
    sqlx::query_as("SELECT sum(available)::bigint AS available, sum(held)::bigint AS held, sum(sold)::bigint AS sold FROM stock WHERE sku = $1 GROUP BY sku")
        .bind(sku)
        .fetch_one(&database("inventory"))
        .await
        .expect("the SKU has a shelf")
}

/// What the gateway itself says it did for an order.
pub async fn books(order_id: &str) -> Vec<Value> {
    let url = format!("{}/__books?reference={order_id}", servers().payment_simulator_url);
    let Answer { body, .. } = send(HTTP.get(url)).await.expect(200);
    body["entries"].as_array().expect("the books list entries").clone()
}
