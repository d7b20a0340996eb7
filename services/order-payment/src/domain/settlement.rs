//! The settlement file of a day as text, and as what it says. A file that does not add up to its own totals and checksum is no
//! file: nothing of it is believed.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest as _, Sha256};

/// A day that the gateway has closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementFile {
    pub day: NaiveDate,
    pub closed_at: DateTime<Utc>,
    pub rows: Vec<SettlementRow>,
    /// By currency.
    pub totals: BTreeMap<String, SettlementTotal>,
    pub checksum: String,
}

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementRow {
    /// The gateway's number of it.
    pub sequence: i64,
    pub kind: SettlementKind,
    /// Our order, as we told the gateway.
    pub reference: String,
    pub attempt: Option<u32>,
    pub payment: String,
    pub amount_minor: i64,
    /// Upper-case ISO 4217.
    pub currency: String,
    pub moved_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettlementKind {
    Capture,
    Refund,
}

impl SettlementKind {
    pub fn code(self) -> &'static str {
        match self {
            Self::Capture => "CAPTURE",
            Self::Refund => "REFUND",
        }
    }

    /// What `amount` does to what the gateway owes us.
    pub fn signed(self, amount_minor: i64) -> i64 {
        match self {
            Self::Capture => amount_minor,
            Self::Refund => -amount_minor,
        }
    }
}

/// Minor units of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettlementTotal {
    pub captured: i64,
    pub refunded: i64,
    pub rows: u64,
}

impl SettlementTotal {
    pub fn net(&self) -> i64 {
        self.captured - self.refunded
    }

