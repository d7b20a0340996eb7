//! Goods coming in. Decided here: what a receipt may say. A receipt has a reference of its sender's choice, and the same
//! reference never counts twice.

use std::fmt;

use common::Sku;

use super::centre::Centre;
use super::inventory::SupplyKind;

/// The sender's name of a receipt: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptReference(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceipt {
    #[error("a reference has 1 to 64 letters, digits, dots, underscores or hyphens")]
    Reference,
    #[error("a receipt has 1 to {} lines", Receipt::MAX_LINES)]
    Count,
    #[error("a receipt brings at most {} units of a SKU", Receipt::MAX_QUANTITY)]
    Quantity { index: usize },
    #[error("what is made to order or unlimited is not counted: its quantity is 0")]
    NotCounted { index: usize },
    #[error("a SKU stands on one line only")]
    Duplicate { index: usize },
}

impl ReceiptReference {
    /// # Errors
    /// [`InvalidReceipt::Reference`]
    pub fn parse(text: &str) -> Result<Self, InvalidReceipt> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidReceipt::Reference)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReceiptReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptLine {
    pub sku: Sku,
    pub kind: SupplyKind,
    pub quantity: u32,
}

/// What came in together, into one centre; counted whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    reference: ReceiptReference,
    centre: Centre,
    /// In SKU order, like the lines of orders, so that neither waits for the other in a circle.
    lines: Vec<ReceiptLine>,
}

impl Receipt {
    /// One commit locks that many rows; more belongs into a second receipt.
    pub const MAX_LINES: usize = 500;
    pub const MAX_QUANTITY: u32 = 10_000_000;

    /// # Errors
    /// [`InvalidReceipt`] names the first line at fault by its index in `lines`.
    pub fn new(
        reference: ReceiptReference,
        centre: Centre,
        mut lines: Vec<ReceiptLine>,
    ) -> Result<Self, InvalidReceipt> {
        if lines.is_empty() || lines.len() > Self::MAX_LINES {
            return Err(InvalidReceipt::Count);
        }
        let mut seen = std::collections::HashSet::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            if line.quantity > Self::MAX_QUANTITY {
                return Err(InvalidReceipt::Quantity { index });
            }
            if !line.kind.is_counted() && line.quantity > 0 {
                return Err(InvalidReceipt::NotCounted { index });
            }
            if !seen.insert(&line.sku) {
                return Err(InvalidReceipt::Duplicate { index });
            }
        }
        lines.sort_by(|a, b| a.sku.cmp(&b.sku));
        Ok(Self { reference, centre, lines })
    }

    pub fn reference(&self) -> &ReceiptReference {
        &self.reference
    }

    pub fn centre(&self) -> &Centre {
        &self.centre
    }

    pub fn lines(&self) -> &[ReceiptLine] {
        &self.lines
    }

    pub fn units(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity)).sum()
    }

    /// The lines as one text, the same for every order in which they may have been sent. What a repeated reference is
    /// compared by. The centre `home` is not named: a receipt means the same whether it says so or not.
    pub fn canonical_lines(&self, home: &Centre) -> String {
        let centre = if self.centre == *home { String::new() } else { format!("{}\n", self.centre) };
        centre
            + &self
                .lines
                .iter()
                .map(|line| format!("{} {} {}\n", line.sku, line.kind.code(), line.quantity))
                .collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, kind: SupplyKind, quantity: u32) -> ReceiptLine {
        ReceiptLine { sku: Sku::parse(sku).unwrap(), kind, quantity }
    }

    fn receipt(lines: Vec<ReceiptLine>) -> Result<Receipt, InvalidReceipt> {
        Receipt::new(ReceiptReference::parse("r-1").unwrap(), Centre::parse("near").unwrap(), lines)
    }

    #[test]
    fn the_line_at_fault_is_named() {
        use SupplyKind::{Counted, MadeToOrder, Unlimited};
        let table = [
            (vec![], InvalidReceipt::Count),
            ((0..501).map(|n| line(&format!("S{n}"), Counted, 1)).collect(), InvalidReceipt::Count),
            (
                vec![line("A", Counted, 0), line("B", Counted, Receipt::MAX_QUANTITY + 1)],
                InvalidReceipt::Quantity { index: 1 },
            ),
            (vec![line("A", Unlimited, 1)], InvalidReceipt::NotCounted { index: 0 }),
            (vec![line("A", MadeToOrder, 0), line("B", MadeToOrder, 2)], InvalidReceipt::NotCounted { index: 1 }),
            (vec![line("A", Counted, 1), line("A", Counted, 1)], InvalidReceipt::Duplicate { index: 1 }),
        ];
        for (lines, expected) in table {
            assert_eq!(receipt(lines), Err(expected));
        }
    }

    #[test]
    fn the_order_of_the_lines_does_not_make_another_receipt() {
        let (a, b) = (line("A", SupplyKind::Counted, 1), line("B", SupplyKind::Serialised, 2));
        let one = receipt(vec![a.clone(), b.clone()]).unwrap();
        let other = receipt(vec![b, a]).unwrap();
        assert_eq!(one, other);
        let (near, far) = (Centre::parse("near").unwrap(), Centre::parse("far").unwrap());
        assert_eq!(one.canonical_lines(&near), "A counted 1\nB serialised 2\n");
        assert_eq!(one.canonical_lines(&far), "near\nA counted 1\nB serialised 2\n");
        assert_eq!(one.units(), 3);
    }

    #[test]
    fn hostile_texts_are_not_references() {
        for text in ["", "a b", "a/b", "ä", "'; --", &"x".repeat(65)] {
            assert_eq!(ReceiptReference::parse(text), Err(InvalidReceipt::Reference), "{text:?}");
        }
    }
}
