//! `/v1/me/consents`: what a person agreed to. A change holds everywhere when the answer arrives.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Json};
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};

use super::{Api, personal, problem};
use crate::domain::Consents;
use crate::usecases;
use crate::usecases::ports::ConsentState;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/me/consents", get(view).put(change))
}

/// Both must be said: a consent is never taken from silence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewConsents {
    personalisation: bool,
    marketing: bool,
}

#[derive(Serialize)]
struct ConsentView {
    personalisation: bool,
    marketing: bool,
    changed_at: String,
}

async fn view(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let state = usecases::view_consents(&api.app, caller.user_id).await.map_err(problem)?;
    Ok(personal(Json(ConsentView::from(state))))
}

async fn change(State(api): State<Api>, caller: Caller, Json(body): Json<NewConsents>) -> Result<Response, Problem> {
    let consents = Consents { personalisation: body.personalisation, marketing: body.marketing };
    let state = usecases::change_consents(&api.app, caller.user_id, consents).await.map_err(problem)?;
    Ok(personal(Json(ConsentView::from(state))))
}

impl From<ConsentState> for ConsentView {
    fn from(state: ConsentState) -> Self {
        Self {
            personalisation: state.consents.personalisation,
            marketing: state.consents.marketing,
            changed_at: state.changed_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}
