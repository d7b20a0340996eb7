//! The words we share with a payment gateway: what can be asked, and what an answer can mean. How they look on the wire is
//! the adapter's business; what follows from them is decided in `settle`.

use std::str::FromStr;
use std::time::Duration;

use super::order::UnknownName;

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

/// Which gateway carries an attempt. Chosen once, with the attempt, and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    /// The gateway's name in the configuration and in its webhook URL.
    pub name: String,
    pub flow: Flow,
}

impl Default for Via {
    /// The first gateway this shop ever had.
    fn default() -> Self {
        Self { name: "simulator".to_owned(), flow: Flow::MakeThenConfirm }
    }
}

/// How a gateway comes to an authorisation. Stored with the attempt, so that what follows from it is decided without asking
/// any configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// The first call makes an intent and moves no money; a call of its own authorises it.
    MakeThenConfirm,
    /// The first call authorises at once: it is sent from `SENT` and behind the gate, and its id is known only afterwards.
    MadeAuthorised,
}

impl Flow {
    pub const ALL: [Self; 2] = [Self::MakeThenConfirm, Self::MadeAuthorised];

    pub fn code(self) -> &'static str {
        match self {
            Self::MakeThenConfirm => "MAKE_THEN_CONFIRM",
            Self::MadeAuthorised => "MADE_AUTHORISED",
        }
    }

    /// Must what was committed for `call` be safe at the standby site before it is sent?
    pub fn gates(self, call: Call) -> bool {
        call.moves_money() || (self == Self::MadeAuthorised && call == Call::Create)
    }
}

impl FromStr for Flow {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|flow| flow.code() == text).ok_or(UnknownName)
    }
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
    /// Refused for good: nothing stands and nothing is left to cancel.
    Failed,
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
    /// How much of it went back; [`None`] where an answer does not say.
    pub refunded_minor: Option<i64>,
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
    /// Whatever a call with the attempt's first key may have made is cancelled; there is no object to show.
    Gone,
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
            Self::Intent(_) | Self::Refunded { .. } | Self::Gone => "ok",
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
