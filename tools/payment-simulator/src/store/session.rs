//! The tables and what may be asked of them: [`Session`] inside the writer's transaction, [`Reading`] on a snapshot.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::StoreError;
use super::rows::{Delivery, Record, Stored, StoredAnswer};
use crate::domain::{Account, Entry, Refund, Status};

type Json = &'static [u8];

const INTENTS: TableDefinition<&str, Json> = TableDefinition::new("intents");
/// Intents in the order of their making: the list is read backwards from here.
const INTENT_ORDER: TableDefinition<u64, &str> = TableDefinition::new("intent_order");
/// `(metadata[order_id], sequence)` to intent: the search by merchant reference.
const REFERENCES: TableDefinition<(&str, u64), &str> = TableDefinition::new("references");
/// `(intent, sequence)` to refund.
const REFUNDS: TableDefinition<(&str, u64), Json> = TableDefinition::new("refunds");
/// Refund to its place in `refunds`.
const REFUND_IDS: TableDefinition<&str, (&str, u64)> = TableDefinition::new("refund_ids");
/// The key that made a payment in one call, to that payment: what a cancel by key looks for.
const PAYMENT_KEYS: TableDefinition<&str, &str> = TableDefinition::new("payment_keys");
/// Days that were closed before midnight, to the last entry that belongs to them and when that was (Unix ms).
const CLOSINGS: TableDefinition<&str, (u64, i64)> = TableDefinition::new("closings");
/// The append-only books. No function in this crate removes or replaces an entry.
const BOOKS: TableDefinition<u64, Json> = TableDefinition::new("books");
const KEYS: TableDefinition<&str, Json> = TableDefinition::new("keys");
/// `(due in Unix ms, number)` to webhook.
const DELIVERIES: TableDefinition<(u64, u64), Json> = TableDefinition::new("deliveries");
/// `(due in Unix ms, number)` to an intent that is processing.
const SETTLEMENTS: TableDefinition<(u64, u64), &str> = TableDefinition::new("settlements");
/// The last number given out, by kind.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

/// Place of a webhook or a settlement in its queue: when it is due (Unix ms) and a number that makes it unique.
pub type DueKey = (u64, u64);

/// The writer's view: everything a job does through it is committed together.
pub struct Session<'t> {
    transaction: &'t WriteTransaction,
}

