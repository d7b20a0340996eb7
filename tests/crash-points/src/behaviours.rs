//! What is done in the shop while a program dies: each behaviour of gateway, shopper and operator that leads past boundaries
//! which the others do not pass. A behaviour goes on to its end however often a program dies under it, and says which orders
//! it placed and how each may end.

use std::sync::Arc;
use std::time::Duration;

use common::{MessageId, OrderId, UserId, ids};
use contracts::topics::{PRODUCT_CHANGED, STOCK_RESERVED, USER_REGISTERED};
use contracts::{Envelope, user};
use messaging::crash::Boundary;
use messaging::{Epoch, Outgoing, Publisher};
use serde_json::json;
use testkit::kafka::{put_raw, read_all};
use testkit::postgres::region;
use testkit::wait::until;

use crate::fate::{End, Fate};
use crate::issuer::Person;
use crate::sandbox::{GATEWAY_KEY, Role, Sandbox, WEBHOOK_SECRET};
use crate::shop::{self, HTTP, insist, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
const COMPLETED: &[&str] = &["COMPLETED"];
const COMPENSATED: &[&str] = &["COMPENSATED"];
const EITHER: &[&str] = &["COMPLETED", "COMPENSATED"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Behaviour {
    Approved,
    Started,
    Declined,
    AnswerLost,
    ChargedByWebhook,
    LastUnit,
    Cancelled,
    Expired,
    PaymentExpired,
    ChargedLate,
    Registered,
    Unreadable,
    Redriven,
    Contradicted,
    Received,
    Corrected,
    Published,
}

/// Rows of the table that no behaviour leads to yet: what came after the last look at this list, and duties whose timer is too
/// slow to be waited for. The page names them; whatever else has no run is red.
pub const WITHOUT_RUN: &[Boundary] = &[
    Boundary::RefundRefused,
    Boundary::RefundOrder,
    Boundary::GrantCredit,
    Boundary::PayByCredit,
    Boundary::LetGoPayment,
    Boundary::SealLedger,
    Boundary::OrphanFound,
    Boundary::Orphan,
    Boundary::ClaimOrphans,
    Boundary::GatewaySettlement,
    Boundary::KeepSettlement,
    Boundary::CloseDay,
    Boundary::LimitBackOrders,
    Boundary::ClaimOverdue,
    Boundary::NoteStockFindings,
    Boundary::ExtendHold,
    Boundary::SendAwaited,
    Boundary::ReturnUnits,
    Boundary::OperatorCompensates,
    Boundary::OperatorAtDesk,
    Boundary::OperatorAction,
    Boundary::WriteCart,
    Boundary::MergeCarts,
    Boundary::SweepCarts,
];

/// The people and the shelf that all behaviours share.
pub struct Stage {
    pub sandbox: Arc<Sandbox>,
    pub shopper: Person,
    pub staff: Person,
    pub sku: String,
}

/// An order and the statuses it may end in.
pub type Placed = (OrderId, &'static [&'static str]);

impl Behaviour {
    /// The cheap ones first: a boundary is tried in the first behaviour that passes it.
    pub const ALL: [Self; 17] = [
        Self::Approved,
        Self::Started,
        Self::Declined,
        Self::AnswerLost,
        Self::ChargedByWebhook,
        Self::LastUnit,
        Self::Cancelled,
        Self::Expired,
        Self::PaymentExpired,
        Self::ChargedLate,
        Self::Registered,
        Self::Unreadable,
        Self::Redriven,
        Self::Contradicted,
        Self::Received,
        Self::Corrected,
        Self::Published,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Started => "started again",
            Self::Declined => "declined",
            Self::AnswerLost => "charged, answer lost",
            Self::ChargedByWebhook => "charged later, told by webhook",
            Self::LastUnit => "two orders for the last unit",
            Self::Cancelled => "cancelled",
            Self::Expired => "stock not held in time",
            Self::PaymentExpired => "not paid in time",
            Self::ChargedLate => "charged after giving up",
            Self::Registered => "a person registers",
            Self::Unreadable => "an unreadable message",
            Self::Redriven => "parked messages tried again",
            Self::Contradicted => "a webhook of another amount",
            Self::Received => "goods come in",
            Self::Corrected => "a unit is found",
            Self::Published => "a product changes",
        }
    }

    /// # Panics
    /// When something does not come about in a minute.
    pub async fn play(self, stage: &Stage) -> Vec<Placed> {
        match self {
            Self::Approved => vec![bought(stage, "tok_ok", COMPLETED).await],
            Self::Started => started(stage).await,
            Self::Declined => vec![bought(stage, "tok_declined", COMPENSATED).await],
            Self::AnswerLost => vec![bought(stage, "tok_error500_charged", COMPLETED).await],
            Self::ChargedByWebhook => vec![bought(stage, "tok_webhook_only", COMPLETED).await],
            Self::LastUnit => last_unit(stage).await,
            Self::Cancelled => cancelled(stage).await,
            Self::Expired => expired(stage).await,
            Self::PaymentExpired => payment_expired(stage).await,
            Self::ChargedLate => charged_late(stage).await,
            Self::Registered => registered(stage).await,
            Self::Unreadable => unreadable(stage).await,
            Self::Redriven => redriven(stage).await,
            Self::Contradicted => contradicted(stage).await,
            Self::Received => {
                shop::receive(&stage.sandbox, &stage.staff, &stage.sku, 1).await;
                Vec::new()
            }
            Self::Corrected => {
                shop::find_one_more(&stage.sandbox, &stage.staff, &stage.sku).await;
                Vec::new()
            }
            Self::Published => published(stage).await,
        }
    }
}

