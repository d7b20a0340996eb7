//! All benches, or some, one after the other and unattended. A bench that fails does not keep the next one from running; with a
//! budget none is begun that would probably not end within it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use super::{Bench, Options, Outcome, build, limits, measure, page};
use crate::os;

/// What the limits take.
const LIMITS_MIN: f64 = 1.5;

pub fn run(benches: &[Bench], options: &Options) -> Result<ExitCode> {
    if let Some(name) = options.only.iter().find(|name| benches.iter().all(|bench| bench.name != **name)) {
        bail!("there is no bench {name}; `bench list` names them");
    }
    build(options)?;
    let started = Instant::now();
    let fits = |minutes: f64| {
        options.budget_min.is_none_or(|budget| started.elapsed().as_secs_f64() / 60.0 + minutes <= budget)
    };
    let wanted = |bench: &&Bench| options.only.is_empty() || options.only.iter().any(|name| name == bench.name);
    let mut ended: Vec<Outcome> = Vec::new();
    if options.only.is_empty() && fits(LIMITS_MIN) {
        println!("== limits");
        if let Err(error) = limits::run(options) {
            ended.push(failed("limits", &error));
        }
    }
    for bench in benches.iter().filter(wanted) {
        os::check_interrupted()?;
        if !fits(share(bench, options)) {
            ended.push(Outcome { code: 0, lines: vec![format!("{} left out: no time left", bench.name)] });
            continue;
        }
        println!("== {}", bench.name);
        ended.push(measure(bench, options).unwrap_or_else(|error| failed(bench.name, &error)));
    }
    if !options.debug {
        page()?;
    }
    println!("== after {:.1} minutes", started.elapsed().as_secs_f64() / 60.0);
    ended.iter().flat_map(|outcome| &outcome.lines).for_each(|line| println!("{line}"));
    Ok(ExitCode::from(ended.iter().map(|outcome| outcome.code).max().unwrap_or(0)))
}

/// Minutes of a bench under these options: it was timed with five pairs on two disks.
fn share(bench: &Bench, options: &Options) -> f64 {
    bench.minutes * (options.fsync.len() as f64 / 2.0) * (0.4 + 0.6 * options.pairs as f64 / super::PAIRS as f64)
}

fn failed(name: &str, error: &anyhow::Error) -> Outcome {
    let line = format!("{name} failed: {error:#}");
    println!("{line}");
    Outcome { code: 3, lines: vec![line] }
}
