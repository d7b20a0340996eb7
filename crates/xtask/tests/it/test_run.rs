//! What a test run counts.

use xtask::test_run::Tally;

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
    tally.leave_out("");
    assert_eq!(tally, Tally { passed: 13, failed: 2 });
    tally.leave_out(
        "/it-1 browser::a_page_that_closes: there is no Chromium\n\
         /it-1 browser::a_page_that_closes: there is no other either\n\
         /it-2 browser::a_page_that_closes: there is no Chromium\n",
    );
    assert_eq!(tally, Tally { passed: 11, failed: 2 });
}
