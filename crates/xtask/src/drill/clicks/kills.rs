//! What is killed on the path of a click, in which order and for how long, and the region in which that happens. Decided here: the order
//! follows from the seed; Redis writes what it holds to its disk, as the charts' Redis does; and nobody meets a limit of the intake, because
//! all visitors of the load have one address.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Options;
use super::told::{PHASE, QUIET};
use crate::drill::load::Load;
use crate::drill::phases::pause;
use crate::ports::Port;
use crate::stack::Stack;
use crate::stack::process::Spec;
use crate::{net, os};

/// Seconds after a process is ready again, in which clients that pause between two tries find it and its breakers close.
const RECONNECTED_S: u64 = 8;
/// More people than a load makes have room in it. An eviction breaks the promise, so this is no way around it.
const REDIS_MEMORY: &str = "2gb";
/// Far above what a load of one machine sends, per minute and at once.
const CLICKS_PER_MINUTE: &str = "60000000";
const CLICKS_AT_ONCE: &str = "1000000";
/// Longest wait until Redis has written down what it held before it was told to.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Victim {
    #[default]
    Intake,
    Broker,
    Scorer,
    Redis,
}

pub const VICTIMS: [Victim; 4] = [Victim::Intake, Victim::Broker, Victim::Scorer, Victim::Redis];

impl Victim {
    /// The process; also the name of the phase.
    pub fn name(self) -> &'static str {
        match self {
            Victim::Intake => "user-serve",
            Victim::Broker => "kafka",
            Victim::Scorer => "personalization-work",
            Victim::Redis => "redis",
        }
    }
}

/// One kill.
#[derive(Debug, Clone, Default)]
pub struct Kill {
    pub round: u64,
    pub victim: Victim,
    /// Seconds between the kill and the start.
    pub paused_s: u64,
    /// From the kill until the process was ready again.
    pub away_s: f64,
    /// Recommendations while Redis was away, by the server's log.
    pub served: Option<Served>,
}

/// How the server answered, by its own clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Served {
    pub answers: u64,
    pub failed: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// The victims of one round, and the seconds that each stays away before it is started again: none, or `down`. Redis always stays away,
/// so that it is seen how pages do without.
fn plan(seed: u64, round: u64, down: u64) -> [(Victim, u64); 4] {
    let mut dice = seed.wrapping_mul(31).wrapping_add(round);
    let mut roll = |sides: usize| {
        // A linear congruential step (Knuth, MMIX): the same seed kills in the same order.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).unwrap_or(0) % sides
    };
    let mut order = VICTIMS;
    for place in (1..order.len()).rev() {
        order.swap(place, roll(place + 1));
    }
    order.map(|victim| {
        let stays = roll(2) == 0 || victim == Victim::Redis;
        (victim, if stays { down } else { 0 })
    })
}

/// Makes of a region that is up one for the campaign.
///
/// # Errors
/// When a process does not come back.
pub fn prepare(stack: &Stack, fsync: &str) -> Result<()> {
    keep_on_disk(stack, fsync)?;
    start(stack, Victim::Intake.name(), fsync)
}

/// Redis writes down what it holds, without a restart: a fresh region has learned its products already.
fn keep_on_disk(stack: &Stack, fsync: &str) -> Result<()> {
    let port = stack.ports.of(Port::Redis);
    for (setting, value) in [("appendfsync", fsync), ("maxmemory", REDIS_MEMORY), ("appendonly", "yes")] {
        let said = net::redis_say(port, &["CONFIG", "SET", setting, value])?;
        if said != "OK" {
            bail!("redis does not take {setting} {value}: {said}");
        }
    }
    let until = Instant::now() + WRITTEN_WITHIN;
    loop {
        let facts = net::redis_say(port, &["INFO", "persistence"])?;
        let is = |line: &str| facts.lines().any(|one| one.trim() == line);
        let settled = is("aof_rewrite_in_progress:0") && is("aof_rewrite_scheduled:0");
        if is("aof_enabled:1") && settled && is("aof_last_bgrewrite_status:ok") {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!("redis has not written down what it holds:\n{facts}");
        }
        os::check_interrupted()?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A process of the region as the campaign runs it.
fn spec(stack: &Stack, name: &str, fsync: &str) -> Result<Spec> {
    let mut spec = stack.spec(name)?;
    if name == Victim::Redis.name() {
        for (flag, value) in [("--appendonly", "yes"), ("--maxmemory", REDIS_MEMORY), ("--appendfsync", fsync)] {
            set(&mut spec.args, flag, value);
        }
    }
    if name == Victim::Intake.name() {
        for (setting, value) in [("PER_MINUTE", CLICKS_PER_MINUTE), ("BURST", CLICKS_AT_ONCE)] {
            spec.env.push((format!("SHOPSPHERE__LIMITS__CLICKS_PER_SOURCE__{setting}"), value.to_owned()));
        }
    }
    Ok(spec)
}

/// The word behind `flag` becomes `value`; a flag that is not there is added.
fn set(args: &mut Vec<String>, flag: &str, value: &str) {
    match args.iter().position(|word| word == flag).and_then(|at| args.get_mut(at + 1)) {
        Some(word) => value.clone_into(word),
        None => args.extend([flag.to_owned(), value.to_owned()]),
    }
}

fn start(stack: &Stack, name: &str, fsync: &str) -> Result<()> {
    let spec = spec(stack, name, fsync)?;
    spec.start(&stack.layout)?;
    spec.wait_ready(&stack.layout)
}

/// All rounds; what was done so far is in `kills` also when something goes wrong.
///
/// # Errors
/// When a process was not there to be killed, or does not come back.
pub fn rounds(stack: &Stack, options: &Options, load: &mut Load, kills: &mut Vec<Kill>) -> Result<()> {
    pause(options.seconds)?;
    for round in 1..=options.rounds {
        for (victim, paused_s) in plan(options.seed, round, options.down) {
            let mut kill = Kill { round, victim, paused_s, ..Kill::default() };
            harm(stack, options, load, &mut kill)?;
            println!(
                "round {round}: kill -9 of {}, started after {paused_s} s, ready {:.1} s after the kill",
                victim.name(),
                kill.away_s
            );
            kills.push(kill);
            pause(options.seconds)?;
        }
    }
    Ok(())
}

fn harm(stack: &Stack, options: &Options, load: &mut Load, kill: &mut Kill) -> Result<()> {
    let name = kill.victim.name();
    load.say(&format!("{PHASE}{name}"))?;
    // The load hears it before anything happens, so that nothing that follows counts as quiet.
    pause(1)?;
    if !stack.kill(name) {
        bail!("{name} was not running when it was to be killed");
    }
    let since = Instant::now();
    let log = stack.layout.log("personalization-serve");
    let from = length(&log);
    pause(kill.paused_s)?;
    if kill.victim == Victim::Redis {
        kill.served = Some(served(&log, from, length(&log))?);
    }
    start(stack, name, &options.fsync)?;
    kill.away_s = since.elapsed().as_secs_f64();
    pause(RECONNECTED_S)?;
    load.say(&format!("{PHASE}{QUIET}"))
}

fn length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |facts| facts.len())
}

