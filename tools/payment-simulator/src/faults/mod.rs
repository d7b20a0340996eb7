//! The script of misbehaviour: which card token or amount makes which call go wrong, and how. One table, read by people.
//!
//! Decided here: *what* goes wrong. Not decided: how a fault is carried out (`gateway` for its effect on the money,
//! `http` for its effect on the connection). Except for declines a fault happens once per intent and call, so that
//! whoever asks again finds the truth. All token faults act at **the call that charges**: the capture of a manual
//! intent, the confirmation of an automatic one. Declines act at the confirmation, where a bank speaks.

mod rates;

use crate::domain::{CaptureMethod, Decline};

pub use rates::{FaultRates, RatesError};

/// The calls that change something, as far as a fault can meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Create,
    Confirm,
    Capture,
    Cancel,
    Refund,
}

impl Call {
    pub fn code(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Confirm => "confirm",
            Self::Capture => "capture",
            Self::Cancel => "cancel",
            Self::Refund => "refund",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bank says no, every time.
    Decline(Decline),
    /// Nothing happens at first and no answer comes; then the connection closes.
    HoldBefore,
    /// The call waits, then works.
    Slow,
    /// The connection is reset before anything happened.
    ResetBefore,
    /// 429 with `Retry-After: 1`; nothing happened.
    TooManyBefore,
    /// Done, but no answer comes; then the connection closes.
    HoldAfter,
    /// Done, but the answer is a 500.
    ErrorAfter,
    /// Done, but the answer breaks off in the middle.
    CutAfter,
    /// Done, but the answer is a page of HTML with status 200.
    HtmlAfter,
    /// The answer says `processing`; the money moves a little later and the webhook tells.
    SettleLater,
    /// The webhook is delivered twice.
    WebhookTwice,
    /// The webhook is delivered before the answer.
    WebhookEarly,
    /// The webhook is delivered minutes later.
    WebhookLate,
    /// The webhook is never delivered.
    WebhookLost,
}

/// Tokens this gateway knows. The `pm_card_…`/`tok_…` names of the public test cards mean the same three endings.
const TOKENS: &[(&str, Option<Fault>)] = &[
    ("tok_ok", None),
    ("tok_visa", None),
    ("pm_card_visa", None),
    ("tok_declined", Some(Fault::Decline(Decline::Generic))),
    ("tok_chargeDeclined", Some(Fault::Decline(Decline::Generic))),
    ("pm_card_chargeDeclined", Some(Fault::Decline(Decline::Generic))),
    ("tok_insufficient", Some(Fault::Decline(Decline::InsufficientFunds))),
    ("tok_chargeDeclinedInsufficientFunds", Some(Fault::Decline(Decline::InsufficientFunds))),
    ("pm_card_chargeDeclinedInsufficientFunds", Some(Fault::Decline(Decline::InsufficientFunds))),
    ("tok_slow", Some(Fault::Slow)),
    ("tok_timeout_charged", Some(Fault::HoldAfter)),
    ("tok_timeout_not_charged", Some(Fault::HoldBefore)),
    ("tok_error500_charged", Some(Fault::ErrorAfter)),
    ("tok_reset", Some(Fault::ResetBefore)),
    ("tok_webhook_only", Some(Fault::SettleLater)),
    ("tok_webhook_twice", Some(Fault::WebhookTwice)),
    ("tok_webhook_early", Some(Fault::WebhookEarly)),
    ("tok_webhook_late", Some(Fault::WebhookLate)),
    ("tok_webhook_lost", Some(Fault::WebhookLost)),
];

/// Amounts in minor units, above any price of the demo catalog, for faults that no card can bring about.
const AMOUNTS: &[(i64, Call, Fault)] = &[
    (9_999_901, Call::Confirm, Fault::Decline(Decline::Generic)),
    (9_999_902, Call::Confirm, Fault::HoldAfter),
    (9_999_903, Call::Confirm, Fault::HoldBefore),
    (9_999_904, Call::Confirm, Fault::ErrorAfter),
    (9_999_905, Call::Confirm, Fault::ResetBefore),
    (9_999_906, Call::Confirm, Fault::TooManyBefore),
    (9_999_907, Call::Create, Fault::ErrorAfter),
    (9_999_908, Call::Capture, Fault::Decline(Decline::Generic)),
    (9_999_909, Call::Refund, Fault::ErrorAfter),
    (9_999_910, Call::Cancel, Fault::ErrorAfter),
    (9_999_911, Call::Capture, Fault::CutAfter),
    (9_999_912, Call::Capture, Fault::HtmlAfter),
    (9_999_913, Call::Refund, Fault::HoldAfter),
];

/// Does this gateway know the token? An unknown one is another merchant's.
pub fn knows(token: &str) -> bool {
    TOKENS.iter().any(|(name, _)| *name == token)
}

/// The fault that `call` meets on an intent of `amount` with `token`, if it has not met it before.
pub fn planned(call: Call, capture: CaptureMethod, token: Option<&str>, amount: i64) -> Option<Fault> {
    if let Some((_, _, fault)) = AMOUNTS.iter().find(|(magic, at, _)| *magic == amount && *at == call) {
        return Some(*fault);
    }
    let fault = TOKENS.iter().find(|(name, _)| Some(*name) == token).and_then(|(_, fault)| *fault)?;
    meets(fault, call, capture).then_some(fault)
}

/// Is there a script for this card or amount? Then no rate applies.
pub fn scripted(token: Option<&str>, amount: i64) -> bool {
    AMOUNTS.iter().any(|(magic, ..)| *magic == amount)
        || TOKENS.iter().any(|(name, fault)| Some(*name) == token && fault.is_some())
}

/// A decline is met at the confirmation, every other fault at the call that charges.
fn meets(fault: Fault, call: Call, capture: CaptureMethod) -> bool {
    let charging = match capture {
        CaptureMethod::Manual => Call::Capture,
        CaptureMethod::Automatic => Call::Confirm,
    };
    call == if matches!(fault, Fault::Decline(_)) { Call::Confirm } else { charging }
}

impl Fault {
    /// A fault before the effect: the call stops before anything has happened.
    pub fn stops(self) -> bool {
        matches!(self, Self::HoldBefore | Self::Slow | Self::ResetBefore | Self::TooManyBefore)
    }

