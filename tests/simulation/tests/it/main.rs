//! The simulation as a test: enough schedules to find what comes once in thousands, proof that a seed is a whole history,
//! and the tables of events held against the saga's table.

use std::sync::OnceLock;

use saga::Participant;
use saga::subscriptions::subscriptions;
use simulation::campaign::{Campaign, Report, run as campaign};
use simulation::coverage::{Coverage, Rare};
use simulation::extras::Extras;
use simulation::run::run;
use simulation::setup::Setup;

/// Schedules of an ordinary test run; `SIMULATION_SEEDS` of the command makes a night of it.
const SCHEDULES: u64 = 20_000;

/// Played once for all tests of this file.
fn report() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| {
        let report = campaign(&Campaign { from: 0, seeds: SCHEDULES, jobs: 2 });
        println!("{report}");
        report
    })
}

#[test]
fn twenty_thousand_schedules_keep_every_promise() {
    let report = report();
    assert_eq!(report.schedules, SCHEDULES);
    assert_eq!(report.failures, 0, "{report}");
}

#[test]
fn everything_rare_took_place() {
    let missing: Vec<&str> = report().missing().into_iter().map(Rare::text).collect();
    assert!(missing.is_empty(), "the run is invalid, never seen: {missing:?}");
}

/// What only those schedules can reach that have something beside orders.
const FEW: [Rare; 15] = [
    Rare::FirstAway,
    Rare::CapturedBySecond,
    Rare::EndedAtFirst,
    Rare::CreditPart,
    Rare::CreditWhole,
    Rare::CreditFreed,
    Rare::StaffRefunded,
    Rare::RefundsAtOnce,
    Rare::RefundBeyond,
    Rare::StrayTaken,
    Rare::OrphanFound,
    Rare::OrphanRefunded,
    Rare::OrphanAtSecond,
    Rare::CardWaits,
    Rare::CardRefused,
];

#[test]
fn what_only_few_schedules_have_is_reached_within_ten_thousand_seeds() {
    let (mut seen, mut schedules) = (Coverage::default(), 0);
    for seed in (3_000_000..3_010_000).filter(|seed| Setup::new(*seed).extras != Extras::default()) {
        let outcome = run(seed, 0, false);
        assert_eq!(outcome.broken, None, "seed {seed}");
        seen.add(&outcome.coverage);
        schedules += 1;
    }
    assert!((1_000..1_700).contains(&schedules), "{schedules} of 10,000 schedules have something beside orders");
    for rare in FEW {
        println!("{:>10}  {}", seen.of(rare), rare.text());
    }
    let missing: Vec<&str> = FEW.into_iter().filter(|rare| seen.of(*rare) == 0).map(Rare::text).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

#[test]
fn a_seed_is_a_whole_history() {
    for seed in 1_000_000..1_001_000 {
        let (one, other) = (run(seed, 0, false), run(seed, 0, true));
        assert_eq!((one.hash, one.polls), (other.hash, other.polls), "seed {seed}");
        assert!(!other.lines.is_empty());
    }
}

#[test]
fn other_seeds_are_other_histories() {
    let hashes: std::collections::BTreeSet<u64> = (0..500).map(|seed| run(seed, 0, false).hash).collect();
    assert_eq!(hashes.len(), 500);
}

#[test]
fn the_services_listen_to_what_the_sagas_table_says() {
    fn kinds(topics: &[&'static contracts::Topic]) -> Vec<&'static str> {
        let mut kinds: Vec<&str> = topics.iter().map(|topic| topic.kind).collect();
        kinds.sort_unstable();
        kinds
    }
    assert_eq!(kinds(&order_payment::inbound::events::TOPICS), kinds(&subscriptions(Participant::OrderPayment)));
    assert_eq!(kinds(&catalog::inbound::events::TOPICS), kinds(&subscriptions(Participant::Catalog)));
}