/// What stands in this part of the log of the recommendations' server.
fn served(log: &Path, from: u64, to: u64) -> Result<Served> {
    let mut file = File::open(log).with_context(|| format!("open {}", log.display()))?;
    file.seek(SeekFrom::Start(from))?;
    let lines = BufReader::new(file.take(to.saturating_sub(from))).lines();
    Ok(summed(lines.map_while(Result::ok).filter_map(|line| read_answer(&line)).collect()))
}

/// Status and milliseconds of a line that tells of an answered question for recommendations (`chassis/http/observe.rs`).
fn read_answer(line: &str) -> Option<(u64, f64)> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "request answered" || line["http.route"] != "/v1/recommendations" {
        return None;
    }
    Some((line["http.response.status_code"].as_u64()?, line["duration_ms"].as_f64()?))
}

fn summed(answers: Vec<(u64, f64)>) -> Served {
    let failed = answers.iter().filter(|(status, _)| *status != 200).count() as u64;
    let mut times: Vec<f64> = answers.into_iter().map(|(_, ms)| ms).collect();
    times.sort_by(f64::total_cmp);
    let of_hundred = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0.0);
    Served {
        answers: times.len() as u64,
        failed,
        p50_ms: of_hundred(50),
        p99_ms: of_hundred(99),
        max_ms: of_hundred(100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_kills_in_the_same_order_and_each_round_kills_everybody() {
        let rounds = |seed| (1..=20).map(|round| plan(seed, round, 5)).collect::<Vec<_>>();
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
        for round in rounds(7) {
            assert!(VICTIMS.iter().all(|victim| round.iter().any(|(killed, _)| killed == victim)), "{round:?}");
            assert!(round.iter().all(|(victim, away)| *victim != Victim::Redis || *away == 5), "{round:?}");
        }
        let at_once = rounds(7).into_iter().flatten().filter(|(_, away)| *away == 0).count();
        assert!((10..50).contains(&at_once), "{at_once}");
    }

    #[test]
    fn answers_are_read_from_the_servers_log_and_the_slowest_is_found() {
        let line = |status: u64, ms: f64| {
            format!(
                r#"{{"level":"INFO","message":"request answered","http.route":"/v1/recommendations","http.response.status_code":{status},"duration_ms":{ms}}}"#
            )
        };
        let other = r#"{"message":"request answered","http.route":"/v1/admin/experiments/{name}","http.response.status_code":200,"duration_ms":900.0}"#;
        assert_eq!(read_answer(other), None);
        assert_eq!(read_answer("half a li"), None);
        let mut answers: Vec<(u64, f64)> = (1..=99).filter_map(|ms| read_answer(&line(200, f64::from(ms)))).collect();
        // Planted: one answer in a hundred is slow, and is no success.
        answers.extend(read_answer(&line(503, 400.5)));
        let Served { answers, failed, p50_ms, p99_ms, max_ms } = summed(answers);
        assert_eq!((answers, failed), (100, 1));
        assert_eq!(format!("{p50_ms} {p99_ms} {max_ms}"), "50 99 400.5");
        assert_eq!(summed(Vec::new()), Served::default());
    }

    #[test]
    fn a_flag_is_changed_where_it_stands_and_added_where_it_does_not() {
        let mut args = ["--save", "", "--appendonly", "no"].map(str::to_owned).to_vec();
        set(&mut args, "--appendonly", "yes");
        set(&mut args, "--appendfsync", "always");
        assert_eq!(args, ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    }
}
