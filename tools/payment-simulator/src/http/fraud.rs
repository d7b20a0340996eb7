//! `/fraud/assessments`: a stand-in for a shop's fraud check. It knows nobody: what it says depends on the amount alone, so that a story
//! can choose.

use axum::Json;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::respond;
use crate::wire::Answer;

/// Refused: an amount whose minor units end in these digits.
const REFUSED_ENDING: u64 = 666;

#[derive(Deserialize)]
pub struct Facts {
    amount_minor: u64,
}

pub async fn assess(Json(facts): Json<Facts>) -> Response {
    let verdict = if facts.amount_minor % 1_000 == REFUSED_ENDING { "refuse" } else { "pass" };
    respond(&Answer::ok(&json!({ "verdict": verdict })))
}
