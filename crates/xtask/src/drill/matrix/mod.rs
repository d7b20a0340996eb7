//! `cargo xtask matrix`: an upgrade from an earlier commit (N) to this one (N+1) and back, service by service, under load, on a region of
//! its own; no request may fail, no event may be lost and none may be unreadable. The report is written to `docs/drills`.
//!
//! Decided here: the steps and their order. Each has a load and a promise of its own, so that the report names the step that broke
//! something. Where N comes from is decided in `before`, how one process takes another's place in `rolling::fleet`, what is promised in
//! `verdict`, what is asked in the demo program (`tools/demo/src/rolling.rs`).

mod before;
mod report;
mod unreadable;
mod verdict;

use std::time::Instant;

use anyhow::Result;

use super::load::Load;
use super::phases::{pause, words};
use super::rolling::fleet::{Fleet, Step};
use super::rolling::told::{Told, clicks_of};
use super::rolling::topic;
use super::rolling::verdict::Recorded;
use crate::os;
use crate::stack::services::{self, SERVICES, Service};
use crate::stack::{self, Stack};
use unreadable::Unreadable;

/// Ports and state of the region; the benches have 6000.
const OFFSET: u16 = 9000;
const STATE: &str = ".dev/matrix";
/// The load's command of the demo program.
const COMMAND: &str = "rolling";
/// Processes of each service that work: one of each release has records of the same topics.
const WORKING: u16 = 2;
/// Processes of a service that serve or work.
const OF_A_SERVICE: usize = 4;
/// As the charts have it (`backoffLimit`), and seconds before each, which Kubernetes begins with as well.
const MIGRATION_RETRIES: usize = 3;
const RETRY_AFTER_S: u64 = 10;
/// Seconds of a step's load before anything is done.
const ALONE_S: u64 = 5;

pub struct Options {
    /// The commit that N is; otherwise the newest tag, otherwise a commit that is fixed.
    pub before: Option<String>,
    /// Same seed, same questions and orders.
    pub seed: u64,
    /// Seconds that a mixture is kept.
    pub mixed: u64,
    pub release: bool,
    /// The programs of N+1 are there and are those of this commit.
    pub no_build: bool,
}

/// Which way a service goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Back,
    UpAgain,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing: programs and schema are N.
    Alone,
    /// N+1 migrates; the programs stay N.
    Schema,
    /// The processes of one service are replaced, first one of each role, then the others.
    Service(Way, &'static str),
}

impl Stage {
    fn name(self) -> String {
        match self {
            Stage::Alone => "N alone".to_owned(),
            Stage::Schema => "schema to N+1".to_owned(),
            Stage::Service(Way::Up, service) => format!("{service} to N+1"),
            Stage::Service(Way::Back, service) => format!("{service} back to N"),
            Stage::Service(Way::UpAgain, service) => format!("{service} to N+1 again"),
        }
    }
}

/// All steps. Services go in the same order each time, so that each of them was ahead of the others and behind them.
fn stages() -> Vec<Stage> {
    let moves = [Way::Up, Way::Back, Way::UpAgain]
        .into_iter()
        .flat_map(|way| SERVICES.iter().map(move |service| Stage::Service(way, service.name)));
    [Stage::Alone, Stage::Schema].into_iter().chain(moves).collect()
}

/// What was done in a step and what was seen.
struct Row {
    stage: Stage,
    steps: Vec<Step>,
    told: Told,
    recorded: Recorded,
    unreadable: Unreadable,
    /// How the promise was broken; empty when it was held.
    broken: Vec<String>,
}

/// Runs the upgrade. `false`: a promise is broken, or not every step was tried.
///
/// # Errors
/// When there is no N, the region cannot be started, or the demo program does not run.
pub fn run(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let after = super::region_at(STATE, OFFSET, options.release)?;
    let commit = before::chosen(&after.layout.checkout, options.before.as_deref())?;
    let before = after.with_services_of(before::programs(&after, &commit)?);
    // What an earlier run has left is migrated and has topics; N begins with nothing.
    after.down();
    stack::wipe(&after.layout)?;
    let rows = super::while_up(&before, options.no_build, |before| drill(before, &after, options))?;
    let changed = report::Changed {
        migrations: before::changed(&after.layout.checkout, &commit, "migrations")?,
        messages: before::changed(&after.layout.checkout, &commit, "proto")?,
    };
    let seconds = begun.elapsed().as_secs_f64();
    super::write("matrix", &report::page(options, &commit, &changed, &rows, seconds)?)?;
    for row in &rows {
        row.broken.iter().for_each(|broken| println!("BROKEN: {}: {broken}", row.stage.name()));
    }
    Ok(report::held(&rows))
}