    fn add(&mut self, row: &SettlementRow) {
        self.rows += 1;
        match row.kind {
            SettlementKind::Capture => self.captured += row.amount_minor,
            SettlementKind::Refund => self.refunded += row.amount_minor,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementFileError {
    #[error("it is not text")]
    NotText,
    #[error("its last line is no checksum")]
    NoChecksum,
    #[error("its checksum is that of another text")]
    WrongChecksum,
    #[error("line {0} cannot be read")]
    Line(usize),
    #[error("it has no first line of version 1")]
    NoHead,
    #[error("its totals are not the sums of its rows")]
    WrongTotals,
    #[error("it has two movements with the number {0}")]
    Twice(i64),
}

/// Reads the whole file.
///
/// # Errors
/// The first thing in it that cannot be believed.
pub fn parse(bytes: &[u8]) -> Result<SettlementFile, SettlementFileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SettlementFileError::NotText)?;
    let (body, last) = text.trim_end_matches('\n').rsplit_once('\n').ok_or(SettlementFileError::NoChecksum)?;
    let claimed = last.strip_prefix("checksum,sha256,").ok_or(SettlementFileError::NoChecksum)?;
    let checksum = hex::encode(Sha256::digest(format!("{body}\n")));
    if claimed != checksum {
        return Err(SettlementFileError::WrongChecksum);
    }
    let mut head = None;
    let (mut rows, mut totals, mut sums) = (Vec::new(), BTreeMap::new(), BTreeMap::<String, SettlementTotal>::new());
    let mut last_sequence = 0;
    for (number, record) in records(body).into_iter().enumerate() {
        let unreadable = || SettlementFileError::Line(number + 1);
        let fields: Vec<&str> = record.iter().map(String::as_str).collect();
        match fields.as_slice() {
            ["file", "1", _, day, closed_at] if number == 0 => {
                head = Some((day.parse().map_err(|_| unreadable())?, time(closed_at).ok_or_else(unreadable)?));
            }
            ["row", fields @ ..] => {
                let row = row(fields).ok_or_else(unreadable)?;
                // In the order of their numbers, as they were made; so none can be there twice.
                if row.sequence <= last_sequence {
                    return Err(SettlementFileError::Twice(row.sequence));
                }
                last_sequence = row.sequence;
                sums.entry(row.currency.clone()).or_default().add(&row);
                rows.push(row);
            }
            ["total", currency, captured, refunded, net, count] => {
                let number = |text: &str| text.parse::<i64>().map_err(|_| unreadable());
                let total = SettlementTotal {
                    captured: number(captured)?,
                    refunded: number(refunded)?,
                    rows: count.parse().map_err(|_| unreadable())?,
                };
                if total.net() != number(net)? {
                    return Err(SettlementFileError::WrongTotals);
                }
                totals.insert((*currency).to_owned(), total);
            }
            _ => return Err(unreadable()),
        }
    }
    let (day, closed_at) = head.ok_or(SettlementFileError::NoHead)?;
    if totals != sums {
        return Err(SettlementFileError::WrongTotals);
    }
    Ok(SettlementFile { day, closed_at, rows, totals, checksum })
}

fn row(fields: &[&str]) -> Option<SettlementRow> {
    let [sequence, kind, reference, attempt, payment, _charge, _refund, amount, currency, moved_at] = fields else {
        return None;
    };
    let known_currency = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
    Some(SettlementRow {
        sequence: sequence.parse().ok().filter(|sequence| *sequence > 0)?,
        kind: match *kind {
            "capture" => SettlementKind::Capture,
            "refund" => SettlementKind::Refund,
            _ => return None,
        },
        reference: (*reference).to_owned(),
        attempt: attempt.parse().ok(),
        payment: (*payment).to_owned(),
        amount_minor: amount.parse().ok().filter(|amount| *amount > 0)?,
        currency: known_currency.then(|| (*currency).to_owned())?,
        moved_at: time(moved_at)?,
    })
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

/// The records of a CSV text: a field in quotes may hold commas, line ends and doubled quotes.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            letter => field.push(letter),
        }
    }
    record.push(field);
    records.push(record);
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "file,1,intents,2026-11-25,2026-11-26T00:00:00.000Z\n\
        row,3,capture,o-1,1,pi_1,ch_1,,4990,EUR,2026-11-25T10:00:00.000Z\n\
        row,5,capture,\"o,\"\"2\",,pi_2,ch_2,,100,EUR,2026-11-25T11:00:00.000Z\n\
        row,9,refund,o-1,2,pi_1,ch_1,re_1,990,EUR,2026-11-25T12:00:00.000Z\n\
        total,EUR,5090,990,4100,3\n";

    fn sealed(body: &str) -> String {
        format!("{body}checksum,sha256,{}\n", hex::encode(Sha256::digest(body)))
    }

    #[test]
    fn a_file_is_read_whole() {
        let file = parse(sealed(BODY).as_bytes()).unwrap();
        assert_eq!((file.day.to_string().as_str(), file.rows.len(), file.totals["EUR"].net()), ("2026-11-25", 3, 4100));
        assert_eq!((file.rows[1].reference.as_str(), file.rows[1].attempt), ("o,\"2", None));
        let refund = &file.rows[2];
        assert_eq!((refund.kind, refund.attempt, refund.amount_minor), (SettlementKind::Refund, Some(2), 990));
        let empty = "file,1,intents,2026-11-25,2026-11-26T00:00:00Z\n";
        assert!(parse(sealed(empty).as_bytes()).unwrap().rows.is_empty(), "a day without movements is a day");
    }

    #[test]
    fn a_file_that_does_not_add_up_is_not_believed() {
        use SettlementFileError::{Line, NoChecksum, NoHead, NotText, Twice, WrongChecksum, WrongTotals};
        assert_eq!(parse(sealed(BODY).replace("4990", "4991").as_bytes()), Err(WrongChecksum));
        assert_eq!(parse(BODY.as_bytes()), Err(NoChecksum));
        assert_eq!(parse(b""), Err(NoChecksum));
        assert_eq!(parse(&[0xff]), Err(NotText));
        for (from, to, expected) in [
            ("total,EUR,5090,990,4100,3", "total,EUR,5090,990,4101,3", WrongTotals),
            ("total,EUR,5090,990,4100,3", "total,EUR,5091,991,4100,3", WrongTotals),
            ("total,EUR,5090,990,4100,3\n", "", WrongTotals),
            ("row,9,", "row,5,", Twice(5)),
            ("file,1", "file,2", Line(1)),
            ("file,1,intents,2026-11-25,2026-11-26T00:00:00.000Z\n", "", NoHead),
            ("4990,EUR", "-4990,EUR", Line(2)),
            ("4990,EUR", "49.90,EUR", Line(2)),
            ("4990,EUR", "4990,eur", Line(2)),
            ("row,3,capture", "row,3,chargeback", Line(2)),
            ("o-1,1,pi_1", "o-1,pi_1", Line(2)),
        ] {
            assert_eq!(parse(sealed(&BODY.replacen(from, to, 1)).as_bytes()), Err(expected), "{from} → {to}");
        }
    }
}
