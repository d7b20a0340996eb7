//! The words we share with a payment gateway: what can be asked, and what an answer can mean. How they look on the wire is
//! the adapter's business; what follows from them is decided in `settle`.

use std::time::Duration;

/// What the gateway can be asked to do. Each is safe to repeat with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Make an intent; moves no money.
    Create,
    /// Authorise the money.
    Confirm,
    /// Take the authorised money.
    Capture,
    /// Give the intent up; an accepted cancel is final.
    Cancel,
    /// Give money back.
    Refund,
}

/// What the gateway can be asked about. Changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// The intent by its id.
    Intent,
    /// The intent of an attempt whose id we never learned, by the merchant's reference.
    Reference,
    /// The refund of an attempt, among those of its intent.
    Refund,
}

impl Call {
    pub const ALL: [Self; 5] = [Self::Create, Self::Confirm, Self::Capture, Self::Cancel, Self::Refund];

    /// Part of the derived key: never change one.
    pub fn code(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Confirm => "confirm",
            Self::Capture => "capture",
            Self::Cancel => "cancel",
            Self::Refund => "refund",
        }
    }

    /// What was committed for it must be safe at the standby site before it is sent.
    pub fn moves_money(self) -> bool {
        matches!(self, Self::Confirm | Self::Capture | Self::Refund)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentStatus {
    /// Waits for a confirmation.
    RequiresConfirmation,
    /// The last confirmation was declined; the intent is still open.
    Declined,
    /// Authorised.
    RequiresCapture,
    /// Decided later.
    Processing,
    /// The shopper would have to act; our flow offers no such step, so it waits for its deadline.
    RequiresAction,
    Succeeded,
    Canceled,
}

/// An intent as the gateway shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub id: String,
    pub status: IntentStatus,
    /// The last thing the bank said was no; with `RequiresCapture` this was the capture.
    pub declined: bool,
    pub amount_minor: i64,
    /// Upper-case ISO 4217.
    pub currency: String,
    /// Our order, as we told the gateway.
    pub order: Option<String>,
    /// Our attempt number, as we told the gateway.
    pub attempt: Option<u32>,
    pub created_unix: i64,
}

/// What an answer means, after classification by its body and not by its status alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Intent(Intent),
    /// The refund exists.
    Refunded {
        amount_minor: i64,
    },
    /// The bank said no; the intent stays open until it is cancelled.
    Declined(Option<Intent>),
    /// The token means nothing to this gateway: no intent was made.
    TokenRefused,
    /// The step does not fit the state the intent is in.
    StateRefused(Option<Intent>),
    /// A look found nothing. Proves nothing about what is still on its way.
    NotFound,
    /// Our bug or configuration; not a decline. Says which.
    Misconfigured(String),
    /// The key was used with other parameters: our row was rebuilt differently.
    KeyClash,
    /// Not executed; come back later.
    Throttled(Option<Duration>),
    /// A twin with this key is under way.
    InProgress,
    /// Nothing was sent this time.
    NotSent,
    /// It may or may not have happened.
    Unknown(String),
}

impl Answer {
    /// For metrics: few values.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Intent(_) | Self::Refunded { .. } => "ok",
            Self::Declined(_) => "declined",
            Self::TokenRefused => "token_refused",
            Self::StateRefused(_) => "state_refused",
            Self::NotFound => "not_found",
            Self::Misconfigured(_) => "misconfigured",
            Self::KeyClash => "key_clash",
            Self::Throttled(_) => "throttled",
            Self::InProgress => "in_progress",
            Self::NotSent => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }
}
