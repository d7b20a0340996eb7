//! The payment intent: which step is possible in which state, and what the step does to the money.
//!
//! ```text
//! requires_payment_method ──► requires_confirmation ──confirm──► requires_capture ──capture──► succeeded ──refund──► …
//!          ▲                          │                    (manual)      │    └──► processing ──settle──┘
//!          └──────── declined ────────┘                                  └──cancel──► canceled
//! ```
//! With automatic capture a confirmation goes straight to `succeeded` (or `processing`). A step is a function from the
//! intent to a [`Change`]; a step that cannot be is a [`Refusal`] and changes nothing. An intent succeeds at most once.

use std::collections::BTreeMap;

use super::{Account, Card, Currency, Decline, EntryKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureMethod {
    Automatic,
    Manual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresCapture,
    Processing,
    Succeeded,
    Canceled,
}

impl Status {
    pub const ALL: [Self; 6] = [
        Self::RequiresPaymentMethod,
        Self::RequiresConfirmation,
        Self::RequiresCapture,
        Self::Processing,
        Self::Succeeded,
        Self::Canceled,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresCapture => "requires_capture",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// One wish to pay. Amounts are minor units of `currency`, instants are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub id: String,
    pub account: Account,
    pub amount: i64,
    pub currency: Currency,
    pub capture: CaptureMethod,
    pub status: Status,
    pub card: Option<Card>,
    /// The merchant's own words; `order_id` among them is the reference under which the books list every movement.
    pub metadata: BTreeMap<String, String>,
    pub created_ms: i64,
    /// What the charge took, or will take once `processing` settles.
    pub taken: i64,
    pub refunded: i64,
    pub charge: Option<String>,
    pub decline: Option<Decline>,
    pub canceled_ms: Option<i64>,
    pub cancellation_reason: Option<String>,
}

/// Money given back, whole or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub id: String,
    pub intent: String,
    pub charge: String,
    pub amount: i64,
    pub currency: Currency,
    pub reason: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub created_ms: i64,
}

/// What the bank says to a confirmation or a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Approved,
    /// Approved, but the money moves when the intent is settled.
    ApprovedLater,
    Declined(Decline),
}

/// One line for the books, before it has a place in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    pub kind: EntryKind,
    pub charge: String,
    pub refund: Option<String>,
    pub amount: i64,
}

/// What the merchant's webhook is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Succeeded,
    PaymentFailed,
    Canceled,
    AmountCapturableUpdated,
    ChargeRefunded,
}

impl Event {
    pub fn code(self) -> &'static str {
        match self {
            Self::Succeeded => "payment_intent.succeeded",
            Self::PaymentFailed => "payment_intent.payment_failed",
            Self::Canceled => "payment_intent.canceled",
            Self::AmountCapturableUpdated => "payment_intent.amount_capturable_updated",
            Self::ChargeRefunded => "charge.refunded",
        }
    }
}

/// The whole effect of one step; it is stored whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub intent: Intent,
    pub movement: Option<Movement>,
    pub event: Option<Event>,
    pub refund: Option<Refund>,
    pub declined: Option<Decline>,
}

impl Change {
    fn to(intent: Intent) -> Self {
        Self { intent, movement: None, event: None, refund: None, declined: None }
    }

    fn moving(mut self, kind: EntryKind, charge: &str, amount: i64) -> Self {
        self.movement = Some(Movement { kind, charge: charge.to_owned(), refund: None, amount });
        self
    }

    fn telling(mut self, event: Event) -> Self {
        self.event = Some(event);
        self
    }
}

/// Why a step cannot be. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the intent has the status {}", .0.code())]
    WrongStatus(Status),
    #[error("the intent has no payment method")]
    NoPaymentMethod,
    #[error("the amount must be at least 1")]
    NotPositive,
    #[error("the amount is greater than the {most} that can still be moved")]
    TooMuch { most: i64 },
    #[error("the charge is already refunded in full")]
    AlreadyRefunded,
}

impl Intent {
    /// Money that a capture could take now.
    pub fn capturable(&self) -> i64 {
        if self.status == Status::RequiresCapture { self.amount } else { 0 }
    }

    /// Money that has been taken for good; refunds do not lower it.
    pub fn received(&self) -> i64 {
        if self.status == Status::Succeeded { self.taken } else { 0 }
    }

    /// The merchant's attempt.
    pub fn attempt(&self) -> Option<&str> {
        self.metadata.get("attempt").map(String::as_str)
    }

    /// The merchant's reference.
    pub fn reference(&self) -> Option<&str> {
        self.metadata.get("order_id").map(String::as_str)
    }

