//! `/v1/me`: a person's own profile.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Json, etag};
use chrono::SecondsFormat;
use http::HeaderMap;
use http::header::ETAG;
use serde::{Deserialize, Serialize};

use super::{Api, personal, present, problem};
use crate::domain::{Profile, ProfileForm};
use crate::usecases;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/me", get(view).patch(change))
}

/// Everything else about a person is the server's to set, and refused as an unknown field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileChanges {
    #[serde(default, deserialize_with = "present")]
    first_name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    last_name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    language: Option<String>,
}

#[derive(Serialize)]
struct ProfileView {
    user_id: String,
    email: String,
    first_name: String,
    last_name: String,
    language: &'static str,
    residency_region: &'static str,
    created_at: String,
}

async fn view(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let profile = usecases::view_me(&api.app, caller.user_id).await.map_err(problem)?;
    Ok(answer(&profile))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<ProfileChanges>,
) -> Result<Response, Problem> {
    let form = ProfileForm { first_name: body.first_name, last_name: body.last_name, language: body.language };
    let profile =
        usecases::change_profile(&api.app, caller.user_id, etag::expected(&headers), &form).await.map_err(problem)?;
    Ok(answer(&profile))
}

fn answer(profile: &Profile) -> Response {
    personal(([(ETAG, etag::of(profile.version))], Json(ProfileView::from(profile))))
}

impl From<&Profile> for ProfileView {
    fn from(profile: &Profile) -> Self {
        Self {
            user_id: profile.user_id.to_string(),
            email: profile.email.open().to_owned(),
            first_name: profile.first_name.open().to_owned(),
            last_name: profile.last_name.open().to_owned(),
            language: profile.language.code(),
            residency_region: profile.region.code(),
            created_at: profile.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}
