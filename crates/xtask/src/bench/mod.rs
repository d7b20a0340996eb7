//! `cargo xtask bench`: two things measured side by side in one run; only their ratio is a result. Decided here: which benches
//! there are, their floors, and what ends how: 0 the floor is met, 1 it is missed, 2 the run says nothing, 3 something is missing.
//!
//! No result is believed that does not end with a check of what was promised, and none is published from a machine that others
//! used meanwhile without being called noisy.

mod cpu;
mod orders;
mod quality_recs;
pub mod results;
mod rig;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use self::results::{Report, Run};
pub use self::rig::Fsync;
use self::rig::Rig;
use crate::layout;
use crate::{os, stack::postgres};

/// Pairs of a normal run, and of the one repetition that a wide spread gets.
pub const PAIRS: usize = 5;
const PAIRS_AGAIN: usize = 10;

pub struct Options {
    pub pairs: usize,
    pub fsync: Vec<Fsync>,
    /// Use the programs that are there.
    pub no_build: bool,
    /// Measure once, even if the spread is wide.
    pub once: bool,
    /// Recorded data to judge by, for the benches of quality.
    pub data: Option<std::path::PathBuf>,
}

/// A run that says nothing, with the reason.
#[derive(Debug)]
struct Invalid(String);

impl std::fmt::Display for Invalid {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

struct Bench {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    settings: &'static [&'static str],
    /// With a raw disk, with one of a millisecond.
    floors: (f64, f64),
    /// Orders that may share a commit.
    max_together: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "order-batched",
        ours: "accepted orders per second through HTTP, commits shared",
        theirs: "one-row INSERT transactions per second of pgbench",
        settings: orders::SETTINGS,
        floors: (1.0, 2.0),
        max_together: "64",
    },
    Bench {
        name: "order-vs-pgbench",
        ours: "accepted orders per second through HTTP, a commit for each",
        theirs: "one-row INSERT transactions per second of pgbench",
        settings: orders::SETTINGS,
        floors: (0.4, 0.4),
        max_together: "1",
    },
];

/// Runs `name`: a bench, or `list`, `limits`, `page`.
///
/// # Errors
/// What could not be started or read.
pub fn run(name: &str, options: &Options) -> Result<ExitCode> {
    match name {
        "list" => {
            for bench in BENCHES {
                println!(
                    "{:<18} {} / {}; floors {} raw, {} at 1 ms",
                    bench.name, bench.ours, bench.theirs, bench.floors.0, bench.floors.1
                );
            }
            println!("{:<18} recommendations against VMIS-kNN on recorded visits", quality_recs::NAME);
            Ok(ExitCode::SUCCESS)
        }
        quality_recs::NAME => quality_recs::run(options.data.as_deref(), options.no_build),
        "page" => page().map(|()| ExitCode::SUCCESS),
        "limits" => limits(options).map(|()| ExitCode::SUCCESS),
        name => match BENCHES.iter().find(|bench| bench.name == name) {
            Some(bench) => measure(bench, options),
            None => bail!("there is no bench {name}; `bench list` names them"),
        },
    }
}

fn measure(bench: &Bench, options: &Options) -> Result<ExitCode> {
    if let Some(reason) = missing() {
        println!("{} missing: {reason}", bench.name);
        return Ok(ExitCode::from(3));
    }
    build(options)?;
    let checkout = layout::checkout();
    let mut runs: Vec<Run> = Vec::new();
    for fsync in &options.fsync {
        let floor = if *fsync == Fsync::Raw { bench.floors.0 } else { bench.floors.1 };
        let measured = orders::pairs(*fsync, options.pairs, bench.max_together);
        let (fdatasync_us, pairs) = match measured {
            Err(error) if error.is::<Invalid>() => {
                println!("{} invalid: {error}", bench.name);
                return Ok(ExitCode::from(2));
            }
            measured => measured?,
        };
        let mut run = Run::of(fsync.name(), fdatasync_us, pairs, floor);
        if run.noisy && !options.once {
            println!("{} was noisy: once more with {PAIRS_AGAIN} pairs", fsync.name());
            let (fdatasync_us, pairs) = orders::pairs(*fsync, PAIRS_AGAIN, bench.max_together)?;
            run = Run::of(fsync.name(), fdatasync_us, pairs, floor);
        }
        runs.push(run);
    }
    let versions = [postgres::program("postgres")?.to_string_lossy().into_owned(), "rustc".to_owned()];
    let versions = versions.iter().filter_map(|program| os::output(Command::new(program).arg("--version")).ok());
    let report = Report {
        name: bench.name.to_owned(),
        ours: bench.ours.to_owned(),
        theirs: bench.theirs.to_owned(),
        commit: results::commit(&checkout),
        date: results::date(),
        machine: results::machine(),
        versions: versions.map(|version| version.trim().to_owned()).collect(),
        settings: bench.settings.iter().map(|fact| (*fact).to_owned()).collect(),
        runs,
    };
    let file = report.write(&checkout)?;
    println!("written to {}", file.strip_prefix(&checkout).unwrap_or(&file).display());
    // The run nearest to its floor stands last.
    let mut runs: Vec<&Run> = report.runs.iter().collect();
    runs.sort_by(|one, other| (other.ratio / other.floor).total_cmp(&(one.ratio / one.floor)));
    runs.iter().for_each(|run| println!("{}", run.line(bench.name)));
    Ok(match (runs.iter().any(|run| run.noisy), runs.iter().all(|run| run.met())) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(1),
    })
}

/// What this machine lacks.
fn missing() -> Option<String> {
    let absent = |name: &&&str| os::which(name).is_none();
    if let Some(name) = ["taskset", "gcc", "psql"].iter().find(absent) {
        return Some(format!("{name} is not on this machine"));
    }
    ["pgbench", "pg_test_fsync"].iter().find_map(|name| postgres::program(name).err().map(|error| error.to_string()))
}

fn build(options: &Options) -> Result<()> {
    if options.no_build {
        return Ok(());
    }
    let mut cargo = os::patient("cargo");
    cargo.args(["build", "--release", "--package", "order-payment", "--package", "load"]);
    if !cargo.current_dir(layout::checkout()).status()?.success() {
        bail!("the programs do not build; see the messages above");
    }
    Ok(())
}

/// What this machine can do at best, so that a ratio can be placed.
fn limits(options: &Options) -> Result<()> {
    println!("{}", results::machine());
    for fsync in &options.fsync {
        let rig = Rig::servers(*fsync)?;
        rig.sql(
            "CREATE TABLE bench_insert (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload TEXT NOT NULL)",
        )?;
        println!("{}: fdatasync of 8 kB {:.0} µs", fsync.name(), rig.fdatasync_us);
        for clients in [1, 8, 32] {
            let selects = rig.pgbench("SELECT 1;\n", clients, 3)?;
            let inserts = rig.pgbench(orders::INSERT, clients, 3)?;
            println!(
                "{}: {clients} clients, {selects:.0} SELECT 1 per second, {inserts:.0} one-row INSERT transactions per second",
                fsync.name()
            );
        }
    }
    Ok(())
}

fn page() -> Result<()> {
    let checkout = layout::checkout();
    let file = checkout.join("docs/perf/README.md");
    fs::write(&file, results::page(&results::read_all(&checkout)?))?;
    println!("written to {}", file.strip_prefix(&checkout).unwrap_or(&file).display());
    Ok(())
}
