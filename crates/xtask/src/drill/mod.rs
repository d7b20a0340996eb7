//! `cargo xtask drill`: the catalog of a region of its own under load, while its index is rebuilt, its processes are restarted one after
//! the other, each of its stores is killed in turn, and very many products change between kills; its report is written to `docs/drills`.
//!
//! Decided here: the order of things. What is done and promised in each phase is decided in `phases`, whether a promise is held in
//! `promise`, what is asked and how an answer is judged in the demo program (`tools/demo/src/catalog_drill`). The update of all services, that
//! from one release to the next and back, and the kills on the path of a click are drills of their own (`rolling`, `matrix`, `clicks`).

pub mod clicks;
pub(crate) mod load;
pub mod matrix;
mod phases;
mod promise;
mod region;
mod report;
pub mod rolling;
pub mod told;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::campaign::today;
use crate::layout::{self, Layout};
use crate::ports::Ports;
use crate::progress::Progress;
use crate::stack::up::{Wanted, up};
use crate::stack::{Purpose, Stack};
pub(crate) use phases::pause;
use region::Region;
use report::Row;

/// Ports and state of the drill's region.
const OFFSET: u16 = 4000;
const STATE: &str = ".dev/drill";

pub struct Options {
    /// Same seed, same questions and changes.
    pub seed: u64,
    /// Seconds of each phase that kills nothing.
    pub seconds: u64,
    /// Seconds that a killed store is away.
    pub down: u64,
    /// Random changes of products.
    pub changes: usize,
    /// Seconds between two kills while products change; 0 for none.
    pub kill_every: u64,
    pub release: bool,
    /// The programs are there and are those of this commit.
    pub no_build: bool,
}

/// Runs a drill. `false`: a promise is broken.
///
/// # Errors
/// When the region cannot be started, does not come back, or the demo program does not run.
pub fn run(options: &Options) -> Result<bool> {
    if options.changes == 0 {
        bail!("a drill has at least one change; the last phase would not end");
    }
    let begun = Instant::now();
    let rows = in_a_region((STATE, OFFSET), options.release, options.no_build, |stack| drill(stack, options))?;
    write("catalog", &report::page(options, &rows, begun.elapsed().as_secs_f64())?)?;
    Ok(rows.iter().all(|row| row.broken.is_empty()))
}

/// Starts the region with this state and offset, does `work` with it, and ends it.
fn in_a_region<T>(
    (state, offset): (&str, u16),
    release: bool,
    no_build: bool,
    work: impl FnOnce(&Stack) -> Result<T>,
) -> Result<T> {
    let stack = region_at(state, offset, release)?;
    // What a drill that was cut off has left knows another edge than `up`.
    stack.down();
    while_up(&stack, no_build, work)
}

fn region_at(state: &str, offset: u16, release: bool) -> Result<Stack> {
    let layout = Layout::open(&layout::checkout(), &PathBuf::from(state))?;
    let mut stack = Stack::open(layout, Ports::at(offset)?, Purpose::Development, release)?;
    stack.most_declined = Some(0);
    Ok(stack)
}

/// Starts a region, does `work` with it, and ends it.
fn while_up<T>(stack: &Stack, no_build: bool, work: impl FnOnce(&Stack) -> Result<T>) -> Result<T> {
    let started = up(stack, &Progress::new(), Wanted { build: !no_build, services: true });
    let outcome = started.and_then(|_| work(stack));
    // Also when it did not start: nobody else would end what did.
    stack.down();
    outcome
}

/// Writes the report of a drill.
pub(crate) fn write(name: &str, page: &str) -> Result<()> {
    let checkout = layout::checkout();
    let folder = checkout.join("docs/drills");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}-{name}.md", today()?));
    fs::write(&file, page).with_context(|| format!("write {}", file.display()))?;
    println!("written to {}", file.strip_prefix(&checkout).unwrap_or(&file).display());
    Ok(())
}

fn drill(stack: &Stack, options: &Options) -> Result<Vec<Row>> {
    let region = Region { stack };
    region.doubled()?;
    println!("{}", report::HEAD);
    phases::all(&region, options)
}

/// The options as they are written on a command line.
fn flags(options: &Options) -> String {
    let Options { seed, seconds, down, changes, kill_every, release, no_build: _ } = options;
    let build = if *release { " --release" } else { "" };
    format!("--seed {seed} --seconds {seconds} --down {down} --changes {changes} --kill-every {kill_every}{build}")
}
