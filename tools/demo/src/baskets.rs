//! What people put into their baskets: real ones from the Online Retail dataset, or invented ones of the same shape.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::generate::spread;

pub const FILE: &str = "online_retail/dev.csv.gz";

/// Lines of one order that the shop takes; longer invoices are cut.
pub const MAX_LINES: usize = 50;

/// Units of one line: the dataset is a wholesaler's, with thousands of a piece. At our prices a household orders a few.
pub const MAX_UNITS: u32 = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basket {
    /// The invoice it was.
    pub name: String,
    /// Stock code of the dataset and units, each code once.
    pub lines: Vec<(String, u32)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    invoice_no: String,
    stock_code: String,
    quantity: i64,
    unit_price: f64,
}

/// The first `count` baskets of the file, in its order. Cancellations, returns and gifts are left out.
///
/// # Errors
/// The file cannot be read.
pub fn from_file(file: &Path, count: usize) -> anyhow::Result<Vec<Basket>> {
    let reader = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    read(MultiGzDecoder::new(reader), count)
}

fn read(source: impl Read, count: usize) -> anyhow::Result<Vec<Basket>> {
    let mut baskets: Vec<Basket> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in csv::Reader::from_reader(source).deserialize() {
        let row: Row = row.context("a line of the dataset is no order line")?;
        // A price only tells gifts from goods here; what a line costs is the shop's to say.
        if row.invoice_no.starts_with('C') || row.quantity <= 0 || row.unit_price <= 0.0 {
            continue;
        }
        let place = match places.get(&row.invoice_no) {
            Some(place) => *place,
            // Lines of one invoice stand together, but a later one may still belong to an early invoice.
            None if baskets.len() == count => break,
            None => {
                places.insert(row.invoice_no.clone(), baskets.len());
                baskets.push(Basket { name: row.invoice_no, lines: Vec::new() });
                baskets.len() - 1
            }
        };
        add(&mut baskets[place].lines, row.stock_code, u32::try_from(row.quantity).unwrap_or(MAX_UNITS));
    }
    Ok(baskets)
}

/// Baskets with the median of the real ones: ten lines, now and then many more, mostly a few units.
pub fn invented(count: usize, seed: u64) -> Vec<Basket> {
    let basket = |number: usize| {
        let name = format!("invented-{seed}-{number}");
        let lines = match spread(&format!("{name}-size")) % 10 {
            0 => 1,
            9 => 20 + spread(&format!("{name}-long")) % 30,
            size => 2 + size * 2,
        };
        let mut basket = Basket { name: name.clone(), lines: Vec::new() };
        for line in 0..lines {
            // Low numbers come up more often, as popular goods do.
            let dice = spread(&format!("{name}-{line}"));
            let code = format!("code-{}", (dice % 1_000) * (dice / 1_000 % 1_000) / 1_000);
            add(&mut basket.lines, code, 1 + u32::try_from(dice / 7 % 6).unwrap_or(0));
        }
        basket
    };
    (0..count).map(basket).collect()
}

fn add(lines: &mut Vec<(String, u32)>, code: String, units: u32) {
    let units = units.min(MAX_UNITS);
    if let Some((_, known)) = lines.iter_mut().find(|(known, _)| *known == code) {
        *known = (*known + units).min(MAX_UNITS);
    } else if lines.len() < MAX_LINES {
        lines.push((code, units));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invoices_become_baskets_and_dirt_stays_out() {
        let csv = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                   1,A,\"LAMP, RED\",6,2010-12-01 08:26:00,2.55,17850,UK\n\
                   1,A,LAMP,600,2010-12-01 08:26:00,2.55,,UK\n\
                   C2,A,LAMP,-6,2010-12-01 08:26:00,2.55,17850,UK\n\
                   3,B,GIFT,1,2010-12-01 08:26:00,0.0,17850,UK\n\
                   3,B,LOST,-1,2010-12-01 08:26:00,1.0,17850,UK\n\
                   4,C,BOX,2,2010-12-01 08:26:00,1.0,17850,UK\n\
                   1,B,BOX,1,2010-12-01 08:26:00,1.0,17850,UK\n";
        let baskets = read(csv.as_bytes(), 2).expect("baskets");
        assert_eq!(baskets.len(), 2);
        assert_eq!(baskets[0].lines, [("A".to_owned(), MAX_UNITS), ("B".to_owned(), 1)]);
        assert_eq!(baskets[1].name, "4");
    }

    #[test]
    fn invented_baskets_are_the_same_every_time_and_within_the_limits() {
        assert_eq!(invented(50, 1), invented(50, 1));
        assert_ne!(invented(50, 1), invented(50, 2));
        for basket in invented(500, 3) {
            assert!((1..=MAX_LINES).contains(&basket.lines.len()));
            assert!(basket.lines.iter().all(|(_, units)| (1..=MAX_UNITS).contains(units)));
        }
    }
}
