//! Who is an operator, and what each must say: why.

use axum::extract::FromRequestParts;
use chassis::Problem;
use chassis::extract::Caller;
use common::{FieldProblem, UserId};
use http::request::Parts;
use messaging::operators::MOST_REASON;
use serde::Deserialize;

/// The realm role of operators.
pub const STAFF: &str = "staff";

/// A member of the staff. Extracting it answers 401 or 403 for everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        caller.require_role(STAFF)?;
        Ok(Self(caller.user_id))
    }
}

/// A body that says nothing but why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyBody {
    pub reason: String,
}

/// The reason as it is written down: without space around it, 1 to [`MOST_REASON`] characters, no control characters.
///
/// # Errors
/// 422 `invalid-field` at `/reason`.
pub fn reason(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let length = text.chars().count();
    let fault = if length == 0 {
        Some(("missing", "say why; it is written down"))
    } else if length > MOST_REASON {
        Some(("range", "at most 500 characters"))
    } else if text.chars().any(char::is_control) {
        Some(("format", "one line without control characters"))
    } else {
        None
    };
    match fault {
        None => Ok(text.to_owned()),
        Some((code, message)) => Err(Problem::invalid_fields(vec![FieldProblem::new("/reason", code, message)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_that_says_something() {
        assert_eq!(reason("  gateway is back ").ok().as_deref(), Some("gateway is back"));
        assert!(reason(&"x".repeat(MOST_REASON)).is_ok());
        for text in ["", "   ", "two\nlines", "nul\0", &"x".repeat(MOST_REASON + 1)] {
            assert_eq!(reason(text).map_err(|problem| problem.code()), Err("invalid-field"), "{text:?}");
        }
    }
}
