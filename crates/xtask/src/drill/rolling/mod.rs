//! `cargo xtask rolling`: every process of every service of a region of its own is replaced under load, one after the other, the way
//! Kubernetes does it; no request may fail and no event may be lost. The report is written to `docs/drills`.
//!
//! Decided here: the order of things. Which processes there are and how one takes another's place is decided in `fleet`, what is promised in
//! `verdict`, what is asked in the demo program (`tools/demo/src/rolling.rs`). The same load and promise serve a region in Kubernetes
//! (`cluster::drill`).

pub mod fleet;
pub(crate) mod report;
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
/// Seconds of the load alone, before anything is done to the region and after the last of it.
pub(crate) const ALONE_S: u64 = 10;

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
    seen: Seen,
}

/// What the load has seen while something was done to a region.
pub(crate) struct Seen {
    pub told: Told,
    pub recorded: Recorded,
    /// How the promise was broken; empty when it was held.
    pub broken: Vec<String>,
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
    Ok(found.seen.held())
}

fn drill(stack: &Stack, options: &Options) -> Result<Found> {
    let mut fleet = Fleet::start(stack, WORKING)?;
    let mut steps = Vec::new();
    let mut seen = under_load(stack, options.seed, || (0..options.rounds).try_for_each(|_| fleet.roll(&mut steps)))?;
    seen.broken.extend(fleet.gone().into_iter().map(|name| format!("{name} does not run any more")));
    Ok(Found { steps, seen })
}

/// Does `work` to a region that runs, under load, and judges what the load tells.
///
/// # Errors
/// When the demo program does not run or the topic of clicks cannot be read. An interrupt.
pub(crate) fn under_load(stack: &Stack, seed: u64, work: impl FnOnce() -> Result<()>) -> Result<Seen> {
    let load = Load::start(stack, COMMAND, &words(&[("--seed", seed)]))?;
    let done = pause(ALONE_S).and_then(|()| work()).and_then(|()| pause(ALONE_S));
    os::check_interrupted()?;
    let told: Told = load.finish()?;
    let recorded = topic::recorded(stack, &told::clicks_of(&told.run))?;
    let mut broken = verdict::broken(&told, &recorded);
    // Work that was not done as meant has shown nothing.
    broken.extend(done.err().map(|error| format!("{error:#}")));
    Ok(Seen { told, recorded, broken })
}

impl Seen {
    /// Says how the promise was broken. `true`: it was held.
    pub fn held(&self) -> bool {
        self.broken.iter().for_each(|broken| println!("BROKEN: {broken}"));
        self.broken.is_empty()
    }
}
