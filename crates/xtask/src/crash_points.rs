//! `cargo xtask crash-points`: runs the kills of `tests/crash-points` against the servers of the test stack and writes their
//! table to `docs/crash-points.md`. Not decided here: what is killed and what must hold (that package).

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::layout::{self, Layout};
use crate::os;
use crate::ports::Ports;
use crate::stack::TEST_OFFSET;
use crate::test_run::built_test;

/// The test that makes the table.
const TEST: &str = "the_saga_survives_a_kill_before_and_after_every_boundary";
const PAGE: &str = "docs/crash-points.md";

/// Runs the kills; all of them, or those whose point contains `only`, which writes no page. Says whether all are green.
///
/// # Errors
/// When the test program cannot be built or run.
pub fn run(full: bool, only: Option<&str>) -> Result<bool> {
    let checkout = layout::checkout();
    let commit = os::output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(&checkout))?;
    let program = built_test(&checkout, "crash-points")?;
    let mut kills = Command::new(program);
    kills
        .args(["--exact", TEST, "--nocapture"])
        .current_dir(checkout.join("tests/crash-points"))
        .env("SHOPSPHERE_PORT_OFFSET", Ports::from_env(TEST_OFFSET)?.offset().to_string())
        .env("SHOPSPHERE_STATE_DIR", Layout::from_env(&checkout)?.state)
        .env("CRASH_POINTS_COMMIT", commit.trim())
        .stdin(Stdio::null());
    if full {
        kills.env("CRASH_POINTS", "full");
    }
    match only {
        Some(only) => kills.env("CRASH_POINTS_ONLY", only),
        None => kills.env("CRASH_POINTS_REPORT", checkout.join(page(full))),
    };
    Ok(kills.status().context("run the kills")?.success())
}

/// The night's table is long and nobody's reading; it stays with the build.
fn page(full: bool) -> &'static Path {
    Path::new(if full { "target/crash-points.md" } else { PAGE })
}
