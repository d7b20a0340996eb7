//! What a test run counts.

use std::collections::BTreeSet;

use xtask::test_run::{Tally, failed_test};

#[test]
fn results_of_all_test_programs_are_added_up() {
    let mut tally = Tally::default();
    for line in [
        "running 3 tests",
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.12s",
        "test domain::order::a_paid_order_stays_paid ... ok",
        "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 11.01s",
        "a log line that says test result: ok. 99 passed; 0 failed;",
    ] {
        tally.read(line);
    }
    assert_eq!(tally, Tally { passed: 13, failed: 2 });
}

#[test]
fn a_test_that_left_out_what_it_was_there_for_has_not_passed() {
    let mut tally = Tally { passed: 13, failed: 2 };
    tally.leave_out("", &BTreeSet::new());
    assert_eq!(tally, Tally { passed: 13, failed: 2 });
    tally.leave_out(
        "/it-1 browser::a_page_that_closes: there is no Chromium\n\
         /it-1 browser::a_page_that_closes: there is no other either\n\
         /it-2 browser::a_page_that_closes: there is no Chromium\n",
        &BTreeSet::new(),
    );
    assert_eq!(tally, Tally { passed: 11, failed: 2 });
}

#[test]
fn a_test_that_failed_after_it_left_something_out_is_taken_off_nowhere() {
    let lines = [
        "test charts::are_sound ... FAILED",
        "test charts::are_small ... ok",
        "test result: FAILED. 1 passed; 1 failed;",
    ];
    let failed: BTreeSet<String> = lines.iter().filter_map(|line| failed_test(line)).map(str::to_owned).collect();
    assert_eq!(failed, BTreeSet::from(["charts::are_sound".to_owned()]));
    let mut tally = Tally { passed: 1, failed: 1 };
    tally.leave_out("/it-1 charts::are_sound: there is no helm here\n", &failed);
    assert_eq!(tally, Tally { passed: 1, failed: 1 });
}