async fn bought(stage: &Stage, card: &str, wanted: &'static [&'static str]) -> Placed {
    let order = shop::order(&stage.sandbox, &stage.shopper, &stage.sku, card).await;
    wait_for(&stage.sandbox, order, wanted).await;
    (order, wanted)
}

async fn started(stage: &Stage) -> Vec<Placed> {
    stage.sandbox.of(Role::OrderWork).restart();
    stage.sandbox.of(Role::CatalogWork).restart();
    vec![bought(stage, "tok_ok", COMPLETED).await]
}

/// Both orders are accepted while the catalog holds still, so that the stock decides.
async fn last_unit(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let sku = shop::stock(sandbox, &stage.staff, 1).await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGSTOP);
    let first = shop::order(sandbox, &stage.shopper, &sku, "tok_ok").await;
    let second = shop::order(sandbox, &stage.shopper, &sku, "tok_ok").await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGCONT);
    let ends = [wait_for(sandbox, first, EITHER).await, wait_for(sandbox, second, EITHER).await];
    assert_eq!(ends.iter().filter(|end| *end == "COMPLETED").count(), 1, "one unit, {ends:?}");
    vec![(first, EITHER), (second, EITHER)]
}

async fn cancelled(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.of(Role::CatalogWork).signal(libc::SIGSTOP);
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    shop::cancel(sandbox, &stage.shopper, order).await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGCONT);
    // A catalog that died and came back meanwhile may have been faster than the cancellation.
    wait_for(sandbox, order, EITHER).await;
    vec![(order, EITHER)]
}

async fn expired(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.of(Role::CatalogWork).signal(libc::SIGSTOP);
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    sandbox.let_deadline_pass(order.uuid()).await;
    wait_for(sandbox, order, EITHER).await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGCONT);
    vec![(order, EITHER)]
}

/// The gateway is away until the order has been given up.
async fn payment_expired(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.close_gateway().await;
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    wait_for(sandbox, order, &["PAYMENT_PENDING"]).await;
    sandbox.let_deadline_pass(order.uuid()).await;
    wait_for(sandbox, order, COMPENSATED).await;
    sandbox.open_gateway().await;
    vec![(order, COMPENSATED)]
}

