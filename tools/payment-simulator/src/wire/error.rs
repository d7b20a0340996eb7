//! `{"error": {"type", "code", "message", "param", "decline_code", "payment_intent"}}`, one table of all errors.
//!
//! Messages never repeat what the caller sent as a card or in metadata: an error text ends up in logs.

use serde_json::{Value, json};

use super::Answer;
use crate::domain::{Change, Decline, Intent, Refusal};

/// An answer that is not 200. `execution` tells whether the call had begun to act when it failed: only then its answer
/// is stored under the request's key.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    pub status: u16,
    pub kind: &'static str,
    pub code: Option<&'static str>,
    pub message: String,
    pub param: Option<String>,
    pub decline: Option<Decline>,
    pub intent: Option<Value>,
    pub execution: bool,
}

impl ApiError {
    fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, kind, code, message, param: None, decline: None, intent: None, execution: false }
    }

    fn about(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// A request that cannot be understood.
    pub fn malformed(message: &str) -> Self {
        Self::new(400, "invalid_request_error", None, message)
    }

    pub fn missing(param: &str) -> Self {
        Self::new(400, "invalid_request_error", Some("parameter_missing"), format!("Missing required param: {param}."))
            .about(param)
    }

    pub fn invalid(param: &str, why: &str) -> Self {
        Self::new(400, "invalid_request_error", Some("parameter_invalid"), format!("Invalid {param}: {why}."))
            .about(param)
    }

    pub fn unknown_parameter(param: &str) -> Self {
        Self::new(
            400,
            "invalid_request_error",
            Some("parameter_unknown"),
            format!("Received unknown parameter: {param}"),
        )
        .about(param)
    }

    pub fn no_such(what: &str, param: &str) -> Self {
        Self::new(404, "invalid_request_error", Some("resource_missing"), format!("No such {what}.")).about(param)
    }

    pub fn unauthenticated() -> Self {
        Self::new(401, "invalid_request_error", None, "Invalid API key provided.")
    }

    pub fn unknown_route() -> Self {
        Self::new(404, "invalid_request_error", Some("url_invalid"), "Unrecognized request URL.")
    }

    pub fn too_large() -> Self {
        Self::new(413, "invalid_request_error", None, "The request body is too large.")
    }

    pub fn too_many() -> Self {
        Self::new(429, "invalid_request_error", Some("rate_limit"), "Too many requests.")
    }

    pub fn internal() -> Self {
        Self::new(500, "api_error", None, "An unexpected error occurred.")
    }

    /// The same key with other parameters.
    pub fn key_reused() -> Self {
        let message =
            "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        Self::new(400, "idempotency_error", None, message)
    }

    /// The same key while the first request with it is still running.
    pub fn key_in_use() -> Self {
        let message = "There is currently another in-progress request using this idempotency key.";
        Self::new(409, "invalid_request_error", Some("idempotency_key_in_use"), message)
    }

    /// A step that cannot be in the state the intent is in; the answer shows that state.
    pub fn refused(refusal: &Refusal, intent: &Intent) -> Self {
        let (code, param, message) = match refusal {
            Refusal::WrongStatus(status) => (
                "payment_intent_unexpected_state",
                None,
                format!("This PaymentIntent has a status of {} and cannot do this.", status.code()),
            ),
            Refusal::NoPaymentMethod => (
                "payment_intent_unexpected_state",
                Some("payment_method"),
                "This PaymentIntent has no payment method.".to_owned(),
            ),
            Refusal::NotPositive => {
                ("parameter_invalid_integer", Some("amount"), "Amount must be at least 1.".to_owned())
            }
            Refusal::TooMuch { most } => {
                ("amount_too_large", Some("amount"), format!("Amount is greater than the {most} that can be moved."))
            }
            Refusal::AlreadyRefunded => {
                ("charge_already_refunded", None, "The charge has already been refunded.".to_owned())
            }
        };
        let mut error = Self::new(400, "invalid_request_error", Some(code), message);
        error.param = param.map(str::to_owned);
        error.intent = Some(super::intent(intent));
        error.execution = true;
        error
    }

    /// The bank said no.
    pub fn declined(decline: Decline, change: &Change) -> Self {
        let mut error = Self::new(402, "card_error", Some("card_declined"), decline.message());
        error.decline = Some(decline);
        error.intent = Some(super::intent(&change.intent));
        error.execution = true;
        error
    }

    pub fn answer(&self) -> Answer {
        let mut error = json!({"type": self.kind, "message": self.message});
        let mut put = |name: &str, value: Option<Value>| {
            if let (Some(fields), Some(value)) = (error.as_object_mut(), value) {
                fields.insert(name.to_owned(), value);
            }
        };
        put("code", self.code.map(Value::from));
        put("param", self.param.clone().map(Value::from));
        put("decline_code", self.decline.map(|decline| Value::from(decline.code())));
        put("payment_intent", self.intent.clone());
        Answer { status: self.status, body: json!({"error": error}).to_string() }
    }
}
