//! The gateway's own books, read at its own address: what it took and gave back for each order.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use crate::api::{Api, Call};

/// Entries of one page of the books.
const PAGE: usize = 10_000;

/// What the gateway holds for one order, in minor units.
#[derive(Clone, Debug, Default)]
struct Reference {
    /// Per charge what was taken minus what was given back, and its currency.
    charges: HashMap<String, (String, i64)>,
}

#[derive(Debug, Default)]
pub struct GatewayBooks {
    /// By the shop's order, or by the gateway's own name for what has none.
    references: HashMap<String, Reference>,
}

impl GatewayBooks {
    /// # Errors
    /// The gateway does not answer.
    pub async fn read(gateway_url: String) -> anyhow::Result<Self> {
        let api = Api::new(gateway_url)?;
        let mut books = Self::default();
        let mut after = 0;
        loop {
            let path = format!("/__books?after={after}&limit={PAGE}");
            let page = api.call(&Call { path: &path, ..Call::default() }).await?.success("the gateway's books")?;
            for entry in page["entries"].as_array().map(Vec::as_slice).unwrap_or_default() {
                books.add(entry);
            }
            let last = page["last"].as_u64().unwrap_or_default();
            // Pages end when the gateway says so, or when it no longer moves on.
            if page["has_more"] != Value::Bool(true) || last <= after {
                return Ok(books);
            }
            after = last;
        }
    }

    fn add(&mut self, entry: &Value) {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let sign = match entry["kind"].as_str() {
            Some("capture") => 1,
            Some("refund") => -1,
            // Set aside or given up: no money has moved.
            _ => return,
        };
        let reference = entry["reference"].as_str().map_or_else(|| text("intent"), str::to_owned);
        let charge = self
            .references
            .entry(reference)
            .or_default()
            .charges
            .entry(text("charge"))
            .or_insert_with(|| (text("currency"), 0));
        charge.1 += sign * entry["amount"].as_i64().unwrap_or_default();
    }

    /// Net amounts per currency; of `orders` only, or of everything.
    pub fn net(&self, orders: Option<&HashSet<Uuid>>) -> BTreeMap<String, i64> {
        let mut totals = BTreeMap::new();
        for (currency, amount) in self.of(orders).flat_map(|(_, reference)| reference.charges.values()) {
            *totals.entry(currency.to_uppercase()).or_default() += amount;
        }
        totals
    }

    /// What was taken for one order and not given back.
    pub fn of_order(&self, order: Uuid) -> i64 {
        let charges = self.references.get(&order.to_string()).map(|reference| &reference.charges);
        charges.into_iter().flatten().map(|(_, (_, left))| left).sum()
    }

    /// Orders with more than one charge standing: people who paid twice.
    pub fn charged_twice(&self, orders: Option<&HashSet<Uuid>>) -> Vec<String> {
        let standing = |reference: &Reference| reference.charges.values().filter(|(_, left)| *left > 0).count();
        self.of(orders).filter(|(_, reference)| standing(reference) > 1).map(|(name, _)| name.clone()).collect()
    }

    fn of<'a>(&'a self, orders: Option<&'a HashSet<Uuid>>) -> impl Iterator<Item = (&'a String, &'a Reference)> {
        let wanted =
            move |name: &str| orders.is_none_or(|orders| name.parse().is_ok_and(|order: Uuid| orders.contains(&order)));
        self.references.iter().filter(move |(name, _)| wanted(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn money_that_went_back_does_not_count_and_two_standing_charges_are_found() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let entry = |kind: &str, order: Uuid, charge: &str, amount: i64| json!({"kind": kind, "reference": order.to_string(), "intent": "pi", "charge": charge, "amount": amount, "currency": "eur"});
        let mut books = GatewayBooks::default();
        for entry in [
            entry("authorise", one, "a", 500),
            entry("capture", one, "a", 500),
            entry("capture", two, "b", 700),
            entry("refund", two, "b", 700),
            entry("capture", two, "c", 700),
        ] {
            books.add(&entry);
        }
        assert_eq!(books.net(None), BTreeMap::from([("EUR".to_owned(), 1200)]));
        assert_eq!(books.net(Some(&HashSet::from([one]))), BTreeMap::from([("EUR".to_owned(), 500)]));
        assert_eq!((books.of_order(one), books.of_order(two), books.of_order(Uuid::from_u128(3))), (500, 700, 0));
        assert!(books.charged_twice(None).is_empty());
        books.add(&entry("capture", one, "d", 500));
        assert_eq!(books.charged_twice(None), [one.to_string()]);
    }
}
