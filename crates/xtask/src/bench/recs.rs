//! Recommendations while clicks come in: how long an answer takes beside the least that one can cost, and how soon a click changes one.
//!
//! The service's code runs in three programs, as in the fleet: intake, worker and answers (`services/personalization/examples/bench_stream.rs`,
//! `services/user/examples/bench_intake.rs`). Decided here: who runs where, and what is a sound answer. Beside `gorse`, which asks the same
//! programs.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::ingest::intake_words;
use super::intake::{self, CONNECTIONS, OUR_PORT};
use super::program::{self, Program, TESTED};
use super::results::{Pair, Side};
use super::rig::{self, Fsync, Rig};
use super::stream::{PREFIX, brokers, redis, words};
use super::{Invalid, Measured, Options, cpu};
use crate::{net, os, stack};

/// Ports above the bench's offset: our answers, and the least.
pub const ANSWERS_PORT: u16 = 8_131;
const HELLO_PORT: u16 = 8_132;
/// Visitors with a profile: as many as the bodies have.
pub const VISITORS: u64 = 500;
/// Requests of 20 events in each second while answers are measured: some work for the learner, and no crowd on the processor that it
/// shares with the generator.
const INGEST: u64 = 50;
/// How long the learner may take to know the visitors.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
/// Visitors whose answers are looked at in the end.
const LOOKED_AT: u64 = 25;
/// Visitors that click in each second.
const CLICKS: f64 = 50.0;
/// What a person may wait for a click to show.
const PROMISED_MS: f64 = 1_000.0;

pub const REDIS_GET_SETTINGS: &[&str] = &[
    "GET /v1/recommendations for 500 visitors in turn, each with a profile of 20 clicks, over 64 kept-alive connections in open loop at half of what saturates the slower; lists of 20 products out of 997",
    "ours: the personalization service's router behind chassis' server, its store, its index of visits and its popular lists, one worker thread; visitors without a login; a visitor who has not clicked since gets the list of their session, as in the service",
    "against: a server in Rust (`load hello`) on one thread that asks Redis one GET of 400 bytes for the visitor and answers with as many bytes as ours",
    "meanwhile, on both sides: 1,000 events a second through the intake into the worker, which folds them",
    "checked in the end: answers are personal, full and not degraded",
    "processor 0: the server that answers; the others: generator, broker, Redis, intake, worker",
];

pub const CLICK_SETTINGS: &[&str] = &[
    "50 new visitors a second, each of whom is recommended something, clicks on a product, and asks every 5 ms until the answer is made from a profile and has other products: from the 202 of the click to the end of that answer",
    "intake, worker and answers as in the service, one thread each for what is measured, with their default settings; one broker, so replication 1",
    "against: one second, which is promised; there is no other side",
    "processor 0: intake, worker and answers; the others: generator, broker, Redis",
];

