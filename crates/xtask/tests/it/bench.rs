//! The performance page is made of results and nothing else.

use xtask::bench::results;
use xtask::layout::checkout;

#[test]
fn the_performance_page_says_what_the_results_say() {
    let reports = results::read_all(&checkout()).expect("every file among the results is one");
    let page = std::fs::read_to_string(checkout().join("docs/perf/README.md")).expect("there is a page");
    assert_eq!(
        page,
        results::page(results::limits(&checkout()).unwrap().as_ref(), &reports),
        "`cargo xtask bench page` writes it"
    );
}
