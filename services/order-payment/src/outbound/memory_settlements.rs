//! Settled days in memory, for tests of use cases; held to the same behaviour as PostgreSQL by the same suite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use common::{AttemptId, OrderId};

use super::memory::{Books, MemoryStore};
use crate::domain::settlement::SettlementKind;
use crate::domain::{Account, LedgerKind, Transaction};
use crate::usecases::error::{CommitError, StoreError};
use crate::usecases::ports::{Finding, FindingKind};
use crate::usecases::settle_day::{
    Booked, BookedOrphan, ClosedDay, JudgedRow, Outcome, Settled, Settlements, Unsettled,
};

/// What is kept of files and days.
#[derive(Clone, Debug, Default)]
pub struct SettledDays {
    pub days: BTreeMap<(String, NaiveDate), ClosedDay>,
    /// By gateway and the gateway's number.
    pub rows: BTreeMap<(String, i64), JudgedRow>,
}

fn receivable(transaction: &Transaction) -> i64 {
    let entries = transaction.entries.iter().filter(|entry| entry.account == Account::GatewayReceivable);
    entries.map(|entry| entry.amount_minor).sum()
}

fn settled(day: &ClosedDay) -> Settled {
    Settled { day: day.day, closed_at: day.closed_at, checksum: day.checksum.clone(), open: day.open }
}

fn booked(books: &Books, order: OrderId, number: u32) -> Option<Booked> {
    let attempt = books.attempts.values().find(|attempt| (attempt.order, attempt.number) == (order, number))?.clone();
    let moved = books.ledger.iter().find(|transaction| transaction.attempt == Some(attempt.id));
    Some(Booked { booked_minor: moved.map(receivable), attempt })
}

#[async_trait]
impl Settlements for MemoryStore {
    async fn settled_before(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError> {
        let books = self.books();
        let earlier = books.settled.days.iter().filter(|((of, at), _)| of == gateway && *at < day);
        Ok(earlier.map(|(_, day)| settled(day)).max_by_key(|settled| settled.day))
    }

    async fn settled(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError> {
        Ok(self.books().settled.days.get(&(gateway.to_owned(), day)).map(settled))
    }

    async fn booked(&self, wanted: &[(OrderId, u32)]) -> Result<Vec<Booked>, StoreError> {
        let books = self.books();
        Ok(wanted.iter().filter_map(|(order, number)| booked(&books, *order, *number)).collect())
    }

    async fn orphans_booked(&self, gateway: &str, payments: &[String]) -> Result<Vec<BookedOrphan>, StoreError> {
        let books = self.books();
        let booked = |kind, intent: &str| {
            let id = Transaction::orphan_id(kind, intent);
            books.ledger.iter().any(|transaction| transaction.id == id)
                && !books.ledger.iter().any(|transaction| transaction.reverses == Some(id))
        };
        let orphans = payments.iter().filter_map(|payment| books.orphans.get(payment));
        let ours = orphans.filter(|orphan| orphan.attempt.via.name == gateway);
        Ok(ours
            .map(|orphan| BookedOrphan {
                orphan: orphan.clone(),
                taken: booked(LedgerKind::Orphan, &orphan.intent),
                returned: booked(LedgerKind::OrphanRefund, &orphan.intent),
            })
            .collect())
    }

    async fn matched_first(&self, gateway: &str, attempts: &[AttemptId]) -> Result<Vec<(AttemptId, i64)>, StoreError> {
        let books = self.books();
        let mut firsts: BTreeMap<AttemptId, i64> = BTreeMap::new();
        for ((of, sequence), judged) in &books.settled.rows {
            let Some(attempt) = judged.attempt.filter(|attempt| of == gateway && attempts.contains(attempt)) else {
                continue;
            };
            if matches!(judged.outcome, Outcome::Matched | Outcome::Resolved) {
                firsts.entry(attempt).and_modify(|first| *first = (*first).min(*sequence)).or_insert(*sequence);
            }
        }
        Ok(firsts.into_iter().collect())
    }

    async fn orphan_matched_first(
        &self,
        gateway: &str,
        payment: &str,
        kind: SettlementKind,
    ) -> Result<Option<i64>, StoreError> {
        let books = self.books();
        let is_it = |((of, _), judged): &(&(String, i64), &JudgedRow)| {
            of == gateway
                && judged.attempt.is_none()
                && (judged.row.payment.as_str(), judged.row.kind) == (payment, kind)
                && matches!(judged.outcome, Outcome::Matched | Outcome::Resolved)
        };
        Ok(books.settled.rows.iter().filter(is_it).map(|((_, sequence), _)| *sequence).min())
    }

    async fn keep_rows(&self, gateway: &str, _day: NaiveDate, rows: &[JudgedRow]) -> Result<(), CommitError> {
        let mut books = self.books();
        for judged in rows {
            books.settled.rows.insert((gateway.to_owned(), judged.row.sequence), judged.clone());
        }
        Ok(())
    }

    async fn unsettled(
        &self,
        gateway: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Unsettled>, StoreError> {
        let books = self.books();
        let named = |transaction: &Transaction| {
            books.settled.rows.values().any(|judged| judged.attempt.is_some() && judged.attempt == transaction.attempt)
        };
        let ours = |transaction: &&Transaction| {
            let attempt = transaction.attempt.and_then(|attempt| books.attempts.get(&attempt));
            attempt.is_some_and(|attempt| attempt.via.name == gateway)
                && (from..to).contains(&transaction.at)
                && !named(transaction)
        };
        let unsettled = |transaction: &Transaction| {
            Some(Unsettled {
                attempt: transaction.attempt?,
                order: transaction.order?,
                amount_minor: receivable(transaction),
                currency: transaction.currency.code().to_owned(),
            })
        };
        Ok(books.ledger.iter().filter(ours).filter_map(unsettled).take(limit.into()).collect())
    }

    async fn close_day(&self, day: &ClosedDay, found: &[Finding], _now: DateTime<Utc>) -> Result<(), CommitError> {
        let mut books = self.books();
        let of_day = format!("{}/{}/", day.gateway, day.day);
        for ((kind, reference), (_, open)) in &mut books.findings {
            *open = *open && !(*kind == FindingKind::SettlementDiffers && reference.starts_with(&of_day));
        }
        for finding in found {
            books.findings.insert((finding.kind, finding.reference.clone()), (finding.clone(), true));
        }
        books.settled.days.insert((day.gateway.clone(), day.day), day.clone());
        Ok(())
    }
}
