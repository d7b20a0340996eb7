//! Every boundary of the saga, killed before and after.

use std::path::Path;
use std::process::Command;

use crash_points::fate::{FOLDER, MEMBER, SERVICE};
use crash_points::matrix::{Extent, run};

const MORTAL: &str = env!("CARGO_BIN_EXE_mortal");

/// `CRASH_POINTS=full` is the night's matrix, `CRASH_POINTS_ONLY=relay` a part of it; `CRASH_POINTS_REPORT` names a file for
/// the page, which `cargo xtask crash-points` asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_saga_survives_a_kill_before_and_after_every_boundary() {
    let setting = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let extent = if setting("CRASH_POINTS").as_deref() == Some("full") { Extent::Full } else { Extent::Boundaries };
    let report = run(Path::new(MORTAL), extent, setting("CRASH_POINTS_ONLY").as_deref()).await;
    if let Some(file) = setting("CRASH_POINTS_REPORT") {
        let commit = setting("CRASH_POINTS_COMMIT").unwrap_or_else(|| "unknown".to_owned());
        std::fs::write(file, report.markdown(&commit, "cargo xtask crash-points")).expect("the page can be written");
    }
    println!("{} rows in {:.0} s", report.rows.len(), report.seconds);
    assert!(report.green(), "{}", report.complaints());
}

/// The programs that are deployed know no such order: the setting is refused by name, and what the mortal program reads from
/// its environment is not in them at all.
#[test]
fn a_program_that_is_deployed_cannot_be_told_to_die() {
    let mortal = Path::new(MORTAL);
    let holds = |file: &Path, word: &str| {
        let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        bytes.windows(word.len()).any(|part| part == word.as_bytes())
    };
    let words = [FOLDER, MEMBER, SERVICE];
    assert!(words.iter().all(|word| holds(mortal, word)), "the mortal program has the words that are looked for");
    for name in ["order-payment", "catalog"] {
        let deployed = mortal.with_file_name(name);
        if !deployed.is_file() {
            // Built by `./dev test` and `./dev up`; a single package's test run may come before them.
            continue;
        }
        for word in words {
            assert!(!holds(&deployed, word), "{name} holds {word}");
        }
        let output = Command::new(&deployed)
            .args(["serve", "--print-config"])
            .env("SHOPSPHERE__CRASH__AT", "relay-claim (before)")
            .env(FOLDER, std::env::temp_dir())
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("unknown key crash"), "{name}");
    }
}
