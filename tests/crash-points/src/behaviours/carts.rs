//! Baskets: written, made one when somebody logs in, forgotten.

use common::ids;
use reqwest::RequestBuilder;
use serde_json::json;
use testkit::wait::until;
use uuid::Uuid;

use super::{PATIENCE, Placed, Stage, rows_come_to};
use crate::issuer::Person;
use crate::owner;
use crate::sandbox::{Role, Sandbox};
use crate::shop::{self, HTTP, insist};

/// Whose basket it is.
enum Whose<'p> {
    Person(&'p Person),
    /// A browser that nobody logged in to.
    Visitor(Uuid),
}

impl Whose<'_> {
    fn id(&self) -> Uuid {
        match self {
            Self::Person(person) => person.user.uuid(),
            Self::Visitor(visitor) => *visitor,
        }
    }

    fn putting(&self, sandbox: &Sandbox, sku: &str) -> RequestBuilder {
        let url = format!("{}/v1/cart/lines/{sku}", sandbox.orders_url);
        match self {
            Self::Person(person) => HTTP.put(&url).bearer_auth(&person.token),
            Self::Visitor(visitor) => HTTP.put(format!("{url}?visitor_id={visitor}")),
        }
    }
}

/// Puts a line in. Who gets no answer looks at the basket again, as a page would, and puts the line into what is there.
async fn put(sandbox: &Sandbox, whose: &Whose<'_>, sku: &str, quantity: u32) {
    until("the line to be in the basket", PATIENCE, async || {
        let version: Option<i64> = sqlx::query_scalar("SELECT version FROM carts WHERE owner_id = $1")
            .bind(whose.id())
            .fetch_optional(&sandbox.orders)
            .await
            .map_err(|error| error.to_string())?;
        let seen = format!("\"{}\"", version.unwrap_or_default());
        let putting = whose.putting(sandbox, sku).header("If-Match", seen).json(&json!({"quantity": quantity}));
        let answer = putting.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("{status} {}", answer.text().await.unwrap_or_default())) }
    })
    .await;
}

/// What is in a basket, by product.
async fn lines(sandbox: &Sandbox, whose: &Whose<'_>) -> Vec<(String, i32)> {
    sqlx::query_as("SELECT sku::text, quantity FROM cart_lines WHERE owner_id = $1 ORDER BY sku COLLATE \"C\"")
        .bind(whose.id())
        .fetch_all(&sandbox.orders)
        .await
        .expect("baskets can be read")
}

/// What somebody chose before logging in comes into the basket that is theirs: of what is in both, the larger quantity.
pub(super) async fn merged(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let other = shop::product(sandbox, &stage.staff).await;
    let person = sandbox.issuer.person("shopper").await;
    let (mine, theirs) = (Whose::Person(&person), Whose::Visitor(ids::random()));
    put(sandbox, &theirs, &stage.sku, 2).await;
    put(sandbox, &theirs, &other, 1).await;
    put(sandbox, &mine, &stage.sku, 1).await;
    let url = format!("{}/v1/cart/merge", sandbox.orders_url);
    let body = json!({"visitor_id": theirs.id().to_string()});
    insist("the baskets to be one", &[200], || HTTP.post(&url).bearer_auth(&person.token).json(&body)).await;
    let mut wanted = vec![(stage.sku.clone(), 2), (other, 1)];
    wanted.sort();
    assert_eq!(lines(sandbox, &mine).await, wanted, "what was in either");
    assert!(lines(sandbox, &theirs).await.is_empty(), "it is in the other basket now");
    Vec::new()
}

/// A visitor's basket is over; the worker, which looks for such when it starts, forgets it, and a person's stays.
pub(super) async fn forgotten(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let person = sandbox.issuer.person("shopper").await;
    let (mine, theirs) = (Whose::Person(&person), Whose::Visitor(ids::random()));
    put(sandbox, &mine, &stage.sku, 1).await;
    put(sandbox, &theirs, &stage.sku, 1).await;
    owner::let_cart_pass(&sandbox.orders, theirs.id()).await;
    sandbox.of(Role::OrderWork).restart();
    rows_come_to(
        &sandbox.orders,
        "the basket to be forgotten",
        "SELECT count(*) FROM carts WHERE owner_id = $1",
        theirs.id(),
        0,
    )
    .await;
    assert!(lines(sandbox, &theirs).await.is_empty(), "nothing of it is left");
    assert_eq!(lines(sandbox, &mine).await, [(stage.sku.clone(), 1)], "a person's basket has no end");
    Vec::new()
}
