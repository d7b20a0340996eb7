//! `cargo xtask clicks`: clicks of very many people at full rate into a region of its own, while the intake, the broker, the scorer and
//! Redis are killed in turn; afterwards what was accepted is compared with what the profiles hold, event by event. With `--memory` nothing
//! is killed: very many clicks are fed to the scorer, and memory must stay flat. The reports are written to `docs/drills`.
//!
//! Decided here: the order of things. What is killed and when is decided in `kills`, what is promised in `verdict` and `flat`, who clicks
//! what, and how it is compared, in the demo program (`tools/demo/src/clicks`).

mod flat;
mod kills;
mod report;
pub mod told;
mod verdict;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::load::Load;
use super::phases::words;
use crate::layout::{self, Layout};
use crate::os;
use crate::stack::{self, Stack};
use kills::Kill;
use told::{Fed, Told};

/// Ports and state of the region.
const OFFSET: u16 = 8000;
pub const STATE: &str = ".dev/clicks";
/// Commands of the demo program.
const COMMAND: &str = "clicks";
const FEED: &str = "click-feed";
/// How often memory is looked at, so that a quarter has many samples.
const SAMPLES: u64 = 200;
/// Longest feed: fifty million events at the slowest rate that a laptop has shown, several times over.
const FED_WITHIN: Duration = Duration::from_secs(6 * 60 * 60);

pub struct Options {
    /// Same seed, same people, clicks and order of kills.
    pub seed: u64,
    /// How often each process is killed.
    pub rounds: u64,
    /// Seconds of the load before the first kill and after each.
    pub seconds: u64,
    /// Seconds that a process stays away, if it is not started at once.
    pub down: u64,
    /// Requests under way at once.
    pub connections: u64,
    /// `appendfsync` of Redis: always, everysec or no.
    pub fsync: String,
    pub release: bool,
    /// The programs are there and are those of this commit.
    pub no_build: bool,
}

pub struct MemoryOptions {
    pub seed: u64,
    /// Events to be counted.
    pub events: u64,
    /// People who click.
    pub people: u64,
    pub release: bool,
    pub no_build: bool,
}

/// Runs the campaign. `false`: a promise is broken.
///
/// # Errors
/// When the region cannot be started, or the demo program does not run.
pub fn run(options: &Options) -> Result<bool> {
    if options.rounds == 0 || options.connections == 0 || options.down == 0 {
        bail!("a campaign has a round, a connection, and a second in which Redis is away");
    }
    if !["always", "everysec", "no"].contains(&options.fsync.as_str()) {
        bail!("appendfsync of Redis is always, everysec or no, not {}", options.fsync);
    }
    let begun = Instant::now();
    fresh()?;
    let (told, kills, failed) =
        super::in_a_region((STATE, OFFSET), options.release, options.no_build, |stack| campaign(stack, options))?;
    let mut promises = verdict::promises(&told, &kills, options.rounds);
    if let (Some(first), Some(failed)) = (promises.first_mut(), failed) {
        first.broken.push(failed);
    }
    let page = report::page(options, &told, &kills, &promises, begun.elapsed().as_secs_f64())?;
    super::write("clicks", &page)?;
    let broken: Vec<&String> = promises.iter().flat_map(|held| &held.broken).collect();
    broken.iter().for_each(|broken| println!("BROKEN: {broken}"));
    Ok(broken.is_empty())
}

/// Removes what an earlier run has left. Its topics would be read again, and its Redis has another life than its topics.
fn fresh() -> Result<()> {
    let layout = Layout::open(&layout::checkout(), Path::new(STATE))?;
    stack::down(&layout);
    stack::wipe(&layout)
}

/// The load under fire; the last is why the kills ended early.
fn campaign(stack: &Stack, options: &Options) -> Result<(Told, Vec<Kill>, Option<String>)> {
    kills::prepare(stack, &options.fsync)?;
    let arguments = [("--seed", options.seed), ("--connections", options.connections)];
    let mut load = Load::start(stack, COMMAND, &words(&arguments))?;
    let mut kills = Vec::new();
    let done = kills::rounds(stack, options, &mut load, &mut kills);
    os::check_interrupted()?;
    let told: Told = load.finish()?;
    Ok((told, kills, done.err().map(|error| format!("{error:#}"))))
}

/// Feeds the scorer. `false`: memory is not flat.
///
/// # Errors
/// When the region cannot be started, or the demo program does not run.
pub fn memory(options: &MemoryOptions) -> Result<bool> {
    if options.events < SAMPLES || options.people == 0 {
        bail!("a feed has a person, and an event for each of its {SAMPLES} samples");
    }
    let begun = Instant::now();
    fresh()?;
    let fed: Fed =
        super::in_a_region((STATE, OFFSET), options.release, options.no_build, |stack| feed(stack, options))?;
    let curves = flat::curves(&fed);
    let broken = flat::broken(&fed, &curves, options.events);
    let page = report::memory(options, &fed, &curves, &broken, begun.elapsed().as_secs_f64())?;
    super::write("clicks-memory", &page)?;
    broken.iter().for_each(|broken| println!("BROKEN: {broken}"));
    Ok(broken.is_empty())
}

fn feed(stack: &Stack, options: &MemoryOptions) -> Result<Fed> {
    let MemoryOptions { seed, events, people, .. } = *options;
    let arguments =
        [("--seed", seed), ("--events", events), ("--people", people), ("--sample-every", events / SAMPLES)];
    let load = Load::start(stack, FEED, &words(&arguments))?;
    let until = Instant::now() + FED_WITHIN;
    while !load.has_ended() {
        os::check_interrupted()?;
        if Instant::now() >= until {
            bail!("the feed did not end within {} h", FED_WITHIN.as_secs() / 3_600);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    load.finish()
}

/// The options as they are written on a command line.
fn flags(options: &Options) -> String {
    let Options { seed, rounds, seconds, down, connections, fsync, release, no_build: _ } = options;
    let build = if *release { " --release" } else { "" };
    format!(
        "--seed {seed} --rounds {rounds} --seconds-per-phase {seconds} --down {down} --connections {connections} \
         --redis-fsync {fsync}{build}"
    )
}
