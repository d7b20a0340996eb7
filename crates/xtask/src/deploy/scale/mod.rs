//! `cargo xtask scale`: five and ten times the load at every site, reckoned from its rendered objects and from how long our programs start:
//! time to enough replicas, what waits meanwhile, time until it is done. The tables are printed and written to `docs/drills`.
//!
//! Decided here: the order of things, and which steps are reckoned. How a workload grows is decided in `simulation`, what is promised in
//! `verdict`.

pub mod measure;
mod page;
pub mod start_times;
pub mod verdict;

use std::path::Path;

use anyhow::{Context as _, Result};

use super::objects::{self, Rendered};
use super::simulation::{Size, Workload, alone, together};
use crate::drill;
use crate::layout;
use crate::render::topology::{self, Topology};
use start_times::StartTimes;
use verdict::{FIVE, Step};

/// Times of load that are tried.
const TIMES: [u32; 2] = [FIVE, 10];

/// What was reckoned for one site.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    pub name: String,
    pub standby: bool,
    pub room: Size,
    pub steps: Vec<Step>,
    /// How promises were broken; empty when they were held, and at a standby.
    pub broken: Vec<String>,
}

/// Prints and writes the tables. `false`: a promise is broken.
///
/// # Errors
/// When objects or times cannot be read, or the report cannot be written.
pub fn run() -> Result<bool> {
    let root = layout::checkout();
    let times = StartTimes::read(&root)?;
    let sites = sites(&objects::read(&root)?, &topology::read(&root)?, &times)?;
    let tables = page::tables(&sites);
    println!("{tables}");
    drill::write("scale", &page::page(&sites, &times, &tables)?)?;
    let broken: Vec<String> =
        sites.iter().flat_map(|site| site.broken.iter().map(|broken| format!("{}: {broken}", site.name))).collect();
    broken.iter().for_each(|broken| println!("BROKEN: {broken}"));
    Ok(broken.is_empty())
}

/// Every site that has something to grow; headquarters has not.
///
/// # Errors
/// When an object does not say what is needed.
pub fn sites(rendered: &[Rendered], topology: &Topology, times: &StartTimes) -> Result<Vec<Site>> {
    let mut sites = Vec::new();
    for (region, place) in topology.sites() {
        let objects = rendered.iter().find(|rendered| rendered.site == place.name);
        let objects = objects.with_context(|| format!("{} is not rendered", place.name))?;
        let standby = region.standby().name == place.name;
        sites.push(site(objects, standby, times).with_context(|| place.name.clone())?);
    }
    Ok(sites)
}

fn site(rendered: &Rendered, standby: bool, times: &StartTimes) -> Result<Site> {
    let workloads = Workload::all(&rendered.objects, times)?;
    let room = Size::room(&rendered.objects);
    let mut steps = Vec::new();
    for times in TIMES {
        let courses = workloads.iter().map(|workload| alone(workload, room, times)).collect();
        steps.push(Step { times, alone: true, courses });
        steps.push(Step { times, alone: false, courses: together(&workloads, room, times) });
    }
    let broken = if standby { Vec::new() } else { steps.iter().flat_map(verdict::broken).collect() };
    Ok(Site { name: rendered.site.clone(), standby, room, steps, broken })
}

/// `--measure`: starts programs beside the region of `stack` and writes the times down.
///
/// # Errors
/// As [`measure::measure`].
pub fn write_start_times(stack: &crate::stack::Stack, starts: usize, root: &Path) -> Result<()> {
    let times = measure::measure(stack, starts)?;
    times.write(root)?;
    println!("written to {}", start_times::FILE);
    Ok(())
}
