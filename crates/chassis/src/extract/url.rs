//! Path parameters and query. A path that does not parse names nothing (404); a query that does not parse is 400.

use axum::extract::{FromRequestParts, RawPathParams};
use common::{ErrorKind, FieldProblem};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::{Problem, codes};

/// No id or SKU of ours is longer.
const MAX_PARAMETER: usize = 256;

/// Path parameters, as `axum::extract::Path`. What does not parse is 404: an id in another spelling names nothing of ours.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // Percent-encoded NUL and broken UTF-8 end here as well, before any driver sees them.
        let raw = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        if raw.iter().any(|(_, value)| value.len() > MAX_PARAMETER || value.contains('\0')) {
            return Err(Problem::not_found());
        }
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::not_found()),
        }
    }
}

/// The query, as `axum::extract::Query`. Unknown parameters are ignored unless the type denies them.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    // Its length is bounded with the request line; what a long but readable query costs is for the use case to judge.
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        // A fault that belongs to no single parameter has a dot for a path.
        let name: String = error.path().to_string().chars().take(64).collect();
        let pointer = if name == "." { String::new() } else { format!("/{name}") };
        let message = "this parameter is missing, repeated, unknown or has a wrong value";
        Problem::new(ErrorKind::Invalid, codes::MALFORMED_REQUEST, "a query parameter cannot be read")
            .with_fields(vec![FieldProblem::new(pointer, "invalid", message)])
    })
}
