//! What the index of visits learns from clicks: a step, without the person who took it.
//!
//! A step carries a key, so that the next one goes on the same visit. The key is made anew each day and cannot be turned back into
//! a pseudonym, so steps of different days cannot be joined to a history.

use common::Sku;

use super::click::{Click, Pseudonym};
use super::recent;

/// Steps learned per person and batch, the latest: as many as the index keeps of a visit.
const MAX_STEPS: usize = recommender::MAX_STEPS;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitStep {
    pub key: u64,
    pub at_ms: i64,
    pub sku: Sku,
    pub bought: bool,
}

/// Under which key the visits of somebody go on at `at_ms`. Never 0, which the index takes for "over".
pub fn key(who: &Pseudonym, at_ms: i64) -> u64 {
    let day = at_ms.div_euclid(DAY_MS).to_le_bytes();
    // FNV-1a over a keyed hash of 128 bits: half of what is known goes in, so nobody can reckon back.
    let hash = who
        .as_str()
        .bytes()
        .chain(day)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.max(1)
}

/// The steps that one person's clicks are, in their order; `known` tells which products there are.
pub fn steps<'a>(
    who: &Pseudonym,
    clicks: impl Iterator<Item = &'a Click>,
    known: impl Fn(&Sku) -> bool,
) -> Vec<VisitStep> {
    let step = |click: &Click| {
        let sku = click.sku.clone().filter(|sku| recent::counts(click.kind) && known(sku))?;
        let bought = click.kind == super::click::ClickKind::Buy;
        Some(VisitStep { key: key(who, click.at_ms), at_ms: click.at_ms, sku, bought })
    };
    let mut steps: Vec<VisitStep> = clicks.filter_map(step).collect();
    steps.drain(..steps.len().saturating_sub(MAX_STEPS));
    steps
}

#[cfg(test)]
mod tests {
    use super::super::click::ClickKind;
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn person(digit: char) -> Pseudonym {
        Pseudonym::parse(&digit.to_string().repeat(32)).expect("a pseudonym")
    }

    #[test]
    fn a_key_holds_for_a_day_and_a_person() {
        let today = key(&person('a'), NOW);
        assert_eq!(key(&person('a'), NOW + 1), today);
        assert_ne!(key(&person('a'), NOW + DAY_MS), today);
        assert_ne!(key(&person('b'), NOW), today);
    }

    #[test]
    fn only_looking_and_buying_known_products_are_steps() {
        let click = |kind, name| Click { kind, sku: Sku::parse(name).ok(), at_ms: NOW, mark: None };
        let clicks = [
            click(ClickKind::View, "A"),
            click(ClickKind::Impression, "A"),
            click(ClickKind::View, "GONE"),
            click(ClickKind::Remove, "A"),
            click(ClickKind::Buy, "B"),
        ];
        let found = steps(&person('a'), clicks.iter(), |sku| sku.as_str() != "GONE");
        let told: Vec<(&str, bool)> = found.iter().map(|step| (step.sku.as_str(), step.bought)).collect();
        assert_eq!(told, [("A", false), ("B", true)]);
    }

    #[test]
    fn a_robot_teaches_no_more_than_one_visit_holds() {
        let clicks: Vec<Click> = (0..1_000)
            .map(|n| Click {
                kind: ClickKind::View,
                sku: Sku::parse(&format!("S{n}")).ok(),
                at_ms: NOW + n,
                mark: None,
            })
            .collect();
        let found = steps(&person('a'), clicks.iter(), |_| true);
        assert_eq!((found.len(), found.last().map(|step| step.sku.as_str())), (MAX_STEPS, Some("S999")));
    }
}
