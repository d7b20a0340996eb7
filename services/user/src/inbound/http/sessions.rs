//! `/v1/sessions`: login for API clients and tests (browsers use the code flow), refresh, logout.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, post};
use chassis::Problem;
use chassis::extract::{Caller, ClientAddress, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Api, personal, problem};
use crate::usecases::ports::TokenPair;
use crate::usecases::{self, LogInForm};

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/sessions", post(log_in).delete(log_out_everywhere))
        .route("/v1/sessions/current", delete(log_out))
        .route("/v1/sessions/refresh", post(refresh))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

#[derive(Serialize)]
struct Tokens {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
}

async fn log_in(
    State(api): State<Api>,
    ClientAddress(source): ClientAddress,
    Json(body): Json<Credentials>,
) -> Result<Response, Problem> {
    let form = LogInForm { email: body.email, password: body.password };
    let tokens = usecases::log_in(&api.app, &form, source).await.map_err(problem)?;
    Ok(personal(Json(Tokens::from(tokens))))
}

async fn refresh(
    State(api): State<Api>,
    ClientAddress(source): ClientAddress,
    Json(body): Json<Refresh>,
) -> Result<Response, Problem> {
    let tokens = usecases::refresh_session(&api.app, &body.refresh_token, source).await.map_err(problem)?;
    Ok(personal(Json(Tokens::from(tokens))))
}

async fn log_out(State(api): State<Api>, caller: Caller) -> Result<StatusCode, Problem> {
    usecases::log_out(&api.app, caller.user_id, &caller.session_id).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn log_out_everywhere(State(api): State<Api>, caller: Caller) -> Result<StatusCode, Problem> {
    usecases::log_out_everywhere(&api.app, caller.user_id).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<TokenPair> for Tokens {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access_token,
            token_type: "Bearer",
            expires_in: pair.expires_in,
            refresh_token: pair.refresh_token,
            refresh_expires_in: pair.refresh_expires_in,
        }
    }
}
