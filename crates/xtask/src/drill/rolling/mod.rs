//! `cargo xtask rolling`: every process of every service of a region of its own is replaced under load, one after the other, the way
//! Kubernetes does it; no request may fail and no event may be lost. The report is written to `docs/drills`.
//!
//! Decided here: the order of things. Which processes there are and how one takes another's place is decided in `fleet`, what is promised in
//! `verdict`, what is asked in the demo program (`tools/demo/src/rolling.rs`).

pub mod fleet;
mod report;
pub mod told;
pub(super) mod topic;
pub(super) mod verdict;

use std::time::Instant;

use anyhow::{Result, bail};

use super::load::Load;
use super::phases::{pause, words};
use crate::os;
use crate::stack::Stack;
use fleet::{Fleet, Step};
use told::Told;
use verdict::Recorded;

/// Ports and state of the region.
const OFFSET: u16 = 5000;
const STATE: &str = ".dev/rolling";
/// The load's command of the demo program.
const COMMAND: &str = "rolling";
/// Processes of each service that work.
const WORKING: u16 = 1;
/// Seconds of the load alone, before the first process is replaced and after the last.
const ALONE_S: u64 = 10;

pub struct Options {
    /// Same seed, same questions and orders.
    pub seed: u64,
    /// How often every process is replaced.
    pub rounds: u64,
    pub release: bool,
    /// The programs are there and are those of this commit.
    pub no_build: bool,
}

/// What was done and what was seen.
struct Found {
    steps: Vec<Step>,
    told: Told,
    recorded: Recorded,
    /// How the promise was broken; empty when it was held.
    broken: Vec<String>,
}

/// Runs the update. `false`: the promise is broken.
///
/// # Errors
/// When the region cannot be started, or the demo program does not run.
pub fn run(options: &Options) -> Result<bool> {
    if options.rounds == 0 {
        bail!("a rolling update replaces every process at least once");
    }
    let begun = Instant::now();
    let found = super::in_a_region((STATE, OFFSET), options.release, options.no_build, |stack| drill(stack, options))?;
    let page = report::page(options, &found, begun.elapsed().as_secs_f64())?;
    super::write("rolling", &page)?;
    found.broken.iter().for_each(|broken| println!("BROKEN: {broken}"));
    Ok(found.broken.is_empty())
}

fn drill(stack: &Stack, options: &Options) -> Result<Found> {
    let mut fleet = Fleet::start(stack, WORKING)?;
    let load = Load::start(stack, COMMAND, &words(&[("--seed", options.seed)]))?;
    let mut steps = Vec::new();
    let done = roll(&mut fleet, options.rounds, &mut steps);
    os::check_interrupted()?;
    let told: Told = load.finish()?;
    let recorded = topic::recorded(stack, &told::clicks_of(&told.run))?;
    let mut broken = verdict::broken(&told, &recorded);
    // An update that was not done as meant has shown nothing.
    broken.extend(done.err().map(|error| format!("{error:#}")));
    broken.extend(fleet.gone().into_iter().map(|name| format!("{name} does not run any more")));
    Ok(Found { steps, told, recorded, broken })
}

fn roll(fleet: &mut Fleet<'_>, rounds: u64, steps: &mut Vec<Step>) -> Result<()> {
    pause(ALONE_S)?;
    for _ in 0..rounds {
        fleet.roll(steps)?;
    }
    pause(ALONE_S)
}