fn drill(before: &Stack, after: &Stack, options: &Options) -> Result<Vec<Row>> {
    let mut upgrade = Upgrade { before, after, fleet: Fleet::start(before, WORKING)?, mixed: options.mixed };
    let mut rows = Vec::new();
    println!("{}", report::HEAD);
    for (number, stage) in (0..).zip(stages()) {
        let (row, as_meant) = upgrade.tried(stage, options.seed + number)?;
        println!("{}", report::line(&row));
        let goes_on = as_meant && verdict::goes_on(&row.told);
        rows.push(row);
        if !goes_on {
            break;
        }
    }
    Ok(rows)
}

struct Upgrade<'a> {
    before: &'a Stack,
    after: &'a Stack,
    fleet: Fleet<'a>,
    mixed: u64,
}

impl Upgrade<'_> {
    /// One step under a load of its own; `false` when it was not done as meant, and nothing can come after it.
    fn tried(&mut self, stage: Stage, seed: u64) -> Result<(Row, bool)> {
        let known = unreadable::count(self.before)?;
        let load = Load::start(self.before, COMMAND, &words(&[("--seed", seed)]))?;
        let (mut steps, mut others) = (Vec::new(), Vec::new());
        let done = self.done(stage, &mut steps, &mut others);
        os::check_interrupted()?;
        let told: Told = load.finish()?;
        let recorded = topic::recorded(self.before, &clicks_of(&told.run))?;
        let unreadable = unreadable::grown(&known, &unreadable::count(self.before)?);
        let mut broken = verdict::broken(&told, &recorded, &unreadable);
        others.extend(done.err().map(|error| format!("{error:#}")));
        others.extend(self.fleet.gone().into_iter().map(|name| format!("{name} does not run any more")));
        let as_meant = others.is_empty();
        broken.extend(others);
        Ok((Row { stage, steps, told, recorded, unreadable, broken }, as_meant))
    }

    /// As the Job of the charts does: a migration that does not get its lock gives up for those who wait behind it, and is tried again.
    fn migrate(&self, service: &Service) -> Result<()> {
        let mut retries = 0;
        loop {
            match services::migrate(self.after, service) {
                Err(error) if retries < MIGRATION_RETRIES => {
                    println!("{} did not migrate and is tried again: {error:#}", service.name);
                    retries += 1;
                    pause(RETRY_AFTER_S)?;
                }
                migrated => return migrated,
            }
        }
    }

    fn done(&mut self, stage: Stage, steps: &mut Vec<Step>, others: &mut Vec<String>) -> Result<()> {
        pause(ALONE_S)?;
        match stage {
            Stage::Alone => pause(self.mixed),
            Stage::Schema => {
                // Their settings have to be written first.
                services::specs(self.after)?;
                for service in SERVICES {
                    self.migrate(service)?;
                }
                pause(self.mixed)
            }
            Stage::Service(way, service) => {
                let to = if way == Way::Back { self.before } else { self.after };
                let program = services::binary(to, service)?;
                for wanted in [OF_A_SERVICE / 2, OF_A_SERVICE] {
                    steps.extend(self.fleet.replace_one_of_each(service, to)?);
                    let running = self.fleet.programs(service);
                    others.extend(verdict::another_mixture(service, &running, &program, wanted, OF_A_SERVICE));
                    pause(self.mixed)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_service_goes_up_and_back_and_up_and_is_once_ahead_of_every_other_and_once_behind() {
        let stages = stages();
        assert_eq!(stages[..2], [Stage::Alone, Stage::Schema]);
        assert_eq!(stages.len(), 2 + 3 * SERVICES.len());
        let (mut new, mut seen): (BTreeSet<&str>, BTreeSet<(&str, &str)>) = (BTreeSet::new(), BTreeSet::new());
        for stage in stages {
            let Stage::Service(way, service) = stage else { continue };
            let moved = if way == Way::Back { new.remove(service) } else { new.insert(service) };
            assert!(moved, "{} changes nothing", stage.name());
            let others = SERVICES.iter().map(|other| other.name).filter(|other| *other != service);
            for other in others.filter(|other| new.contains(other) != new.contains(service)) {
                let (ahead, behind) = if new.contains(service) { (service, other) } else { (other, service) };
                seen.insert((ahead, behind));
            }
        }
        assert_eq!(new.len(), SERVICES.len(), "it ends with N+1");
        assert_eq!(seen.len(), SERVICES.len() * (SERVICES.len() - 1), "{seen:?}");
    }
}
