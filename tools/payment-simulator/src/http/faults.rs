//! `/__faults`: which faults are met by rate. For tests and campaigns; the flags count again after a restart.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

use super::{App, respond};
use crate::faults::FaultRates;
use crate::wire::{Answer, ApiError, Form};

pub async fn show(State(app): State<App>) -> Response {
    let rates = app.gateway.rates();
    respond(&Answer::ok(&json!({"rates": rates.to_string(), "seed": rates.seed})))
}

/// Form: `rates=timeout_charged=0.01,…` (empty: none) and `seed=`.
pub async fn set(State(app): State<App>, body: Bytes) -> Result<Response, ApiError> {
    let mut form = Form::parse(&body)?;
    let seed = form.take_integer("seed")?.unwrap_or_default().unsigned_abs();
    let rates = form.take("rates").unwrap_or_default();
    form.finish()?;
    let rates: FaultRates = rates.parse().map_err(|error| ApiError::invalid("rates", &format!("{error}")))?;
    app.gateway.set_rates(rates.seeded(seed));
    Ok(show(State(app)).await)
}
