//! `POST /v1/users`: signing up.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use chassis::Problem;
use chassis::extract::{ClientAddress, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Api, personal, present, problem};
use crate::domain::{Consents, SignUpForm};
use crate::usecases::{SignedUp, sign_up};

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/users", post(create))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    email: String,
    password: String,
    first_name: String,
    last_name: String,
    residency_region: String,
    #[serde(default, deserialize_with = "present")]
    language: Option<String>,
    #[serde(default, deserialize_with = "present")]
    consents: Option<NewConsents>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewConsents {
    #[serde(default)]
    personalisation: bool,
    #[serde(default)]
    marketing: bool,
}

#[derive(Serialize)]
struct Registered {
    user_id: String,
    residency_region: &'static str,
}

#[derive(Serialize)]
struct Accepted {
    status: &'static str,
    residency_region: &'static str,
}

async fn create(
    State(api): State<Api>,
    ClientAddress(source): ClientAddress,
    Json(body): Json<NewUser>,
) -> Result<Response, Problem> {
    let form = SignUpForm::from(body);
    let region = api.app.region.code();
    // Both run: the answer comes when the slower of the two is done.
    let (outcome, ()) =
        tokio::join!(sign_up(&api.app, &form, source), tokio::time::sleep(api.sign_up_answers.min_duration));
    let answer = match outcome.map_err(problem)? {
        SignedUp::Registered(user) if !api.sign_up_answers.neutral => {
            (StatusCode::CREATED, Json(Registered { user_id: user.to_string(), residency_region: region }))
                .into_response()
        }
        SignedUp::Registered(_) | SignedUp::Accepted => {
            (StatusCode::ACCEPTED, Json(Accepted { status: "accepted", residency_region: region })).into_response()
        }
    };
    Ok(personal(answer))
}

impl From<NewUser> for SignUpForm {
    fn from(body: NewUser) -> Self {
        let consents = body.consents.map_or_else(Consents::default, |given| Consents {
            personalisation: given.personalisation,
            marketing: given.marketing,
        });
        Self {
            email: body.email,
            password: body.password,
            first_name: body.first_name,
            last_name: body.last_name,
            residency_region: body.residency_region,
            language: body.language,
            consents,
        }
    }
}
