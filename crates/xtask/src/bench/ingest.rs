//! Clicks accepted per processor second by two HTTP servers in front of one broker: our intake against the engine of Redpanda Connect,
//! and our intake on two processors against itself on one.
//!
//! Both sides get the same requests from the same generator, and both answer when the broker has acknowledged. Beside `intake`, which
//! measures against a program that speaks no HTTP.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::intake::{self, CONNECTIONS, EVENTS, OUR_PORT};
use super::program::{self, Program, TESTED};
use super::results::Side;
use super::rig::{self, Fsync, Rig};
use super::stream::brokers;
use super::{Invalid, Measured, Options, Skipped, cpu, peers};
use crate::layout::{Layout, own};
use crate::{net, os, stack};

/// The version that `tools/peers/connect/go.mod` names; another one is another folder in the cache.
const CONNECT: &str = "4.60.0";
/// Modules and build cache are many times as large as the program.
const CONNECT_MEGABYTES: u64 = 2_500;
const SECOND_PORT: u16 = 8_122;
/// How long the peer may take to listen.
const PEER_TRIES: u32 = 100;
const COUNT_WITHIN: Duration = Duration::from_secs(30);
const UNIT: &str = "acknowledged events per processor second";

const BOTH: [&str; 3] = [
    "one Kafka broker on the processors of the generator, so replication 1; 24 partitions, acks=all, zstd level 1, linger 5 ms, idempotent; each request of 20 events is one record with the visitor as its key; 256 kept-alive connections in closed loop",
    "ours: the user service's router, use case and producer behind chassis' server: every event is parsed, judged and written again; visitors without a login, limits that nobody meets",
    "values are acknowledged events per processor second of the tested process alone; checked in the end: the topics have a record for each request that was accepted",
];

pub const CONNECT_SETTINGS: &[&str] = &[
    BOTH[0],
    BOTH[1],
    "against: the engine of Redpanda Connect (benthos v4.60.0, MIT) with its http_server, and an output of ours on franz-go 1.22.3 that does what kafka_franz does: Connect's own module is not to be had; it reads the visitor out of the body for the key and passes the body on as it is; 256 batches in flight, one pipeline thread, a Go program on one processor",
    BOTH[2],
    "processor 0: the tested process; the others: broker and generator",
];

pub const CORES_SETTINGS: &[&str] = &[
    BOTH[0],
    "ours: the intake with two runtimes of one thread each on processors 0 and 1, which broker and generator use as well",
    "against: the intake with one runtime on processor 0",
    "values are acknowledged events per processor second of the intake alone: 1.00 would mean that the second processor does as much as the first",
    BOTH[2],
];

pub fn vs_connect(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let ours = Server::ours(&bench, "intake", OUR_PORT, TESTED, 1)?;
    let topic = ours.program.told("topic")?;
    let theirs = bench.connect(&topic)?;
    bench.pairs(options, count, (&ours, &theirs), Some(&topic))
}

pub fn two_cores(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let two = Server::ours(&bench, "intake", OUR_PORT, "0-1", 2)?;
    let one = Server::ours(&bench, "single-intake", SECOND_PORT, TESTED, 1)?;
    bench.pairs(options, count, (&two, &one), None)
}

struct Bench {
    rig: Rig,
    folder: PathBuf,
}

struct Server {
    program: Program,
    port: u16,
    /// What it answers when it accepts.
    accepts: u64,
    requests: Cell<u64>,
}

impl Server {
    fn ours(bench: &Bench, name: &'static str, port: u16, processors: &str, threads: usize) -> Result<Self> {
        let port = port + bench.rig.stack.ports.offset();
        let words = intake_words(&bench.rig, port, threads);
        let program = Program::start(name, processors, &words, &bench.folder)?;
        Ok(Self { program, port, accepts: 202, requests: Cell::new(0) })
    }
}

/// The intake as the service runs it by default: the events of a request are one record.
pub fn intake_words(rig: &Rig, port: u16, threads: usize) -> Vec<String> {
    let program = rig.stack.layout.binaries(rig.stack.release).join("examples").join(intake::PROGRAM);
    let (program, port, threads) = (program.display().to_string(), port.to_string(), threads.to_string());
    [program.as_str(), "serve", &port, &brokers(rig), super::stream::PREFIX, "report", &threads]
        .map(str::to_owned)
        .to_vec()
}

