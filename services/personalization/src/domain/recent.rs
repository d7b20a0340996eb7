//! What a person looked at lately: for "continue where you left", for leaving out what was just seen, and for learning which
//! products are looked at together. A set with times and not a log, so counting a report twice changes nothing.

use common::Sku;

use super::click::{Click, ClickKind};

/// Products remembered per person: two screens of "continue".
pub const MAX_RECENT: usize = 32;

/// Two products belong to one visit when they were looked at within this long (30 minutes, the usual length of a shop visit
/// without a pause).
pub const VISIT_MS: i64 = 30 * 60 * 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    pub sku: Sku,
    /// Newest click on it, in milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    pub bought: bool,
}

/// Adds clicks to what was remembered: newest first, each product once, bounded.
pub fn remember<'a>(before: &[Recent], clicks: impl Iterator<Item = &'a Click>) -> Vec<Recent> {
    let mut list = before.to_vec();
    for click in clicks {
        let Some(sku) = click.sku.as_ref().filter(|_| counts(click.kind)) else { continue };
        let bought = click.kind == ClickKind::Buy;
        match list.iter_mut().find(|recent| recent.sku == *sku) {
            Some(known) => {
                known.at_ms = known.at_ms.max(click.at_ms);
                known.bought |= bought;
            }
            None => list.push(Recent { sku: sku.clone(), at_ms: click.at_ms, bought }),
        }
        // Keeps the search above short however long the batch is; twice the limit so that sorting is rare.
        if list.len() > 2 * MAX_RECENT {
            shorten(&mut list);
        }
    }
    shorten(&mut list);
    list
}

fn shorten(list: &mut Vec<Recent>) {
    list.sort_by(|one, two| two.at_ms.cmp(&one.at_ms).then_with(|| one.sku.cmp(&two.sku)));
    list.truncate(MAX_RECENT);
}

/// Being shown something is not looking at it, and taking it out of the basket is not either.
pub(super) fn counts(kind: ClickKind) -> bool {
    matches!(kind, ClickKind::View | ClickKind::Search | ClickKind::Add | ClickKind::Buy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn click(kind: ClickKind, name: &str, at_ms: i64) -> Click {
        Click { kind, sku: Sku::parse(name).ok(), at_ms, mark: None }
    }

    #[test]
    fn remembering_twice_changes_nothing() {
        let clicks: Vec<Click> = (0..100).map(|n| click(ClickKind::View, &format!("S{}", n % 40), n)).collect();
        let once = remember(&[], clicks.iter());
        assert_eq!(remember(&once, clicks.iter()), once);
        assert_eq!(once.len(), MAX_RECENT);
        assert_eq!(once[0].at_ms, 99);
    }

    #[test]
    fn a_purchase_stays_a_purchase_and_an_impression_is_nothing() {
        let clicks = [
            click(ClickKind::Buy, "A", 1),
            click(ClickKind::View, "A", 5),
            click(ClickKind::Impression, "B", 6),
            click(ClickKind::Remove, "C", 7),
        ];
        let list = remember(&[], clicks.iter());
        assert_eq!(list, [Recent { sku: Sku::parse("A").expect("a SKU"), at_ms: 5, bought: true }]);
    }
}
