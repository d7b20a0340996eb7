//! The settlement file of a day: every capture and refund that belongs to it, totals per currency, and a checksum, as gateways
//! hand them out after closing. Made from the books and from nothing else.
//!
//! A day ends at midnight UTC, or earlier when an operator closes it; what comes later on that day belongs to the next one.
//! A day that is still open has no file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};

use crate::domain::{Account, Entry, EntryKind};
use crate::store::{Reading, StoreError};

/// The file, or `None` while the day is open.
pub fn file(reading: &Reading, account: Account, day: NaiveDate, now_ms: i64) -> Result<Option<String>, StoreError> {
    let Some((last, closed_ms)) = end(reading, day, now_ms)? else { return Ok(None) };
    let first = match day.checked_sub_days(Days::new(1)) {
        // The day before may have been closed early, or may be long ago.
        Some(before) => match reading.closing(&before.to_string())? {
            Some((last, _)) => last,
            None => reading.last_entry_before(midnight_ms(day))?,
        },
        None => 0,
    };
    let mut file = Writing::new(account, day, closed_ms);
    reading.each_entry(first, last, |entry| file.add(&entry))?;
    Ok(Some(file.finish()))
}

/// The last entry of a day that is closed, and when it was closed.
fn end(reading: &Reading, day: NaiveDate, now_ms: i64) -> Result<Option<(u64, i64)>, StoreError> {
    if let Some(closing) = reading.closing(&day.to_string())? {
        return Ok(Some(closing));
    }
    let Some(next) = day.checked_add_days(Days::new(1)) else { return Ok(None) };
    let ends_ms = midnight_ms(next);
    if ends_ms > now_ms {
        return Ok(None);
    }
    Ok(Some((reading.last_entry_before(ends_ms)?, ends_ms)))
}

fn midnight_ms(day: NaiveDate) -> i64 {
    day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()
}

/// Amounts of one currency, minor units.
#[derive(Default)]
struct Sums {
    captured: i64,
    refunded: i64,
    rows: u64,
}

struct Writing {
    account: Account,
    text: String,
    sums: BTreeMap<&'static str, Sums>,
}

impl Writing {
    fn new(account: Account, day: NaiveDate, closed_ms: i64) -> Self {
        let text = format!("file,1,{},{day},{}\n", account.code(), rfc3339(closed_ms));
        Self { account, text, sums: BTreeMap::new() }
    }

    fn add(&mut self, entry: &Entry) {
        let sums = match entry.kind {
            EntryKind::Capture | EntryKind::Refund if entry.account == self.account => {
                self.sums.entry(entry.currency.code()).or_default()
            }
            _ => return,
        };
        sums.rows += 1;
        match entry.kind {
            EntryKind::Refund => sums.refunded += entry.amount,
            _ => sums.captured += entry.amount,
        }
        let optional = |text: &Option<String>| text.as_deref().map(quoted).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = writeln!(
            self.text,
            "row,{},{},{},{},{},{},{},{},{},{}",
            entry.sequence,
            entry.kind.code(),
            optional(&entry.reference),
            optional(&entry.attempt),
            quoted(&entry.intent),
            quoted(&entry.charge),
            optional(&entry.refund),
            entry.amount,
            entry.currency.code().to_ascii_uppercase(),
            rfc3339(entry.at_ms),
        );
    }

    fn finish(mut self) -> String {
        for (currency, sums) in &self.sums {
            let (captured, refunded) = (sums.captured, sums.refunded);
            let _ = writeln!(
                self.text,
                "total,{},{captured},{refunded},{},{}",
                currency.to_ascii_uppercase(),
                captured - refunded,
                sums.rows
            );
        }
        let sum = hex::encode(Sha256::digest(&self.text));
        let _ = writeln!(self.text, "checksum,sha256,{sum}");
        self.text
    }
}

fn rfc3339(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// As CSV has it: a text with a comma, a quote or a line end stands in quotes.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
