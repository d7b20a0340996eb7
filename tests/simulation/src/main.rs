//! `simulation --seeds N --from M` plays schedules and prints how fast, what was seen and what broke; `--seed N --trace` plays
//! one again and tells it.

use std::process::ExitCode;

use clap::Parser;
use simulation::campaign::{self, Campaign};
use simulation::run;

/// Plays the order saga from seeds.
#[derive(Parser)]
struct Options {
    /// How many schedules; `SIMULATION_SEEDS` sets it for a nightly run.
    #[arg(long, env = "SIMULATION_SEEDS", default_value_t = 20_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads; each plays whole schedules.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Play this one only.
    #[arg(long)]
    seed: Option<u64>,
    /// Faults to leave out of it, as bits.
    #[arg(long, default_value_t = 0)]
    without: u64,
    /// Tell what happens in it.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.seed {
        Some(seed) => one(seed, options.without, options.trace),
        None => many(&options),
    }
}

fn one(seed: u64, without: u64, readable: bool) -> ExitCode {
    let outcome = run::run(seed, without, readable);
    outcome.lines.iter().for_each(|line| println!("{line}"));
    for (fault, fired) in &outcome.faults {
        println!("{} {fault}", if *fired { "fault" } else { "fault that never came to it" });
    }
    println!("seed {seed}: {} steps, trace hash {:016x}", outcome.polls, outcome.hash);
    match outcome.broken {
        None => {
            println!("everything held");
            ExitCode::SUCCESS
        }
        Some(broken) => {
            println!("BROKEN {broken}");
            ExitCode::FAILURE
        }
    }
}

fn many(options: &Options) -> ExitCode {
    let report = campaign::run(&Campaign { from: options.from, seeds: options.seeds, jobs: options.jobs });
    println!("{report}");
    if report.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