    /// Declines are no accident: they come each time.
    pub fn happens_once(self) -> bool {
        !matches!(self, Self::Decline(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_faults_meet_the_call_that_charges() {
        use CaptureMethod::{Automatic, Manual};
        let table = [
            (Call::Confirm, Manual, "tok_ok", None),
            (Call::Confirm, Manual, "tok_declined", Some(Fault::Decline(Decline::Generic))),
            (Call::Capture, Manual, "tok_declined", None),
            (Call::Confirm, Automatic, "tok_insufficient", Some(Fault::Decline(Decline::InsufficientFunds))),
            (Call::Confirm, Manual, "tok_timeout_charged", None),
            (Call::Capture, Manual, "tok_timeout_charged", Some(Fault::HoldAfter)),
            (Call::Confirm, Automatic, "tok_timeout_charged", Some(Fault::HoldAfter)),
            (Call::Capture, Manual, "tok_error500_charged", Some(Fault::ErrorAfter)),
            (Call::Capture, Manual, "tok_reset", Some(Fault::ResetBefore)),
            (Call::Cancel, Manual, "tok_reset", None),
            (Call::Capture, Manual, "tok_unknown", None),
        ];
        for (call, capture, token, fault) in table {
            assert_eq!(planned(call, capture, Some(token), 4990), fault, "{call:?} {token}");
        }
    }

    #[test]
    fn a_magic_amount_overrules_the_card_and_only_at_its_call() {
        let at = |call| planned(call, CaptureMethod::Manual, Some("tok_ok"), 9_999_905);
        assert_eq!((at(Call::Confirm), at(Call::Capture)), (Some(Fault::ResetBefore), None));
        assert!(AMOUNTS.iter().all(|(amount, _, _)| *amount >= 9_999_900));
    }
}
