//! Rows as they lie in the file: JSON, so that an operator can read them, converted to the domain's types at the border.
//! A row that does not convert is an inconsistency that names table, row and reason; it is never skipped.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::StoreError;
use crate::domain::{Account, CaptureMethod, Card, Currency, Decline, Entry, EntryKind, Intent, Refund, Status};

/// An intent with its place in the list and the calls whose fault has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub intent: Intent,
    pub sequence: u64,
    pub fired: BTreeSet<String>,
}

/// What a request key was answered. Kept so that the same request gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// SHA-256 of method, path and parameters, in hex.
    pub fingerprint: String,
    pub status: u16,
    pub body: String,
    pub at_ms: i64,
}

/// A webhook that waits to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub event_id: String,
    pub kind: String,
    /// The exact bytes to sign and send.
    pub payload: String,
    /// To the second account's webhook, in its way of signing.
    #[serde(default)]
    pub square: bool,
    /// Tries so far.
    pub tries: u32,
}

#[derive(Serialize, Deserialize)]
struct IntentRow {
    id: String,
    amount: i64,
    currency: String,
    automatic: bool,
    status: String,
    card: Option<String>,
    metadata: BTreeMap<String, String>,
    created_ms: i64,
    taken: i64,
    refunded: i64,
    charge: Option<String>,
    decline: Option<String>,
    canceled_ms: Option<i64>,
    cancellation_reason: Option<String>,
    sequence: u64,
    fired: BTreeSet<String>,
    #[serde(default)]
    square: bool,
}

#[derive(Serialize, Deserialize)]
struct RefundRow {
    id: String,
    intent: String,
    charge: String,
    amount: i64,
    currency: String,
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    created_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct EntryRow {
    sequence: u64,
    kind: String,
    reference: Option<String>,
    intent: String,
    charge: String,
    refund: Option<String>,
    amount: i64,
    currency: String,
    at_ms: i64,
    epoch: Option<u64>,
    #[serde(default)]
    square: bool,
    #[serde(default)]
    attempt: Option<String>,
}

/// A type that has a row.
pub(super) trait Stored: Sized {
    const TABLE: &'static str;
    fn encode(&self) -> Result<Vec<u8>, StoreError>;
    fn decode(key: &str, bytes: &[u8]) -> Result<Self, StoreError>;
}

impl Stored for Record {
    const TABLE: &'static str = "intents";

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let intent = self.intent.clone();
        let row = IntentRow {
            id: intent.id,
            amount: intent.amount,
            currency: intent.currency.code().to_owned(),
            automatic: intent.capture == CaptureMethod::Automatic,
            status: intent.status.code().to_owned(),
            card: intent.card.map(|card| card.as_str().to_owned()),
            metadata: intent.metadata,
            created_ms: intent.created_ms,
            taken: intent.taken,
            refunded: intent.refunded,
            charge: intent.charge,
            decline: intent.decline.map(|decline| decline.code().to_owned()),
            canceled_ms: intent.canceled_ms,
            cancellation_reason: intent.cancellation_reason,
            sequence: self.sequence,
            fired: self.fired.clone(),
            square: intent.account == Account::Square,
        };
        to_bytes(Self::TABLE, &self.intent.id, &row)
    }

    fn decode(key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: IntentRow = from_bytes(Self::TABLE, key, bytes)?;
        let wrong = |problem: &str| inconsistent(Self::TABLE, key, problem);
        let status = Status::ALL.into_iter().find(|status| status.code() == row.status);
        let decline = |code: &String| Decline::ALL.into_iter().find(|decline| decline.code() == code);
        let intent = Intent {
            currency: Currency::parse(&row.currency).ok_or_else(|| wrong("unknown currency"))?,
            status: status.ok_or_else(|| wrong("unknown status"))?,
            card: row.card.as_deref().and_then(Card::parse),
            decline: row.decline.as_ref().and_then(decline),
            capture: if row.automatic { CaptureMethod::Automatic } else { CaptureMethod::Manual },
            account: account(row.square),
            id: row.id,
            amount: row.amount,
            metadata: row.metadata,
            created_ms: row.created_ms,
            taken: row.taken,
            refunded: row.refunded,
            charge: row.charge,
            canceled_ms: row.canceled_ms,
            cancellation_reason: row.cancellation_reason,
        };
        Ok(Self { intent, sequence: row.sequence, fired: row.fired })
    }
}