impl Bench {
    fn open(options: &Options) -> Result<Self> {
        let rig = Rig::bare(options, 0)?;
        stack::wipe(&rig.stack.layout)?;
        rig.broker()?;
        let folder = rig.stack.layout.state.join("ingest");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("bodies"), intake::bodies()?)?;
        Ok(Self { rig, folder })
    }

    fn connect(&self, topic: &str) -> Result<Server> {
        let home = connect(&self.rig.stack.layout)
            .map_err(|error| Skipped(format!("the engine of Redpanda Connect cannot be had: {error:#}")))?;
        let port = SECOND_PORT + self.rig.stack.ports.offset();
        // It says nothing when it is ready; the shell does, and the port is waited for.
        let script = format!(
            "echo ready; ADDRESS=127.0.0.1:{port} BROKERS={} TOPIC={topic} GOMAXPROCS=1 exec {home}/connect run {home}/connect.yaml",
            brokers(&self.rig),
            home = home.display()
        );
        let program = Program::start("connect", TESTED, &["sh", "-c", &script].map(str::to_owned), &self.folder)?;
        for _ in 0..PEER_TRIES {
            os::check_interrupted()?;
            if net::tcp_open(port) {
                return Ok(Server { program, port, accepts: 200, requests: Cell::new(0) });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the engine of Redpanda Connect does not listen; see {}", self.folder.join("connect.log").display())
    }

    /// `peer_topic` is where theirs writes when it is not our topic.
    fn pairs(
        &self,
        options: &Options,
        count: usize,
        (ours, theirs): (&Server, &Server),
        peer_topic: Option<&str>,
    ) -> Result<Measured> {
        let all = [&ours.program, &theirs.program];
        let turn = |server: &Server, seconds| self.turn(&all, server, seconds);
        turn(ours, options.warm_up_s)?;
        turn(theirs, options.warm_up_s)?;
        let pairs = abba::pairs(count, (UNIT, Better::More), &mut || turn(ours, options.side_s), &mut || {
            turn(theirs, options.side_s)
        })?;
        // Our topic is named like that of the program we are measured against.
        let raw = ours.program.told("topic")?.replace("clickstream.peer", "clickstream.raw");
        match peer_topic {
            Some(peer) => {
                self.exact(&raw, ours.requests.get())?;
                self.exact(peer, theirs.requests.get())?;
            }
            None => self.exact(&raw, ours.requests.get() + theirs.requests.get())?,
        }
        let facts = vec![format!(
            "{} and {} requests were accepted, and the topics have exactly those",
            ours.requests.get(),
            theirs.requests.get()
        )];
        Ok(Measured { fdatasync_us: 0.0, pairs, facts })
    }

    fn turn(&self, all: &[&Program], server: &Server, seconds: u64) -> Result<Turn> {
        let mut load = self.rig.load();
        load.args(["pages", "--address", &format!("127.0.0.1:{}", server.port), "--post-to", "/v1/events"]);
        load.args(["--varying", "--connections", CONNECTIONS, "--seconds", &seconds.to_string(), "--paths"]);
        load.arg(self.folder.join("bodies"));
        let parties = || program::parties(self.rig.parties("load"), all);
        let (said, used) = cpu::watched(&parties, &[server.program.name], || os::output(&mut load))?;
        let requests = accepted(&serde_json::from_str(&said)?, server.accepts)?;
        server.requests.set(server.requests.get() + requests);
        let value = (requests * EVENTS) as f64 / used.tested.max(0.01);
        Ok(Turn { side: Side { per_second: value, per_cpu_second: value, cpu: used.by }, foreign: used.foreign })
    }

    fn exact(&self, topic: &str, requests: u64) -> Result<()> {
        let load = self.rig.stack.layout.binaries(self.rig.stack.release).join("load").display().to_string();
        let words = [load.as_str(), "consume", "--brokers", &brokers(&self.rig), "--topic", topic].map(str::to_owned);
        let reader = Program::start("counter", &rig::others(), &words, &self.folder)?;
        let records = reader.ask("count", COUNT_WITHIN)?;
        if records != [requests] {
            bail!(Invalid(format!("{requests} requests were accepted, and {topic} has {records:?} records")));
        }
        Ok(())
    }
}

/// How many requests were answered as accepted, when nothing else was answered.
pub fn accepted(said: &Value, status: u64) -> Result<u64> {
    // The generator's own word is 200; everything else is told by its status.
    let answered = said["answered"].as_u64().context("what was answered")?;
    let others = said["others"].as_object().context("what else was answered")?;
    let of_status = others.get(&status.to_string()).and_then(Value::as_u64);
    match (status, answered, of_status, others.len()) {
        (200, answered, None, 0) => Ok(answered),
        (202, 0, Some(accepted), 1) => Ok(accepted),
        _ => bail!(Invalid(format!("not every answer was {status}: {said}"))),
    }
}

/// The peer as its recipe builds it, in the cache of downloads: minutes, once.
pub fn connect(layout: &Layout) -> Result<PathBuf> {
    let home = peers::go_program(layout, "connect", (CONNECT, CONNECT_MEGABYTES), ("main.go", "."))?;
    // Not part of what is built, so that a change of it does not build anything.
    let settings = peers::recipe("connect").join("connect.yaml");
    fs::copy(settings, home.join("connect.yaml")).context("copy the peer's configuration")?;
    own(&home.join("connect.yaml"), None, 0o644)?;
    Ok(home)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_that_is_not_the_word_for_accepted_makes_a_turn_say_nothing() {
        let said = |answered: u64, others: Value| json!({"answered": answered, "others": others});
        assert_eq!(accepted(&said(7, json!({})), 200).unwrap(), 7);
        assert_eq!(accepted(&said(0, json!({"202": 7})), 202).unwrap(), 7);
        for (answered, others, status) in [
            (7, json!({"503": 1}), 200),
            (0, json!({"202": 7, "503": 1}), 202),
            (1, json!({"202": 7}), 202),
            (0, json!({}), 202),
            (0, json!({"202": 7}), 200),
        ] {
            assert!(accepted(&said(answered, others), status).unwrap_err().is::<Invalid>());
        }
    }
}
