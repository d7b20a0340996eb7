//! The phases of a drill, in order. Decided here: what is done in each while the load goes on, for how long, and what the phase promises.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Options;
use super::load::Load;
use super::promise::{Promise, StandIn};
use super::region::{BALANCED, Region, SERVING, WORKING};
use super::report::Row;
use super::told::Told;
use crate::os;

/// The load's command of the demo program.
const COMMAND: &str = "drill";
/// Seconds of the load alone, before something is done to the region.
const LEAD_S: u64 = 3;
/// Seconds after a store is ready again, until clients that pause between two tries have found it.
const RECONNECTED_S: u64 = 5;
/// The audit leaves changes of the last two minutes to the pipeline; after this pause it has to judge all of them. It is also the only
/// audit of the drill: the work role makes its own after half an hour, and no work role lives so long here.
const SETTLED_S: u64 = 125;
/// Longest time from the end of the load until what was written is found. A consumer that was killed keeps its partitions for most of a
/// minute.
const FOUND_WITHIN_S: u64 = 120;
/// The same after very many changes and kills.
const ALL_FOUND_WITHIN_S: u64 = 600;

const NOTHING_FAILS: Promise = Promise {
    text: "no search fails, none is empty, all are answered by the index; pages and changes do not fail",
    searches: true,
    stand_in: StandIn::Never,
    pages: true,
    writes: true,
};
const WITHOUT_MONGODB: Promise = Promise {
    text: "search answers all the time, from the index; afterwards pages and changes work by themselves",
    pages: false,
    writes: false,
    ..NOTHING_FAILS
};
const WITHOUT_ELASTICSEARCH: Promise = Promise {
    text: "changes succeed, pages work, search answers from the stand-in and says so; afterwards the index has every change",
    stand_in: StandIn::Expected,
    ..NOTHING_FAILS
};
const WITHOUT_REDIS: Promise = Promise {
    text: "searches and pages are perhaps slower and do not fail; changes need a session and wait for it to come back",
    stand_in: StandIn::Indifferent,
    writes: false,
    ..NOTHING_FAILS
};
const NO_DRIFT: Promise = Promise {
    text: "every change is answered, found, and the same in index and store: drift 0 (what a kill cuts off is counted, not promised)",
    searches: false,
    stand_in: StandIn::Indifferent,
    pages: false,
    writes: true,
};

/// Plays all phases. A broken promise does not end the drill; a region that does not come back does.
///
/// # Errors
/// When a load cannot begin or tells nothing, or somebody interrupts.
pub fn all(region: &Region<'_>, options: &Options) -> Result<Vec<Row>> {
    let rows = [
        phase(region, options, "quiet", &NOTHING_FAILS, |_| {
            pause(options.seconds)?;
            Ok("nothing; two processes serve".to_owned())
        })?,
        phase(region, options, "re-index", &NOTHING_FAILS, |region| reindex(region, options.seconds))?,
        phase(region, options, "rolling restart", &NOTHING_FAILS, |region| rolling(region, options.seconds))?,
        phase(region, options, "MongoDB killed", &WITHOUT_MONGODB, |region| outage(region, "ferretdb", options.down))?,
        phase(region, options, "Elasticsearch killed", &WITHOUT_ELASTICSEARCH, |region| {
            outage(region, "elasticsearch", options.down)
        })?,
        phase(region, options, "Redis killed", &WITHOUT_REDIS, |region| outage(region, "redis", options.down))?,
        many_changes(region, options)?,
    ];
    Ok(rows.into())
}