impl Stored for Refund {
    const TABLE: &'static str = "refunds";

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let refund = self.clone();
        let row = RefundRow {
            id: refund.id,
            intent: refund.intent,
            charge: refund.charge,
            amount: refund.amount,
            currency: refund.currency.code().to_owned(),
            reason: refund.reason,
            metadata: refund.metadata,
            created_ms: refund.created_ms,
        };
        to_bytes(Self::TABLE, &self.id, &row)
    }

    fn decode(key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: RefundRow = from_bytes(Self::TABLE, key, bytes)?;
        let unknown = || inconsistent(Self::TABLE, key, "unknown currency");
        Ok(Self {
            currency: Currency::parse(&row.currency).ok_or_else(unknown)?,
            id: row.id,
            intent: row.intent,
            charge: row.charge,
            amount: row.amount,
            reason: row.reason,
            metadata: row.metadata,
            created_ms: row.created_ms,
        })
    }
}

impl Stored for Entry {
    const TABLE: &'static str = "books";

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let entry = self.clone();
        let row = EntryRow {
            sequence: entry.sequence,
            kind: entry.kind.code().to_owned(),
            reference: entry.reference,
            intent: entry.intent,
            charge: entry.charge,
            refund: entry.refund,
            amount: entry.amount,
            currency: entry.currency.code().to_owned(),
            at_ms: entry.at_ms,
            epoch: entry.epoch,
            square: entry.account == Account::Square,
            attempt: entry.attempt,
        };
        to_bytes(Self::TABLE, &self.sequence.to_string(), &row)
    }

    fn decode(key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: EntryRow = from_bytes(Self::TABLE, key, bytes)?;
        let wrong = |problem: &str| inconsistent(Self::TABLE, key, problem);
        let kind = EntryKind::ALL.into_iter().find(|kind| kind.code() == row.kind);
        Ok(Self {
            kind: kind.ok_or_else(|| wrong("unknown kind"))?,
            currency: Currency::parse(&row.currency).ok_or_else(|| wrong("unknown currency"))?,
            sequence: row.sequence,
            reference: row.reference,
            intent: row.intent,
            charge: row.charge,
            refund: row.refund,
            amount: row.amount,
            at_ms: row.at_ms,
            epoch: row.epoch,
            account: account(row.square),
            attempt: row.attempt,
        })
    }
}

impl Stored for StoredAnswer {
    const TABLE: &'static str = "keys";

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        to_bytes(Self::TABLE, &self.fingerprint, self)
    }

    fn decode(key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        from_bytes(Self::TABLE, key, bytes)
    }
}

impl Stored for Delivery {
    const TABLE: &'static str = "deliveries";

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        to_bytes(Self::TABLE, &self.event_id, self)
    }

    fn decode(key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        from_bytes(Self::TABLE, key, bytes)
    }
}

fn account(square: bool) -> Account {
    if square { Account::Square } else { Account::Intents }
}

fn to_bytes(table: &'static str, key: &str, row: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(row).map_err(|error| inconsistent(table, key, &error.to_string()))
}

fn from_bytes<T: DeserializeOwned>(table: &'static str, key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| inconsistent(table, key, &error.to_string()))
}

fn inconsistent(table: &'static str, key: &str, problem: &str) -> StoreError {
    StoreError::Inconsistent { table, key: key.to_owned(), problem: problem.to_owned() }
}