/// The worker stands still between the intent's commit and the next step. Meanwhile the shopper cancels and the gateway goes
/// away, so that the worker gives the payment up without a word from it; then somebody's late request charges the intent.
async fn charged_late(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let worker = sandbox.of(Role::OrderWork);
    let hold = worker.program.folder.hold();
    std::fs::write(&hold, "").expect("the hold can be written");
    worker.decree(&Fate { point: Boundary::PaymentCreated.after().to_owned(), passage: 1, end: End::Pause });
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    let intent = until("the intent to be stored", PATIENCE, async || {
        let intent: Option<Option<String>> =
            sqlx::query_scalar("SELECT intent_id FROM payment_attempts WHERE order_id = $1")
                .bind(order.uuid())
                .fetch_optional(&sandbox.orders)
                .await
                .map_err(|error| error.to_string())?;
        intent.flatten().ok_or_else(|| "no intent yet".to_owned())
    })
    .await;
    shop::cancel(sandbox, &stage.shopper, order).await;
    sandbox.close_gateway().await;
    let _ = std::fs::remove_file(&hold);
    wait_for(sandbox, order, COMPENSATED).await;
    sandbox.open_gateway().await;
    for step in ["confirm", "capture"] {
        let url = format!("{}/v1/payment_intents/{intent}/{step}", sandbox.gateway_url);
        insist("the late charge", &[200], || HTTP.post(&url).bearer_auth(GATEWAY_KEY)).await;
    }
    until("the money to go back", PATIENCE, async || {
        let refunds: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM payment_attempts WHERE order_id = $1 AND kind = 'REFUND' AND state = 'CAPTURED'",
        )
        .bind(order.uuid())
        .fetch_one(&sandbox.orders)
        .await
        .map_err(|error| error.to_string())?;
        if refunds == 1 { Ok(()) } else { Err(format!("{refunds} refunds")) }
    })
    .await;
    vec![(order, COMPENSATED)]
}

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
    until("the person to be known", PATIENCE, async || {
        let known: i64 = sqlx::query_scalar("SELECT count(*) FROM order_users WHERE user_id = $1")
            .bind(person.uuid())
            .fetch_one(&stage.sandbox.orders)
            .await
            .map_err(|error| error.to_string())?;
        if known == 1 { Ok(()) } else { Err(format!("{known} rows")) }
    })
    .await;
}

async fn registered(stage: &Stage) -> Vec<Placed> {
    let person: UserId = ids::random().into();
    let publisher = Publisher::new(&stage.sandbox.kafka, region(), Epoch::new(1)).expect("a producer can be made");
    publisher.publish_all(&[registration(person)], 0).await.expect("the broker takes the event");
    wait_for_person(stage, person).await;
    Vec::new()
}

async fn unreadable(stage: &Stage) -> Vec<Placed> {
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

/// A message that was parked for a reason that is gone.
async fn redriven(stage: &Stage) -> Vec<Placed> {
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
    stage.sandbox.redrive().await;
    wait_for_person(stage, person).await;
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM parked_messages WHERE key = $1 AND redriven_at IS NULL")
            .bind(person.to_string().as_bytes())
            .fetch_one(&stage.sandbox.orders)
            .await
            .expect("parked messages can be counted");
    assert_eq!(waiting, 0, "what was applied does not wait any more");
    Vec::new()
}

async fn contradicted(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let placed = bought(stage, "tok_ok", COMPLETED).await;
    let intent: String = sqlx::query_scalar("SELECT intent_id FROM payment_attempts WHERE order_id = $1")
        .bind(placed.0.uuid())
        .fetch_one(&sandbox.orders)
        .await
        .expect("a completed order has an intent");
    let body = json!({
        "id": format!("evt_{}", ids::random().simple()), "type": "payment_intent.succeeded",
        "data": {"object": {
            "object": "payment_intent", "id": intent, "amount": 1, "currency": region().currency().code().to_lowercase(),
            "metadata": {"order_id": placed.0.to_string()},
        }},
    })
    .to_string();
    let url = format!("{}/v1/payments/webhooks/simulator", sandbox.orders_url);
    insist("the webhook to be taken", &[200], || {
        let signature = payment_simulator::sign(WEBHOOK_SECRET, chrono::Utc::now().timestamp(), body.as_bytes());
        HTTP.post(&url)
            .header("content-type", "application/json")
            .header("stripe-signature", signature)
            .body(body.clone())
    })
    .await;
    until("the difference to be noted", PATIENCE, async || {
        let noted: i64 = sqlx::query_scalar("SELECT count(*) FROM reconciliation_findings WHERE reference = $1")
            .bind(&intent)
            .fetch_one(&sandbox.orders)
            .await
            .map_err(|error| error.to_string())?;
        if noted == 1 { Ok(()) } else { Err(format!("{noted} findings")) }
    })
    .await;
    vec![placed]
}

async fn published(stage: &Stage) -> Vec<Placed> {
    let sku = shop::product(&stage.sandbox, &stage.staff).await;
    until("the product to be told of", PATIENCE, async || {
        let seen = read_all(&stage.sandbox.kafka, &PRODUCT_CHANGED).await;
        if seen.iter().any(|record| record.key == sku) { Ok(()) } else { Err(seen.len()) }
    })
    .await;
    Vec::new()
}
