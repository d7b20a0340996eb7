//! All interleavings: what must never be never is, and an end can be reached from everywhere.

use saga::STEPS;
use saga::explore::{Limits, explore, explore_table};
use saga::state::{Charge, Order};
use saga::steps::Step;

/// One order, everything that can go wrong, each message twice at most twice.
const ONE: Limits = Limits { units: 1, faults: None, duplicates: 1 };
/// Two orders that want the same unit, one fault, one repeated message.
const TWO: Limits = Limits { units: 1, faults: Some(1), duplicates: 1 };

#[test]
fn one_order_keeps_every_promise_whatever_goes_wrong() {
    for units in [0, 1] {
        let explored = explore::<1>(Limits { units, ..ONE }).unwrap_or_else(|found| panic!("{found}"));
        println!(
            "one order, {units} units: {} states, {} transitions, {} ends",
            explored.states, explored.transitions, explored.final_states
        );
        assert!(explored.final_states > 0 && explored.transitions > explored.states);
    }
}

#[test]
fn two_orders_for_one_unit_keep_every_promise() {
    let explored = explore::<2>(TWO).unwrap_or_else(|found| panic!("{found}"));
    println!(
        "two orders, one unit, one fault, one repetition: {} states, {} transitions, {} ends",
        explored.states, explored.transitions, explored.final_states
    );
    assert!(explored.final_states > 0);
}

#[test]
fn two_orders_for_one_unit_keep_every_promise_whatever_goes_wrong() {
    let explored =
        explore::<2>(Limits { faults: None, duplicates: 0, ..TWO }).unwrap_or_else(|found| panic!("{found}"));
    println!(
        "two orders, one unit, any faults: {} states, {} transitions, {} ends",
        explored.states, explored.transitions, explored.final_states
    );
    assert!(explored.final_states > 0);
}

#[test]
fn every_step_of_the_table_is_taken_somewhere() {
    let mut taken = explore::<1>(ONE).unwrap_or_else(|found| panic!("{found}")).taken;
    taken.extend(explore::<1>(Limits { units: 0, ..ONE }).unwrap_or_else(|found| panic!("{found}")).taken);
    // A self-loop changes nothing and is not counted as a transition; these are the steps before an order and after it.
    let never: Vec<&str> = STEPS.iter().map(|step| step.name).filter(|name| !taken.contains(name)).collect();
    assert_eq!(never, ["sign up", "know the owner", "tell of a refund", "take goods back, or leave them"]);
}

/// The table with one step changed.
fn with(name: &str, change: impl Fn(&mut Step)) -> Vec<Step> {
    let mut steps = STEPS.to_vec();
    let step = steps.iter_mut().find(|step| step.name == name).unwrap_or_else(|| panic!("there is no step {name}"));
    change(step);
    steps
}

fn complaint(steps: &[Step]) -> String {
    explore_table::<1>(steps, ONE)
        .map_or_else(|found| found.complaint, |explored| format!("nothing in {} states", explored.states))
}

#[test]
fn a_wrong_step_is_found_by_its_number() {
    let table: [(&str, Vec<Step>, &str); 7] = [
        (
            "a silence counts as a decline",
            with("lose an answer", |step| {
                step.then.charge = Some(Charge::Declined);
                step.then.order = Some(Order::Compensated);
            }),
            "N3 compensated",
        ),
        (
            "giving up does not wait for the gateway",
            with("give up with the gateway's word", |step| step.when.intent = &[]),
            "N3 compensated",
        ),
        ("completed on an authorisation", with("complete the order", |step| step.when.intent = &[]), "N3 completed"),
        ("no tombstone", with("leave a tombstone", |step| step.then.reservation = None), "N11 no way"),
        (
            "a late reservation begins the payment of an ended order",
            with("begin the payment", |step| step.when.order = &[]),
            "N1",
        ),
        (
            "money is asked for before the decision is committed",
            with("capture", |step| {
                step.when.charge = &[Charge::Sent, Charge::Authorised];
                step.when.capture_requested = None;
            }),
            "N1 money taken",
        ),
        ("units are given back twice", with("nothing to release", |step| step.then.units = 1), "N12"),
    ];
    for (what, steps, expected) in table {
        let found = complaint(&steps);
        assert!(found.starts_with(expected), "{what}: {found}");
    }
}
