//! A count of the shelves that says something else than the books. Decided here: what a correction may say. It has a reference of
//! its sender's choice like a receipt, the reason in words, and changes of what is for sale; it is booked whole or not at all.
//!
//! Only what is for sale can be taken off: units that are held or sold belong to somebody, and what becomes of them is the order's
//! affair. What is found goes to those who wait first, as what comes in does.

use common::Sku;

use super::centre::Centre;
use super::receipt::{Receipt, ReceiptReference};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCorrection {
    #[error("a correction has 1 to {} lines", Receipt::MAX_LINES)]
    Count,
    #[error("a change is not 0 and at most {} units either way", Receipt::MAX_QUANTITY)]
    Change { index: usize },
    #[error("a SKU stands on one line only")]
    Duplicate { index: usize },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrectionLine {
    pub sku: Sku,
    /// Units found, or missed when below zero.
    pub change: i64,
}

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Found(u32),
    Lost(u32),
}

impl CorrectionLine {
    /// What was checked to fit by [`Correction::new`] fits; anything else changes nothing.
    pub fn step(&self) -> Change {
        let units = u32::try_from(self.change.unsigned_abs()).unwrap_or(0);
        if self.change > 0 { Change::Found(units) } else { Change::Lost(units) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    reference: ReceiptReference,
    centre: Centre,
    reason: String,
    /// In SKU order, in which rows are locked.
    lines: Vec<CorrectionLine>,
}

impl Correction {
    /// `reason` was checked by whoever read it.
    ///
    /// # Errors
    /// [`InvalidCorrection`] names the first line at fault by its index in `lines`.
    pub fn new(
        reference: ReceiptReference,
        centre: Centre,
        reason: String,
        mut lines: Vec<CorrectionLine>,
    ) -> Result<Self, InvalidCorrection> {
        if lines.is_empty() || lines.len() > Receipt::MAX_LINES {
            return Err(InvalidCorrection::Count);
        }
        let mut seen = std::collections::HashSet::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            if line.change == 0 || line.change.unsigned_abs() > u64::from(Receipt::MAX_QUANTITY) {
                return Err(InvalidCorrection::Change { index });
            }
            if !seen.insert(&line.sku) {
                return Err(InvalidCorrection::Duplicate { index });
            }
        }
        lines.sort_by(|one, other| one.sku.cmp(&other.sku));
        Ok(Self { reference, centre, reason, lines })
    }

    pub fn reference(&self) -> &ReceiptReference {
        &self.reference
    }

    pub fn centre(&self) -> &Centre {
        &self.centre
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn lines(&self) -> &[CorrectionLine] {
        &self.lines
    }

    /// Units found and units missed.
    pub fn units(&self) -> (u64, u64) {
        let sum = |sign: fn(i64) -> bool| {
            self.lines.iter().filter(|line| sign(line.change)).map(|line| line.change.unsigned_abs()).sum()
        };
        (sum(|change| change > 0), sum(|change| change < 0))
    }

    /// As one text, the same for every order of the lines: what a repeated reference is compared by. No receipt's text begins so.
    pub fn canonical(&self) -> String {
        let lines = self.lines.iter().map(|line| format!("{} {:+}\n", line.sku, line.change));
        format!("correction {}\n{}\n{}", self.centre, self.reason, lines.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, change: i64) -> CorrectionLine {
        CorrectionLine { sku: Sku::parse(sku).unwrap(), change }
    }

    fn correction(lines: Vec<CorrectionLine>) -> Result<Correction, InvalidCorrection> {
        let reference = ReceiptReference::parse("count-1").unwrap();
        Correction::new(reference, Centre::parse("near").unwrap(), "counted".to_owned(), lines)
    }

    #[test]
    fn a_correction_changes_something_and_each_sku_once() {
        let most = i64::from(Receipt::MAX_QUANTITY);
        let table = [
            (vec![], InvalidCorrection::Count),
            ((0..501).map(|number| line(&format!("A{number}"), 1)).collect(), InvalidCorrection::Count),
            (vec![line("A", 1), line("B", 0)], InvalidCorrection::Change { index: 1 }),
            (vec![line("A", most + 1)], InvalidCorrection::Change { index: 0 }),
            (vec![line("A", i64::MIN)], InvalidCorrection::Change { index: 0 }),
            (vec![line("A", 1), line("A", -1)], InvalidCorrection::Duplicate { index: 1 }),
        ];
        for (lines, expected) in table {
            assert_eq!(correction(lines), Err(expected));
        }
        let good = correction(vec![line("B", -2), line("A", most)]).unwrap();
        assert_eq!(good, correction(vec![line("A", most), line("B", -2)]).unwrap());
        assert_eq!(good.units(), (10_000_000, 2));
        assert_eq!(good.canonical(), "correction near\ncounted\nA +10000000\nB -2\n");
        assert_eq!(good.lines()[1].step(), Change::Lost(2));
    }
}
