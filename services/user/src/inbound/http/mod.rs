//! The public REST API of this service. Handlers parse into a form, call one use case, turn the result into an answer.

mod addresses;
mod clicks;
mod consents;
mod me;
mod regions;
mod sessions;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use chassis::Problem;
use http::HeaderValue;
use http::header::CACHE_CONTROL;

use crate::usecases::{App, UserError};

pub use self::clicks::INTAKE;

/// How sign-ups are answered.
#[derive(Clone, Copy, Debug)]
pub struct SignUpAnswers {
    /// New and known e-mails get the same answer.
    pub neutral: bool,
    /// None is answered sooner.
    pub min_duration: Duration,
}

/// What handlers work with.
#[derive(Clone)]
pub struct Api {
    app: Arc<App>,
    sign_up_answers: SignUpAnswers,
    /// Base URL of this site as clients know it.
    public_url: Arc<str>,
}

impl Api {
    pub fn new(app: App, sign_up_answers: SignUpAnswers, public_url: &str) -> Self {
        Self { app: Arc::new(app), sign_up_answers, public_url: public_url.into() }
    }
}

pub fn router(api: Api) -> Router {
    Router::new()
        .merge(users::router())
        .merge(sessions::router())
        .merge(me::router())
        .merge(consents::router())
        .merge(addresses::router())
        .merge(regions::router())
        .merge(clicks::router())
        .with_state(api)
}

/// A use case's refusal; people of another region are told where to go.
fn problem(error: UserError) -> Problem {
    let elsewhere = match &error {
        UserError::Elsewhere(region) => Some(region.base_url()),
        _ => None,
    };
    let problem = Problem::from(error);
    match elsewhere {
        Some(url) => problem.with_alternate(url),
        None => problem,
    }
}

/// An answer about a person: nobody on the way may keep it.
fn personal(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For optional fields that may be absent but not null: "no change" and "remove" must not look alike.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
