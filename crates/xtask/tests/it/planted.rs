//! The planted bugs are what they say: each header is whole, each patch still applies, each named test exists. Cheap, because
//! nothing is built; that the tests catch them is shown by `cargo xtask planted`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use xtask::layout::checkout;
use xtask::planted::{Bug, bugs, judge};

/// What was asked for at least: the parts that must never be silent, each with several.
const FEWEST: usize = 25;

fn all() -> Vec<Bug> {
    bugs(&checkout()).expect("the planted bugs can be read")
}

#[test]
fn every_planted_bug_names_a_test_that_exists() {
    let bugs = all();
    assert!(bugs.len() >= FEWEST, "only {} planted bugs", bugs.len());
    for bug in &bugs {
        assert!(is_written(bug), "{}: there is no test {} in {}", bug.name, bug.caught_by, bug.package);
    }
}

/// Whether the test stands in the file of one of its modules: below `tests/it` or `src`, there perhaps as `mod.rs`, or beside a file of `src`
/// as `…_tests.rs`.
fn is_written(bug: &Bug) -> bool {
    let folder = ["crates", "services", "tools", "tests"]
        .iter()
        .map(|top| checkout().join(top).join(&bug.package))
        .find(|path| path.is_dir());
    let Some(folder) = folder else { return false };
    let modules: Vec<&str> = bug.caught_by.split("::").collect();
    let name = modules.last().copied().unwrap_or_default();
    // A story that both stores are told takes its store as a type.
    let heads = [format!("fn {name}("), format!("fn {name}<")];
    let mut files = vec![folder.join("tests/it/main.rs")];
    for depth in 1..modules.len() {
        let path = modules[..depth].join("/");
        files.push(folder.join("tests/it").join(format!("{path}.rs")));
        files.push(folder.join("src").join(format!("{path}.rs")));
        files.push(folder.join("src").join(&path).join("mod.rs"));
        files.push(folder.join("src").join(format!("{path}_tests.rs")));
    }
    files.iter().any(|file| fs::read_to_string(file).is_ok_and(|text| heads.iter().any(|head| text.contains(head))))
}

#[test]
fn every_planted_bug_still_applies() {
    for bug in all() {
        let checked = Command::new("git").args(["apply", "--check"]).arg(&bug.file).current_dir(checkout()).output();
        let checked = checked.expect("git runs");
        assert!(checked.status.success(), "{}: {}", bug.name, String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn the_parts_whose_faults_are_silent_have_bugs_of_their_own() {
    let changed: BTreeSet<String> = all().iter().flat_map(changed_files).collect();
    for part in [
        "crates/messaging/src/commit.rs",
        "crates/messaging/src/relay.rs",
        "crates/messaging/src/partitions.rs",
        "crates/messaging/src/consumer.rs",
        "services/catalog/src/domain/reservation.rs",
        "services/catalog/src/outbound/postgres/commit.rs",
        "services/order-payment/src/domain/settle.rs",
        "services/order-payment/src/usecases/process_payment.rs",
    ] {
        assert!(changed.contains(part), "no planted bug in {part}");
    }
}

fn changed_files(bug: &Bug) -> Vec<String> {
    let text = fs::read_to_string(&bug.file).expect("the patch");
    text.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(str::to_owned).collect()
}

#[test]
fn only_the_named_test_with_the_expected_complaint_is_a_catch() {
    let bug = Bug {
        name: "x".to_owned(),
        file: Path::new("x.patch").to_owned(),
        package: "messaging".to_owned(),
        caught_by: "commit::whole".to_owned(),
        promise: "N14".to_owned(),
        complaint: "left: 2".to_owned(),
        story: "a bug".to_owned(),
    };
    assert_eq!(judge("test commit::whole ... FAILED\n  left: 2\n", &bug), None);
    for (output, why) in [
        ("test commit::whole ... ok\n", "passed"),
        ("test commit::whole ... FAILED\n  could not connect\n", "without saying"),
        ("test commit::whole_other ... FAILED\n  left: 2\n", "no end"),
        ("error[E0308]: mismatched types\n", "no end"),
    ] {
        let found = judge(output, &bug);
        assert!(found.as_ref().is_some_and(|text| text.contains(why)), "{output:?}: {found:?}");
    }
}