/// One phase: the load, the harm in the middle of it, what the load tells.
fn phase(
    region: &Region<'_>,
    options: &Options,
    name: &'static str,
    promise: &Promise,
    harm: impl FnOnce(&Region<'_>) -> Result<String>,
) -> Result<Row> {
    let arguments = [("--seed", options.seed), ("--found-within", FOUND_WITHIN_S)];
    let load = Load::start(region.stack, COMMAND, &words(&arguments))?;
    pause(LEAD_S)?;
    let harmed = harm(region);
    os::check_interrupted()?;
    Ok(row(name, promise, harmed, load.finish()?))
}

/// The row of a phase. Harm that could not be done as meant breaks its promise, because nothing was shown.
fn row(name: &'static str, promise: &Promise, harmed: Result<String>, told: Told) -> Row {
    let mut broken = promise.broken_by(&told);
    let done = match harmed {
        Ok(done) => done,
        Err(error) => {
            broken.push(format!("{error:#}"));
            "not as planned".to_owned()
        }
    };
    let row = Row { name, promise: promise.text, done, broken, told };
    println!("{}", row.line());
    row
}

fn reindex(region: &Region<'_>, seconds: u64) -> Result<String> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut indexes = vec![region.reindex()?];
    while Instant::now() < until {
        indexes.push(region.reindex()?);
    }
    let last = indexes.last().map(String::as_str).unwrap_or_default();
    Ok(format!("`catalog migrate reindex` {} times one after the other; the alias names {last} now", indexes.len()))
}

fn rolling(region: &Region<'_>, seconds: u64) -> Result<String> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut restarts = 0;
    while restarts == 0 || Instant::now() < until {
        for name in SERVING {
            region.restart(name)?;
        }
        region.restart(WORKING)?;
        restarts += 1;
    }
    Ok(format!(
        "{restarts} times: SIGTERM and start of {}, {} and {WORKING} one after the other, each ready before the next",
        SERVING[0], SERVING[1]
    ))
}

/// Without `store` for a while, and in the middle of it one of the serving processes begins anew: an outage is when processes
/// are restarted, by people and by their platform.
fn outage(region: &Region<'_>, store: &str, down: u64) -> Result<String> {
    region.kill(store)?;
    let since = Instant::now();
    pause(down / 2)?;
    let restarted = region.restart(SERVING[1]);
    // The store comes back whatever became of the process, else every later phase is lost.
    let waited = pause((down / 2).saturating_sub(BALANCED.as_secs()));
    region.start(store)?;
    let away = since.elapsed().as_secs();
    waited?;
    if let Err(error) = restarted {
        // It has what it needs now.
        region.start(SERVING[1])?;
        return Err(error.context(format!("{} did not become ready without {store}", SERVING[1])));
    }
    pause(RECONNECTED_S)?;
    let restart = format!("{} restarted and ready without it", SERVING[1]);
    Ok(format!("kill -9 of {store}, {down} s without it, {restart}, start; ready again {away} s after the kill"))
}

/// Random changes, each repeated until it is answered, while processes of ours are killed; then the audit.
fn many_changes(region: &Region<'_>, options: &Options) -> Result<Row> {
    let arguments =
        [("--seed", options.seed), ("--found-within", ALL_FOUND_WITHIN_S), ("--changes", options.changes as u64)];
    let load = Load::start(region.stack, COMMAND, &words(&arguments))?;
    let killed = kill_until_the_end(region, options, &load);
    os::check_interrupted()?;
    let told: Told = load.finish()?;
    pause(SETTLED_S)?;
    let made = told.writes.asked;
    let audited = killed.and_then(|kills| {
        anyhow::ensure!(made == options.changes, "only {made} of {} changes were made", options.changes);
        let audit = region.audit()?;
        anyhow::ensure!(audit.differed == 0, "drift {}: index and store differ", audit.differed);
        anyhow::ensure!(
            audit.under_way == 0,
            "{} products still differed and were too young to judge",
            audit.under_way
        );
        anyhow::ensure!(audit.compared > 0, "the audit compared nothing");
        anyhow::ensure!(kills > 0 || options.kill_every == 0, "nothing was killed, the changes were too quick");
        Ok(format!(
            "{made} changes, {kills} times kill -9 of {}, {} or {WORKING}; drift 0 of {} products compared",
            SERVING[0], SERVING[1], audit.compared
        ))
    });
    Ok(row("random changes with kills", &NO_DRIFT, audited, told))
}

/// Gives how many processes were killed and started again.
fn kill_until_the_end(region: &Region<'_>, options: &Options, load: &Load) -> Result<usize> {
    let victims = [WORKING, SERVING[0], SERVING[1]];
    let (mut kills, mut last) = (0, Instant::now());
    while !load.has_ended() {
        os::check_interrupted()?;
        std::thread::sleep(Duration::from_millis(200));
        if options.kill_every > 0 && last.elapsed() >= Duration::from_secs(options.kill_every) {
            let victim = victims[kills % victims.len()];
            region.kill(victim)?;
            region.start(victim)?;
            kills += 1;
            last = Instant::now();
        }
    }
    Ok(kills)
}

pub(super) fn words(arguments: &[(&str, u64)]) -> Vec<String> {
    arguments.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect()
}

pub(crate) fn pause(seconds: u64) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        os::check_interrupted()?;
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
