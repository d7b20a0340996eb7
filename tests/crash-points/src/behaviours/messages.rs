//! Messages: of people, of products, unreadable ones, and those that are tried again.

use common::{MessageId, UserId, ids};
use contracts::topics::{PRODUCT_CHANGED, STOCK_RESERVED, USER_REGISTERED};
use contracts::{Envelope, user};
use messaging::{Epoch, Outgoing, Publisher};
use serde_json::json;
use testkit::kafka::{put_raw, read_all};
use testkit::postgres::region;
use testkit::wait::until;

use super::{PATIENCE, Placed, Stage, rows_come_to, written_down};
use crate::{desk, shop};

fn registration(user: UserId) -> Outgoing {
    let event = user::v1::UserRegistered {
        user_id: user.to_string(),
        residency_region: region().code().to_owned(),
        registered_at_ms: 0,
        personalisation_consent: false,
    };
    Outgoing::new(event, 1)
}

async fn wait_for_person(stage: &Stage, person: UserId) {
    rows_come_to(
        &stage.sandbox.orders,
        "the person to be known",
        "SELECT count(*) FROM order_users WHERE user_id = $1",
        person.uuid(),
        1,
    )
    .await;
}

/// Makes a person known to order-payment, as the service that registers people does.
pub(super) async fn register(stage: &Stage, person: UserId) {
    let publisher = Publisher::new(&stage.sandbox.kafka, region(), Epoch::new(1)).expect("a producer can be made");
    publisher.publish_all(&[registration(person)], 0).await.expect("the broker takes the event");
    wait_for_person(stage, person).await;
}

pub(super) async fn registered(stage: &Stage) -> Vec<Placed> {
    register(stage, ids::random().into()).await;
    Vec::new()
}

pub(super) async fn unreadable(stage: &Stage) -> Vec<Placed> {
    let key = ids::random().to_string();
    put_raw(&stage.sandbox.kafka, &STOCK_RESERVED, &key, b"no event", &[]).await;
    until("the message to be parked", PATIENCE, async || {
        let parked: i64 = sqlx::query_scalar("SELECT count(*) FROM parked_messages WHERE key = $1")
            .bind(key.as_bytes())
            .fetch_one(&stage.sandbox.orders)
            .await
            .map_err(|error| error.to_string())?;
        if parked == 1 { Ok(()) } else { Err(format!("{parked} parked")) }
    })
    .await;
    Vec::new()
}

/// Parks a registration for a reason that is gone.
async fn parked(stage: &Stage) -> UserId {
    let person: UserId = ids::random().into();
    let outgoing = registration(person);
    let id: MessageId = outgoing.message_id();
    let envelope =
        Envelope { id, region: region(), epoch: 1, version: 1, occurred_at_ms: 0, source_lsn: 0, traceparent: None };
    let headers: Vec<_> = envelope.to_headers(USER_REGISTERED.kind, USER_REGISTERED.class.code()).into_iter().collect();
    sqlx::query(
        "INSERT INTO parked_messages (consumer, topic, partition, \"offset\", key, payload, headers, reason)
         VALUES ('order-payment', $1, 0, $2, $3, $4, $5, 'a reason that is gone')",
    )
    .bind(stage.sandbox.kafka.topic_name(&USER_REGISTERED, region()))
    .bind(i64::from(ids::random().as_fields().0) + (1_i64 << 40))
    .bind(person.to_string().as_bytes())
    .bind(outgoing.event.encode())
    .bind(json!(headers))
    .execute(&stage.sandbox.orders)
    .await
    .expect("a message can be parked");
    person
}

/// What was applied does not wait any more.
async fn applied(stage: &Stage, person: UserId) {
    wait_for_person(stage, person).await;
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM parked_messages WHERE key = $1 AND redriven_at IS NULL")
            .bind(person.to_string().as_bytes())
            .fetch_one(&stage.sandbox.orders)
            .await
            .expect("parked messages can be counted");
    assert_eq!(waiting, 0, "what was applied does not wait any more");
}

/// Tried again by the program that does so.
pub(super) async fn redriven(stage: &Stage) -> Vec<Placed> {
    let person = parked(stage).await;
    stage.sandbox.redrive().await;
    applied(stage, person).await;
    Vec::new()
}

/// Tried again over HTTP: written down before it is done, and when it is known what came of it.
pub(super) async fn handed_over(stage: &Stage) -> Vec<Placed> {
    let person = parked(stage).await;
    desk::redrive(&stage.sandbox, &stage.staff, &person.to_string()).await;
    applied(stage, person).await;
    let subject = format!("order-payment/key/{person}");
    let actions = written_down(&stage.sandbox.orders, "parked.redrive", &subject).await;
    assert!(actions >= 2, "{actions} of the actions are written down");
    Vec::new()
}

pub(super) async fn published(stage: &Stage) -> Vec<Placed> {
    let sku = shop::product(&stage.sandbox, &stage.staff).await;
    until("the product to be told of", PATIENCE, async || {
        let seen = read_all(&stage.sandbox.kafka, &PRODUCT_CHANGED).await;
        if seen.iter().any(|record| record.key == sku) { Ok(()) } else { Err(seen.len()) }
    })
    .await;
    Vec::new()
}