pub fn vs_redis_get(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let fleet = Fleet::open(options, &rig::others())?;
    fleet.acquaint()?;
    let bytes = net::http_get(fleet.port(ANSWERS_PORT), &path(0))?.body.len();
    let hello = fleet.hello(bytes)?;
    let servers = [(&fleet.answers, ANSWERS_PORT), (&hello, HELLO_PORT)];
    let all = [&fleet.answers, &hello, &fleet.intake, &fleet.worker];
    let mut saturated = Vec::new();
    for (server, port) in servers {
        fleet.load(&all, server, port, options.warm_up_s, None)?;
        saturated.push(number(&fleet.load(&all, server, port, options.warm_up_s, None)?.0, "answered_per_s")?);
    }
    let rate = saturated.iter().copied().fold(f64::INFINITY, f64::min) / 2.0;
    let turn = |(server, port): (&Program, u16)| {
        abba::in_time(|| {
            let (said, used) = fleet.load(&all, server, port, options.side_s, Some(rate))?;
            let per_cpu_second = number(&said, "answered")? / used.tested.max(0.01);
            let side = |p99| Side { per_second: p99, per_cpu_second, cpu: used.by.clone() };
            Ok(said["p99_ms"].as_f64().map(|p99| Turn { side: side(p99), foreign: used.foreign }))
        })
    };
    let pairs = abba::pairs(count, ("ms", Better::Less), &mut || turn(servers[0]), &mut || turn(servers[1]))?;
    let facts = vec![
        format!("saturated at {:.0} and {:.0} answers per second; measured at {rate:.0}", saturated[0], saturated[1]),
        fleet.personal()?,
    ];
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

pub fn click_to_answer(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let fleet = Fleet::open(options, TESTED)?;
    fleet.acquaint()?;
    let turn = || abba::in_time(|| fleet.clicks(options.side_s * 2));
    turn()?;
    let (mut pairs, mut middles) = (Vec::new(), Vec::new());
    for number in 0..count {
        os::check_interrupted()?;
        let (ours, foreign, middle) = turn()?;
        let ratio = PROMISED_MS / ours.per_second;
        println!(
            "pair {}: {:.0} ms until an answer changed, in the middle {middle:.0} ms",
            number + 1,
            ours.per_second
        );
        let theirs = Side { per_second: PROMISED_MS, cpu: Vec::new(), per_cpu_second: 0.0 };
        pairs.push(Pair { ours, theirs, ratio, foreign });
        middles.push(middle);
    }
    middles.sort_by(f64::total_cmp);
    let middle = middles.get(middles.len() / 2).copied().unwrap_or(0.0);
    Ok(Measured {
        fdatasync_us: 0.0,
        pairs,
        facts: vec![format!("half of the clicks changed the answer within {middle:.0} ms")],
    })
}

/// Everything from the click to the answer.
pub struct Fleet {
    pub rig: Rig,
    pub folder: PathBuf,
    pub intake: Program,
    pub worker: Program,
    pub answers: Program,
}

impl Fleet {
    /// Intake and worker run on `processors`, the answers on that of what is tested.
    pub fn open(options: &Options, processors: &str) -> Result<Self> {
        let rig = Rig::bare(options, 0)?;
        stack::wipe(&rig.stack.layout)?;
        rig.broker()?;
        rig.start(rig.stack.server("redis")?, None)?;
        let folder = rig.stack.layout.state.join("recs");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("bodies"), intake::bodies()?)?;
        let paths: Vec<String> = (0..VISITORS).map(path).collect();
        fs::write(folder.join("paths"), paths.join("\n"))?;
        let offset = rig.stack.ports.offset();
        let intake = Program::start("intake", processors, &intake_words(&rig, OUR_PORT + offset, 1), &folder)?;
        let work = words(&rig, &["work", &brokers(&rig), PREFIX, &redis(&rig)]);
        let worker = Program::start("worker", processors, &work, &folder)?;
        let port = (ANSWERS_PORT + offset).to_string();
        let serve = words(&rig, &["serve", &brokers(&rig), PREFIX, &redis(&rig), &port]);
        let answers = Program::start("answers", TESTED, &serve, &folder)?;
        Ok(Self { rig, folder, intake, worker, answers })
    }

    pub fn port(&self, place: u16) -> u16 {
        place + self.rig.stack.ports.offset()
    }

    /// Every visitor clicks, and is known when this ends.
    pub fn acquaint(&self) -> Result<()> {
        let mut load = self.posts();
        load.arg("--once");
        let said: Value = serde_json::from_str(&os::output(&mut load)?)?;
        if said["others"]["202"].as_u64() != Some(VISITORS) {
            bail!(Invalid(format!("not every click was accepted: {said}")));
        }
        let began = Instant::now();
        for visitor in 0..VISITORS {
            while !personal(&net::http_get(self.port(ANSWERS_PORT), &path(visitor))?.body) {
                os::check_interrupted()?;
                if began.elapsed() > KNOWN_WITHIN {
                    bail!(Invalid(format!("visitor {visitor} is not known after {} s", KNOWN_WITHIN.as_secs())));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn posts(&self) -> Command {
        let mut load = self.rig.load();
        load.args(["pages", "--address", &format!("127.0.0.1:{}", self.port(OUR_PORT)), "--post-to", "/v1/events"]);
        load.args(["--varying", "--paths"]).arg(self.folder.join("bodies"));
        load
    }

    fn hello(&self, bytes: usize) -> Result<Program> {
        let load = self.rig.stack.layout.binaries(self.rig.stack.release).join("load").display().to_string();
        let (port, paths) = (self.port(HELLO_PORT).to_string(), self.folder.join("paths").display().to_string());
        let (redis, bytes) = (redis(&self.rig), bytes.to_string());
        let words = [load.as_str(), "hello", "--port", &port, "--redis", &redis, "--paths", &paths, "--bytes", &bytes];
        Program::start("hello", TESTED, &words.map(str::to_owned), &self.folder)
    }

    /// One run of the generator while clicks come in.
    fn load(
        &self,
        all: &[&Program],
        server: &Program,
        port: u16,
        seconds: u64,
        rate: Option<f64>,
    ) -> Result<(Value, cpu::Used)> {
        let mut ask = self.rig.load();
        ask.args(["pages", "--address", &format!("127.0.0.1:{}", self.port(port)), "--varying", "--paths"]);
        ask.arg(self.folder.join("paths")).args(["--connections", CONNECTIONS, "--seconds", &seconds.to_string()]);
        if let Some(rate) = rate {
            ask.args(["--rate", &format!("{rate:.0}")]);
        }
        let mut clicks = self.posts();
        clicks.args(["--connections", "8", "--rate", &INGEST.to_string(), "--seconds", &seconds.to_string()]);
        let work = || {
            let ingest = Background::start(&mut clicks)?;
            let said = os::output(&mut ask)?;
            ingest.end()?;
            anyhow::Ok(said)
        };
        let parties = || program::parties(self.rig.parties("load"), all);
        let (said, used) = cpu::watched(&parties, &[server.name], work)?;
        let said: Value = serde_json::from_str(&said)?;
        if said["others"].as_object().is_some_and(|others| !others.is_empty()) {
            bail!(Invalid(format!("not every answer was a list: {}", said["others"])));
        }
        Ok((said, used))
    }

    /// A fast list that is nobody's would be no answer.
    fn personal(&self) -> Result<String> {
        for visitor in 0..LOOKED_AT {
            let answer = net::http_get(self.port(ANSWERS_PORT), &path(visitor * VISITORS / LOOKED_AT))?;
            if answer.status != 200 || !personal(&answer.body) {
                bail!(Invalid(format!("an answer is not personal: {}", answer.body)));
            }
        }
        Ok(format!("{LOOKED_AT} answers were looked at in the end: all personal, full and not degraded"))
    }

    /// The 99th percentile of new visitors, others' share of the machine, and the median. Nothing when the generator ran late.
    fn clicks(&self, seconds: u64) -> Result<Option<(Side, f64, f64)>> {
        let mut load = self.rig.load();
        load.args(["clicks", "--intake", &format!("127.0.0.1:{}", self.port(OUR_PORT))]);
        load.args(["--answers", &format!("127.0.0.1:{}", self.port(ANSWERS_PORT))]);
        load.args(["--rate", &CLICKS.to_string(), "--seconds", &seconds.to_string()]);
        let all = [&self.intake, &self.worker, &self.answers];
        let parties = || program::parties(self.rig.parties("load"), &all);
        let (said, used) = cpu::watched(&parties, &["intake", "worker", "answers"], || os::output(&mut load))?;
        let said: Value = serde_json::from_str(&said)?;
        let per_cpu_second = CLICKS * seconds as f64 / used.tested.max(0.01);
        let side = |p99| Side { per_second: p99, per_cpu_second, cpu: used.by.clone() };
        let both = said["p99_ms"].as_f64().zip(said["p50_ms"].as_f64());
        Ok(both.map(|(p99, p50)| (side(p99), used.foreign, p50)))
    }
}

/// A generator beside the one that measures; it ends with this.
struct Background(Child);

impl Background {
    fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start the clicks")?))
    }

    /// It has as long to go as the other one.
    fn end(mut self) -> Result<()> {
        if !self.0.wait()?.success() {
            bail!(Invalid("the clicks beside the questions ended early".to_owned()));
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A visitor of the bodies.
pub fn visitor(number: u64) -> String {
    format!("0191f3f0-0000-7000-8000-{number:012x}")
}

pub fn path(number: u64) -> String {
    format!("/v1/recommendations?visitor_id={}", visitor(number))
}

/// Made from a profile with everything there is, and not empty.
pub fn personal(body: &str) -> bool {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    answer["profile_age_ms"].is_u64()
        && answer["degraded"] == false
        && answer["level"] == "full"
        && answer["items"].as_array().is_some_and(|items| !items.is_empty())
}

fn number(said: &Value, key: &str) -> Result<f64> {
    said[key].as_f64().with_context(|| format!("{key} is missing in {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_for_everybody_or_half_a_list_is_not_personal() {
        let sound = r#"{"items":[{"sku":"A"}],"profile_age_ms":3,"degraded":false,"level":"full"}"#;
        assert!(personal(sound));
        for (part, other) in [
            (r#","profile_age_ms":3"#, ""),
            (r#""degraded":false"#, r#""degraded":true"#),
            (r#""level":"full""#, r#""level":"trending""#),
            (r#"{"sku":"A"}"#, ""),
            ("{\"items\"", "items"),
        ] {
            assert!(!personal(&sound.replace(part, other)), "{part}");
        }
    }

    #[test]
    fn the_visitors_that_are_asked_for_are_those_that_click() {
        let bodies = intake::bodies().unwrap();
        assert_eq!(bodies.lines().count() as u64, VISITORS);
        for (visitor, body) in (0..).zip(bodies.lines()) {
            let body: Value = serde_json::from_str(body).unwrap();
            assert!(path(visitor).ends_with(body["visitor_id"].as_str().unwrap()));
        }
    }
}