impl<'t> Session<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
        Self { transaction }
    }

    /// A snapshot cannot open a table that has never been written.
    pub(super) fn create_tables(&self) -> Result<(), StoreError> {
        self.transaction.open_table(INTENTS)?;
        self.transaction.open_table(INTENT_ORDER)?;
        self.transaction.open_table(REFERENCES)?;
        self.transaction.open_table(REFUNDS)?;
        self.transaction.open_table(REFUND_IDS)?;
        self.transaction.open_table(PAYMENT_KEYS)?;
        self.transaction.open_table(CLOSINGS)?;
        self.transaction.open_table(BOOKS)?;
        self.transaction.open_table(KEYS)?;
        self.transaction.open_table(DELIVERIES)?;
        self.transaction.open_table(SETTLEMENTS)?;
        self.transaction.open_table(COUNTERS)?;
        Ok(())
    }

    /// The next number of `kind`, from 1.
    pub fn next(&self, kind: &'static str) -> Result<u64, StoreError> {
        let mut counters = self.transaction.open_table(COUNTERS)?;
        let next = counters.get(kind)?.map_or(0, |last| last.value()) + 1;
        counters.insert(kind, next)?;
        Ok(next)
    }

    pub fn intent(&self, id: &str) -> Result<Option<Record>, StoreError> {
        let intents = self.transaction.open_table(INTENTS)?;
        intents.get(id)?.map(|row| Record::decode(id, row.value())).transpose()
    }

    /// Stores an intent, new or changed; its place in the list and its reference are found under `record.sequence`.
    pub fn put_intent(&self, record: &Record) -> Result<(), StoreError> {
        let id = record.intent.id.as_str();
        self.transaction.open_table(INTENTS)?.insert(id, record.encode()?.as_slice())?;
        self.transaction.open_table(INTENT_ORDER)?.insert(record.sequence, id)?;
        if let Some(reference) = record.intent.reference() {
            self.transaction.open_table(REFERENCES)?.insert((reference, record.sequence), id)?;
        }
        Ok(())
    }

    pub fn put_refund(&self, refund: &Refund) -> Result<(), StoreError> {
        let number = self.next("refund")?;
        let place = (refund.intent.as_str(), number);
        self.transaction.open_table(REFUNDS)?.insert(place, refund.encode()?.as_slice())?;
        self.transaction.open_table(REFUND_IDS)?.insert(refund.id.as_str(), place)?;
        Ok(())
    }

    /// The payment that a call with this key made.
    pub fn payment_of_key(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.transaction.open_table(PAYMENT_KEYS)?.get(key)?.map(|id| id.value().to_owned()))
    }

    pub fn put_payment_key(&self, key: &str, intent: &str) -> Result<(), StoreError> {
        self.transaction.open_table(PAYMENT_KEYS)?.insert(key, intent)?;
        Ok(())
    }

    /// Closes a day now, once: what comes later belongs to the next one. Returns the last entry and when it was closed.
    pub fn close_day(&self, day: &str, now_ms: i64) -> Result<(u64, i64), StoreError> {
        let mut closings = self.transaction.open_table(CLOSINGS)?;
        if let Some(closed) = closings.get(day)?.map(|row| row.value()) {
            return Ok(closed);
        }
        let last = self.transaction.open_table(BOOKS)?.last()?.map_or(0, |(last, _)| last.value());
        closings.insert(day, (last, now_ms))?;
        Ok((last, now_ms))
    }

    /// Writes the next entry of the books; its sequence is the one after the last entry.
    pub fn append(&self, mut entry: Entry) -> Result<(), StoreError> {
        let mut books = self.transaction.open_table(BOOKS)?;
        entry.sequence = books.last()?.map_or(0, |(last, _)| last.value()) + 1;
        books.insert(entry.sequence, entry.encode()?.as_slice())?;
        Ok(())
    }

    pub fn answer(&self, key: &str) -> Result<Option<StoredAnswer>, StoreError> {
        let keys = self.transaction.open_table(KEYS)?;
        keys.get(key)?.map(|row| StoredAnswer::decode(key, row.value())).transpose()
    }

    pub fn put_answer(&self, key: &str, answer: &StoredAnswer) -> Result<(), StoreError> {
        self.transaction.open_table(KEYS)?.insert(key, answer.encode()?.as_slice())?;
        Ok(())
    }

    /// Forgets the answers given before `before_ms`; returns how many.
    pub fn forget_answers(&self, before_ms: i64) -> Result<u64, StoreError> {
        let mut keys = self.transaction.open_table(KEYS)?;
        let had = keys.len()?;
        // A row that does not convert is kept: whoever asks for it gets the inconsistency reported.
        keys.retain(|key, row| StoredAnswer::decode(key, row).map_or(true, |answer| answer.at_ms >= before_ms))?;
        Ok(had - keys.len()?)
    }

    pub fn put_delivery(&self, due_ms: i64, delivery: &Delivery) -> Result<DueKey, StoreError> {
        let key = (due_ms.unsigned_abs(), self.next("delivery")?);
        self.transaction.open_table(DELIVERIES)?.insert(key, delivery.encode()?.as_slice())?;
        Ok(key)
    }

    /// `false` when the delivery was not waiting any more.
    pub fn remove_delivery(&self, key: DueKey) -> Result<bool, StoreError> {
        Ok(self.transaction.open_table(DELIVERIES)?.remove(key)?.is_some())
    }

    pub fn put_settlement(&self, due_ms: i64, intent: &str) -> Result<(), StoreError> {
        let key = (due_ms.unsigned_abs(), self.next("settlement")?);
        self.transaction.open_table(SETTLEMENTS)?.insert(key, intent)?;
        Ok(())
    }

    /// `false` when the settlement was not waiting any more.
    pub fn remove_settlement(&self, key: DueKey) -> Result<bool, StoreError> {
        Ok(self.transaction.open_table(SETTLEMENTS)?.remove(key)?.is_some())
    }
}

/// A view of the last committed state.
pub struct Reading {
    snapshot: ReadTransaction,
}

impl Reading {
    pub(super) fn new(snapshot: ReadTransaction) -> Self {
        Self { snapshot }
    }

    pub fn intent(&self, id: &str) -> Result<Option<Record>, StoreError> {
        let intents = self.snapshot.open_table(INTENTS)?;
        intents.get(id)?.map(|row| Record::decode(id, row.value())).transpose()
    }

