//! Things with exactly one owner: the environment (`chassis::config`), tasks (`chassis::lifecycle`), the clock (`common::clock`), new
//! ids (`common::ids`), the names of regions (`topology.toml`). Tests and tools are free; what is deployed is not.

use super::Violation;
use super::files::{Place, Source};
use super::tokens::Kind;

/// Something with one owner.
struct Owned {
    rule: &'static str,
    /// Paths that use it end like this.
    endings: &'static [&'static [&'static str]],
    /// Files that may, by the start of their path.
    owners: &'static [&'static str],
    message: &'static str,
}

const OWNED: &[Owned] = &[
    Owned {
        rule: "environment",
        endings: &[&["env", "var"], &["env", "var_os"], &["env", "vars"], &["env", "vars_os"], &["env", "set_var"]],
        owners: &["crates/chassis/src/config"],
        message: "only chassis::config reads the environment",
    },
    Owned {
        rule: "tasks",
        endings: &[&["tokio", "spawn"], &["task", "spawn"]],
        // A commit whose caller went away must still reach its end; messaging does not know chassis.
        owners: &["crates/chassis/src/lifecycle", "crates/messaging/src/commit", "crates/messaging/src/together"],
        message: "only chassis::lifecycle spawns tasks; use process.spawn",
    },
    Owned {
        rule: "clock",
        endings: &[&["Utc", "now"], &["Local", "now"], &["SystemTime", "now"]],
        owners: &["crates/common/src/clock"],
        message: "only common::clock reads the time; take a clock or a time",
    },
    Owned {
        rule: "ids",
        endings: &[&["Uuid", "new_v4"], &["Uuid", "now_v7"], &["Uuid", "new_v7"], &["Uuid", "now_v1"]],
        owners: &["crates/common/src/ids"],
        message: "only common::ids makes ids",
    },
];

/// Crates that are deployed nowhere.
const WORKSHOP: &[&str] = &["xtask", "testkit"];

/// Every use of something by another than its owner.
pub fn check(source: &Source, regions: &[String]) -> Vec<Violation> {
    let deployed =
        matches!(source.place, Place::Crate | Place::Service) && !WORKSHOP.contains(&source.package.as_str());
    // build.rs and tests have no module path or are marked as tests
    let in_src = source.file.components().any(|part| part.as_os_str() == "src");
    if !deployed || source.is_test || !in_src {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut report = |line: usize, rule: &'static str, message: String| {
        found.push(Violation { file: source.file.clone(), line, rule, message });
    };
    for owned in OWNED {
        if owned.owners.iter().any(|owner| source.file.to_string_lossy().starts_with(owner)) {
            continue;
        }
        for named in &source.paths {
            let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
            if owned.endings.iter().any(|ending| path.ends_with(ending)) {
                report(named.line, owned.rule, owned.message.to_owned());
            }
        }
    }
    for token in &source.tokens {
        if let Kind::Text(text) = &token.kind
            && regions.contains(text)
        {
            report(
                token.line,
                "regions",
                format!("the region \"{text}\" is named in topology.toml only; use common::Region"),
            );
        }
    }
    found
}
