//! What staff asks order-payment for, over HTTP. As in `shop`, a request without an answer is sent again with the same key.

use common::{OrderId, UserId, ids};
use serde_json::{Value, json};

use crate::issuer::Person;
use crate::sandbox::Sandbox;
use crate::shop::{self, HTTP, insist};

/// Why anything here is done.
const REASON: &str = "a drill";

async fn ask(sandbox: &Sandbox, staff: &Person, path: &str, body: &Value, wanted: &[u16]) {
    let (url, key) = (format!("{}{path}", sandbox.orders_url), ids::random().simple().to_string());
    let asking = || HTTP.post(&url).bearer_auth(&staff.token).header("Idempotency-Key", &key).json(body);
    insist(path, wanted, asking).await;
}

/// Gives money of an order back.
pub async fn refund(sandbox: &Sandbox, staff: &Person, order: OrderId, body: &Value) {
    ask(sandbox, staff, &format!("/v1/orders/{order}/refunds"), body, &[201]).await;
}

/// Gives somebody store credit.
pub async fn grant(sandbox: &Sandbox, staff: &Person, user: UserId, amount: &str) {
    let body = json!({"user_id": user.to_string(), "amount": shop::money(amount), "reason": REASON});
    ask(sandbox, staff, "/v1/admin/store-credit/grants", &body, &[201]).await;
}

/// Ends an order without a sale. 409: its money is taken.
pub async fn compensate(sandbox: &Sandbox, staff: &Person, order: OrderId) {
    let path = format!("/v1/admin/sagas/{order}/compensate");
    ask(sandbox, staff, &path, &json!({"reason": REASON}), &[200, 409]).await;
}

/// Lets an order that waits be tried at once.
pub async fn retry(sandbox: &Sandbox, staff: &Person, order: OrderId) {
    ask(sandbox, staff, &format!("/v1/admin/sagas/{order}/retry"), &json!({"reason": REASON}), &[200]).await;
}

/// Takes a finding on or ends it. 409: that was done, and its answer was lost.
pub async fn own(sandbox: &Sandbox, staff: &Person, (kind, reference): (&str, &str), verb: &str) {
    let path = format!("/v1/admin/reconciliation/findings/{kind}/{reference}/{verb}");
    ask(sandbox, staff, &path, &json!({"reason": REASON}), &[200, 409]).await;
}

/// Hands what is parked under a key to the service again.
pub async fn redrive(sandbox: &Sandbox, staff: &Person, key: &str) {
    let body = json!({"key": key, "reason": REASON});
    ask(sandbox, staff, "/v1/admin/parked-messages/order-payment/redrive", &body, &[200]).await;
}
