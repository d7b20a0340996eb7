//! The routes. Decided here: who may ask, how large a request may be, and how a [`Reply`] looks on the connection.
//! Handlers translate; the work is the gateway's.

mod auth;
mod books;
mod call;
mod connection;
mod faults;
mod fraud;
mod payments;
mod settlements;
mod square;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::Gateway;
use crate::store::StoreError;
use crate::wire::{Answer, ApiError};

pub use connection::{BreakableListener, Line};

/// A form with 50 full pairs of metadata, percent-encoded, stays below this.
const MOST_BODY_BYTES: usize = 128 * 1024;

/// What every handler can reach.
#[derive(Clone)]
pub struct App {
    pub gateway: Arc<Gateway>,
    pub api_key: Arc<str>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

/// Everything this gateway answers to.
pub fn router(app: App) -> Router {
    let unknown = || async { respond(&ApiError::unknown_route().answer()) };
    let api = Router::new()
        .route("/v1/payment_intents", post(payments::create).get(payments::list))
        .route("/v1/payment_intents/search", get(payments::search))
        .route("/v1/payment_intents/{id}", get(payments::get).post(payments::update))
        .route("/v1/payment_intents/{id}/confirm", post(payments::confirm))
        .route("/v1/payment_intents/{id}/capture", post(payments::capture))
        .route("/v1/payment_intents/{id}/cancel", post(payments::cancel))
        .route("/v1/refunds", post(payments::refund).get(payments::refunds))
        .route("/settlements/{date}", get(settlements::of_intents))
        .route("/v2/payments", post(square::create).get(square::list))
        .route("/v2/payments/cancel", post(square::cancel_by_key))
        .route("/v2/payments/{id}", get(square::get))
        .route("/v2/payments/{id}/complete", post(square::complete))
        .route("/v2/payments/{id}/cancel", post(square::cancel))
        .route("/v2/refunds", post(square::refund))
        .route("/v2/refunds/{id}", get(square::refund_by_id))
        .route("/v2/settlements/{date}", get(settlements::of_square))
        .route("/fraud/assessments", post(fraud::assess))
        // Only the API asks for the key; the books are for tests and operators on this machine.
        .route_layer(axum::middleware::from_fn_with_state(app.clone(), auth::require_key));
    Router::new()
        .merge(api)
        .route("/__books", get(books::entries))
        .route("/__books/summary", get(books::summary))
        .route("/__faults", get(faults::show).post(faults::set))
        .route("/__settlements/{date}", post(settlements::close))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(books::ready))
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(app)
}

fn respond(answer: &Answer) -> Response {
    let status =
        axum::http::StatusCode::from_u16(answer.status).unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [("content-type", "application/json")], answer.body.clone()).into_response();
    if answer.status == 429 {
        response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("1"));
    }
    response
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        respond(&self.answer())
    }
}

/// A read that failed; the cause is in our log, not in the answer.
fn failed(error: &StoreError) -> ApiError {
    tracing::error!(error = error as &dyn std::error::Error, "read failed");
    ApiError::internal()
}