    /// Intents of one account older than `before` (a sequence) made in `from..=to` (Unix seconds), newest first; at most `most`.
    pub fn intents(
        &self,
        account: Account,
        before: u64,
        from: i64,
        to: i64,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let mut found = Vec::new();
        for row in self.snapshot.open_table(INTENT_ORDER)?.range(..before)?.rev() {
            let (_, id) = row?;
            let record = self.listed(id.value())?;
            let created = record.intent.created_ms.div_euclid(1000);
            // The list is in the order of making, so nothing older can be wanted.
            if created < from || found.len() >= most {
                break;
            }
            // One that was stopped before it came about is nobody's payment yet.
            let shown = account == Account::Intents || record.intent.status != Status::RequiresConfirmation;
            if created <= to && record.intent.account == account && shown {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// Intents with this merchant reference, newest first, older than `before`; at most `most`.
    pub fn search(&self, reference: &str, before: u64, most: usize) -> Result<Vec<Record>, StoreError> {
        let references = self.snapshot.open_table(REFERENCES)?;
        let rows = references.range((reference, 0)..(reference, before))?;
        let mut found = Vec::new();
        for row in rows.rev().take(most) {
            let record = self.listed(row?.1.value())?;
            // An update may have changed the reference; the old one must not find the intent any more.
            if record.intent.reference() == Some(reference) && record.intent.account == Account::Intents {
                found.push(record);
            }
        }
        Ok(found)
    }

    pub fn refunds(&self, intent: &str) -> Result<Vec<Refund>, StoreError> {
        let refunds = self.snapshot.open_table(REFUNDS)?;
        let rows = refunds.range((intent, 0)..(intent, u64::MAX))?;
        rows.map(|row| Refund::decode(intent, row?.1.value())).collect()
    }

    pub fn refund(&self, id: &str) -> Result<Option<Refund>, StoreError> {
        let places = self.snapshot.open_table(REFUND_IDS)?;
        let Some(place) = places.get(id)? else { return Ok(None) };
        let refunds = self.snapshot.open_table(REFUNDS)?;
        refunds.get(place.value())?.map(|row| Refund::decode(id, row.value())).transpose()
    }

    /// Shows every entry after `after` and up to `last`, in order, to `see`.
    pub fn each_entry(&self, after: u64, last: u64, mut see: impl FnMut(Entry)) -> Result<(), StoreError> {
        let books = self.snapshot.open_table(BOOKS)?;
        if after >= last {
            return Ok(());
        }
        for row in books.range(after.saturating_add(1)..=last)? {
            let (sequence, row) = row?;
            see(Entry::decode(&sequence.value().to_string(), row.value())?);
        }
        Ok(())
    }

    /// The last entry made before `at_ms`; 0 when there is none. Entries are in the order of their time.
    pub fn last_entry_before(&self, at_ms: i64) -> Result<u64, StoreError> {
        let books = self.snapshot.open_table(BOOKS)?;
        let (mut low, mut high) = (0, books.last()?.map_or(0, |(last, _)| last.value()));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let entry = books.get(middle)?.map(|row| Entry::decode(&middle.to_string(), row.value())).transpose()?;
            if entry.is_some_and(|entry| entry.at_ms < at_ms) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// The last entry of a day that was closed before midnight, and when that was.
    pub fn closing(&self, day: &str) -> Result<Option<(u64, i64)>, StoreError> {
        Ok(self.snapshot.open_table(CLOSINGS)?.get(day)?.map(|row| row.value()))
    }

    /// The books after entry `after`, in order; at most `most`.
    pub fn books(&self, after: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        let books = self.snapshot.open_table(BOOKS)?;
        let rows = books.range(after.saturating_add(1)..)?.take(most);
        rows.map(|row| {
            let (sequence, row) = row?;
            Entry::decode(&sequence.value().to_string(), row.value())
        })
        .collect()
    }

    /// Webhooks in the order they are due, at most `most`.
    pub fn deliveries(&self, most: usize) -> Result<Vec<(DueKey, Delivery)>, StoreError> {
        let deliveries = self.snapshot.open_table(DELIVERIES)?;
        let rows = deliveries.iter()?.take(most);
        rows.map(|row| {
            let (key, row) = row?;
            Ok((key.value(), Delivery::decode(&format!("{:?}", key.value()), row.value())?))
        })
        .collect()
    }

    pub fn delivery(&self, key: DueKey) -> Result<Option<Delivery>, StoreError> {
        let deliveries = self.snapshot.open_table(DELIVERIES)?;
        deliveries.get(key)?.map(|row| Delivery::decode(&format!("{key:?}"), row.value())).transpose()
    }

    /// How many webhooks wait.
    pub fn deliveries_waiting(&self) -> Result<u64, StoreError> {
        Ok(self.snapshot.open_table(DELIVERIES)?.len()?)
    }

    /// Settlements in the order they are due, at most `most`.
    pub fn settlements(&self, most: usize) -> Result<Vec<(DueKey, String)>, StoreError> {
        let settlements = self.snapshot.open_table(SETTLEMENTS)?;
        let rows = settlements.iter()?.take(most);
        rows.map(|row| {
            let (key, intent) = row?;
            Ok((key.value(), intent.value().to_owned()))
        })
        .collect()
    }

    fn listed(&self, id: &str) -> Result<Record, StoreError> {
        let missing = || StoreError::Inconsistent {
            table: "intent_order",
            key: id.to_owned(),
            problem: "names an intent that does not exist".to_owned(),
        };
        self.intent(id)?.ok_or_else(missing)
    }
}