    /// Authorises the money; with automatic capture also takes it. `charge` names the charge if there will be one.
    ///
    /// # Errors
    /// [`Refusal::WrongStatus`] unless the intent waits for a card or a confirmation, [`Refusal::NoPaymentMethod`] without a card.
    pub fn confirm(&self, card: Option<Card>, verdict: Verdict, charge: String) -> Result<Change, Refusal> {
        if !matches!(self.status, Status::RequiresPaymentMethod | Status::RequiresConfirmation) {
            return Err(Refusal::WrongStatus(self.status));
        }
        let card = card.or_else(|| self.card.clone()).ok_or(Refusal::NoPaymentMethod)?;
        let mut next = Self { card: Some(card), decline: None, ..self.clone() };
        if let Verdict::Declined(decline) = verdict {
            next.status = Status::RequiresPaymentMethod;
            next.card = None;
            next.decline = Some(decline);
            let change = Change::to(next).telling(Event::PaymentFailed);
            return Ok(Change { declined: Some(decline), ..change });
        }
        next.charge = Some(charge.clone());
        match self.capture {
            CaptureMethod::Manual => {
                next.status = Status::RequiresCapture;
                let authorised = Change::to(next).moving(EntryKind::Authorise, &charge, self.amount);
                Ok(authorised.telling(Event::AmountCapturableUpdated))
            }
            CaptureMethod::Automatic => Ok(next.take(self.amount, verdict, &charge)),
        }
    }

    /// Takes authorised money, all of it unless `amount` says less; the rest of the authorisation lapses.
    /// A declined capture leaves the authorisation standing: the merchant cancels the intent or tries again.
    ///
    /// # Errors
    /// [`Refusal`] when there is nothing authorised or `amount` does not fit into it.
    pub fn capture(&self, amount: Option<i64>, verdict: Verdict) -> Result<Change, Refusal> {
        let (Status::RequiresCapture, Some(charge)) = (self.status, self.charge.clone()) else {
            return Err(Refusal::WrongStatus(self.status));
        };
        let amount = within(amount, self.amount)?;
        if let Verdict::Declined(decline) = verdict {
            let change = Change::to(Self { decline: Some(decline), ..self.clone() });
            return Ok(Change { declined: Some(decline), ..change });
        }
        Ok(self.clone().take(amount, verdict, &charge))
    }

    /// Ends `processing`: the money has moved.
    ///
    /// # Errors
    /// [`Refusal::WrongStatus`] unless the intent is processing.
    pub fn settle(&self) -> Result<Change, Refusal> {
        let (Status::Processing, Some(charge)) = (self.status, self.charge.clone()) else {
            return Err(Refusal::WrongStatus(self.status));
        };
        Ok(self.clone().take(self.taken, Verdict::Approved, &charge))
    }

    /// Gives up the intent and, if money was authorised, lets it go. An accepted cancel is final.
    ///
    /// # Errors
    /// [`Refusal::WrongStatus`] once money has moved or is about to, and for an intent that is cancelled already.
    pub fn cancel(&self, reason: Option<String>, now_ms: i64) -> Result<Change, Refusal> {
        let next = || Self {
            status: Status::Canceled,
            canceled_ms: Some(now_ms),
            cancellation_reason: reason.clone(),
            ..self.clone()
        };
        match (self.status, &self.charge) {
            (Status::RequiresCapture, Some(charge)) => {
                let voided = Change::to(next()).moving(EntryKind::Void, charge, self.amount);
                Ok(voided.telling(Event::Canceled))
            }
            (Status::RequiresPaymentMethod | Status::RequiresConfirmation, _) => {
                Ok(Change::to(next()).telling(Event::Canceled))
            }
            (status, _) => Err(Refusal::WrongStatus(status)),
        }
    }

    /// Gives back `amount`, or all that is left of the charge.
    ///
    /// # Errors
    /// [`Refusal`] before the money was taken, and beyond what was taken.
    pub fn refund(
        &self,
        amount: Option<i64>,
        id: String,
        reason: Option<String>,
        metadata: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<Change, Refusal> {
        let (Status::Succeeded, Some(charge)) = (self.status, self.charge.clone()) else {
            return Err(Refusal::WrongStatus(self.status));
        };
        let left = self.taken - self.refunded;
        if left == 0 {
            return Err(Refusal::AlreadyRefunded);
        }
        let amount = within(amount, left)?;
        let next = Self { refunded: self.refunded + amount, ..self.clone() };
        let mut change = Change::to(next).moving(EntryKind::Refund, &charge, amount).telling(Event::ChargeRefunded);
        if let Some(movement) = &mut change.movement {
            movement.refund = Some(id.clone());
        }
        let (intent, currency) = (self.id.clone(), self.currency);
        change.refund = Some(Refund { id, intent, charge, amount, currency, reason, metadata, created_ms: now_ms });
        Ok(change)
    }

    fn take(mut self, amount: i64, verdict: Verdict, charge: &str) -> Change {
        self.taken = amount;
        self.decline = None;
        if verdict == Verdict::ApprovedLater {
            self.status = Status::Processing;
            return Change::to(self);
        }
        self.status = Status::Succeeded;
        Change::to(self).moving(EntryKind::Capture, charge, amount).telling(Event::Succeeded)
    }
}

fn within(wished: Option<i64>, most: i64) -> Result<i64, Refusal> {
    match wished {
        None => Ok(most),
        Some(amount) if amount < 1 => Err(Refusal::NotPositive),
        Some(amount) if amount > most => Err(Refusal::TooMuch { most }),
        Some(amount) => Ok(amount),
    }
}
