//! The lines of an order or a quote: which SKUs, how many of each. Decided here: each SKU once, at least one and at most a
//! hundred lines, and that they are always walked in the order of their SKUs, so that two orders never wait for each other
//! in a circle.

use common::Sku;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub sku: Sku,
    pub quantity: u32,
}

/// Lines in SKU order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Lines(Vec<Line>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLines {
    #[error("an order has 1 to {} lines", Lines::MAX)]
    Count,
    #[error("a quantity is between 1 and {}", Lines::MAX_QUANTITY)]
    Quantity { index: usize },
    #[error("a SKU stands on one line only")]
    Duplicate { index: usize },
}

impl Lines {
    /// More would make one commit hold too many rows at once.
    pub const MAX: usize = 100;
    /// More than any basket, and small enough that a thousand such lines stay far from the limits of a stock row.
    pub const MAX_QUANTITY: u32 = 1_000_000;

    /// # Errors
    /// [`InvalidLines`] names the first line at fault by its index in `lines`.
    pub fn new(lines: Vec<Line>) -> Result<Self, InvalidLines> {
        if lines.is_empty() || lines.len() > Self::MAX {
            return Err(InvalidLines::Count);
        }
        if let Some(index) = lines.iter().position(|line| !(1..=Self::MAX_QUANTITY).contains(&line.quantity)) {
            return Err(InvalidLines::Quantity { index });
        }
        let repeated = |index: usize| lines[..index].iter().any(|earlier| earlier.sku == lines[index].sku);
        if let Some(index) = (0..lines.len()).find(|index| repeated(*index)) {
            return Err(InvalidLines::Duplicate { index });
        }
        let mut lines = lines;
        lines.sort_by(|a, b| a.sku.cmp(&b.sku));
        Ok(Self(lines))
    }

    /// The lines of an order whose lines nobody ever told us.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Line> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn skus(&self) -> Vec<Sku> {
        self.iter().map(|line| line.sku.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, quantity: u32) -> Line {
        Line { sku: Sku::parse(sku).unwrap(), quantity }
    }

    #[test]
    fn the_line_at_fault_is_named() {
        let many = |count: usize| (0..count).map(|n| line(&format!("S{n}"), 1)).collect::<Vec<_>>();
        let table = [
            (vec![], Err(InvalidLines::Count)),
            (many(101), Err(InvalidLines::Count)),
            (many(100), Ok(100)),
            (vec![line("A", 1), line("B", 0)], Err(InvalidLines::Quantity { index: 1 })),
            (vec![line("A", Lines::MAX_QUANTITY + 1)], Err(InvalidLines::Quantity { index: 0 })),
            (vec![line("A", 1), line("B", 1), line("A", 2)], Err(InvalidLines::Duplicate { index: 2 })),
        ];
        for (lines, expected) in table {
            assert_eq!(Lines::new(lines).map(|lines| lines.len()), expected);
        }
    }

    #[test]
    fn lines_are_walked_in_sku_order_whatever_order_they_came_in() {
        let one = Lines::new(vec![line("B", 2), line("a", 3), line("A", 1)]).unwrap();
        let other = Lines::new(vec![line("A", 1), line("B", 2), line("a", 3)]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.skus().iter().map(Sku::as_str).collect::<Vec<_>>(), ["A", "B", "a"]);
    }
}
