//! `/v1/orders/{id}/refunds`: money back, for staff and, where the policy allows, for the owner.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use chassis::Problem;
use chassis::extract::{Caller, IdempotencyKey, Json, Path};
use messaging::StoredAnswer;
use serde::{Deserialize, Serialize};

use super::Api;
use super::bodies::{MoneyBody, bytes, instant};
use super::money::MoneyView;
use super::orders::{order_id, problem, shopper, stored};
use crate::domain::Refund;
use crate::usecases::refund_order::{Asker, RawRefund, refund_order};

/// Realm roles that may give money back.
const STAFF: [&str; 2] = ["staff", "support"];

pub fn router() -> Router<Api> {
    Router::new().route("/v1/orders/{id}/refunds", post(refund))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    #[serde(default)]
    amount: Option<MoneyBody>,
    #[serde(default)]
    lines: Option<Vec<RefundLineBody>>,
    reason: String,
    #[serde(default)]
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundLineBody {
    sku: String,
    quantity: u32,
}

async fn refund(
    State(api): State<Api>,
    caller: Caller,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Json(body): Json<RefundBody>,
) -> Result<Response, Problem> {
    let raw = RawRefund {
        amount: body.amount.map(|money| (money.amount, money.currency)),
        lines: body.lines.map(|lines| lines.into_iter().map(|line| (line.sku, line.quantity)).collect()),
        reason: body.reason,
        target: body.to,
    };
    let asker = Asker { shopper: shopper(&caller), staff: is_staff(&caller) };
    let refunded = refund_order(api.app(), asker, &key.0, order_id(&id)?, raw, answer).await.map_err(problem)?;
    Ok(stored(refunded.answer, refunded.replayed))
}

/// Roles compare exactly.
pub(super) fn is_staff(caller: &Caller) -> bool {
    caller.roles.iter().any(|role| STAFF.contains(&role.as_str()))
}

/// A refund, in its answer and in the view of its order. Why it was given stays with staff.
#[derive(Serialize)]
pub(super) struct RefundView {
    refund_id: String,
    amount: MoneyView,
    to: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<RefundLineView>,
    asked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

#[derive(Serialize)]
struct RefundLineView {
    sku: String,
    quantity: u32,
}

impl From<&Refund> for RefundView {
    fn from(refund: &Refund) -> Self {
        Self {
            refund_id: refund.id.to_string(),
            amount: refund.amount.into(),
            to: refund.target.code(),
            state: refund.state.code(),
            lines: refund
                .lines
                .iter()
                .map(|line| RefundLineView { sku: line.sku.to_string(), quantity: line.quantity })
                .collect(),
            asked_at: instant(refund.asked_at),
            ended_at: refund.ended_at.map(instant),
        }
    }
}

fn answer(refund: &Refund) -> StoredAnswer {
    StoredAnswer { status: 201, body: bytes(&RefundView::from(refund)) }
}
