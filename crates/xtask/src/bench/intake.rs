//! Clicks accepted per processor second: our intake over HTTP, parsing and verdicts included, against librdkafka's own benchmark
//! program, which does nothing but produce records of the same size to the same broker.
//!
//! That program is compiled here from the sources that the crate of our Kafka client brings, and linked with the very library that our
//! intake is linked with. It sends one event in each record; ours does the same in `intake-vs-rdkafka`, and puts the events of a request
//! into one record in `intake-packed`.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::results::Side;
use super::rig::{self, Fsync, Rig};
use super::{Invalid, Measured, Missing, Options, cpu};
use crate::layout;
use crate::os;
use crate::ports::Port;
use crate::stack;
use crate::stack::process;

/// The service's intake over memory ports and a real broker.
pub const PROGRAM: &str = "bench_intake";
const PEER: &str = "rdkafka_performance";
const TESTED: &str = "0";
pub const OUR_PORT: u16 = 8_121;
/// Events of one request: what a page reports at once.
pub const EVENTS: u64 = 20;
/// Different bodies, sent in turn: more than fit a processor's caches.
const BODIES: u64 = 500;
/// Connections of the browsers' edge.
pub const CONNECTIONS: &str = "256";
/// Records of the peer's first run, from which the number for a turn is told.
const FIRST: u64 = 200_000;

const BOTH: [&str; 5] = [
    "one Kafka broker on the processors of the generator, so replication 1; 24 partitions, acks=all, zstd level 1, linger 5 ms, idempotent, on both sides",
    "ours: the user service's router, use case and producer behind chassis' server on one runtime of one thread, with the producer's threads and one for everything else beside it; visitors without a login, limits that nobody meets; 256 kept-alive connections in closed loop, 20 events a request",
    "against: rdkafka_performance -P of the same librdkafka, one event in each record, of the size that our record of one event has with its key; it repeats one payload, so its batches compress better than ours",
    "values are acknowledged events per processor second of the tested process alone; checked in the end: the topic has exactly the events that were answered with 202",
    "processor 0: the tested process; the others: broker and generator",
];

pub const EVENT_SETTINGS: &[&str] = &[BOTH[0], BOTH[1], BOTH[2], BOTH[3], BOTH[4], "ours: one event in each record"];
pub const PACKED_SETTINGS: &[&str] = &[
    BOTH[0],
    BOTH[1],
    BOTH[2],
    BOTH[3],
    BOTH[4],
    "ours: the events of one request in one record, as the service does by default",
];

/// One event in each record on both sides.
pub fn single(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    pairs(options, count, "event")
}

/// The events of a request in one record on our side.
pub fn packed(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    pairs(options, count, "report")
}

fn pairs(options: &Options, count: usize, records: &'static str) -> Result<Measured> {
    let bench = Bench::open(options, records)?;
    let ours = |seconds: u64| bench.ours(seconds);
    let warm = ours(options.warm_up_s)?;
    let (size, first) = (bench.record_size()?, Cell::new(FIRST));
    let theirs = |records: u64| bench.theirs(records, size);
    let (probe, seconds) = theirs(FIRST)?;
    if probe.side.per_second <= 0.0 || seconds <= 0.0 {
        bail!(Invalid("the peer sent nothing".to_owned()));
    }
    // As long a turn as ours has.
    first.set((FIRST as f64 / seconds * options.side_s as f64) as u64);
    let facts = vec![
        format!(
            "a record of one event has {size} bytes with its key; {:.0} events/s in the warm-up",
            warm.side.per_second
        ),
        format!("the peer sends {} records in a turn", first.get()),
    ];
    let mut measured = Measured::new(
        0.0,
        abba::pairs(
            count,
            ("acknowledged events per processor second", Better::More),
            &mut || ours(options.side_s),
            &mut || theirs(first.get()).map(|(turn, _)| turn),
        )?,
    );
    measured.facts = facts;
    measured.facts.push(bench.nothing_is_missing()?);
    Ok(measured)
}

struct Bench {
    rig: Rig,
    folder: PathBuf,
    server: Server,
    peer: PathBuf,
    /// Where the peer writes.
    topic: String,
    records: &'static str,
    /// Events that were answered with 202.
    accepted: Cell<u64>,
}

/// The running intake; it ends with this.
struct Server(Child);

impl Server {
    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    fn open(options: &Options, records: &'static str) -> Result<Self> {
        let rig = Rig::bare(options, 0)?;
        stack::wipe(&rig.stack.layout)?;
        rig.broker()?;
        let folder = rig.stack.layout.state.join("intake");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("bodies"), bodies()?)?;
        let peer = peer(&rig)?;
        let log = fs::File::create(folder.join("intake.log"))?;
        let program = rig.stack.layout.binaries(rig.stack.release).join("examples").join(PROGRAM);
        let port = (OUR_PORT + options.offset).to_string();
        let mut child = Command::new("taskset")
            .args(["-c", TESTED])
            .arg(program)
            .args(["serve", &port, &rig.stack.ports.address(Port::Kafka), "bench.", records, "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start the intake")?;
        let said = child.stdout.take().context("its output")?;
        let server = Server(child);
        let (mut topic, mut ready) = (String::new(), false);
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if let Some(name) = line.strip_prefix("topic ") {
                name.trim().clone_into(&mut topic);
            }
            ready = line.trim() == "ready";
            if ready {
                break;
            }
        }
        if !ready {
            bail!("the intake ended; see {}", folder.display());
        }
        Ok(Self { rig, folder, server, peer, topic, records, accepted: Cell::new(0) })
    }

    fn parties(&self) -> Vec<(String, f64)> {
        let running = process::records(&self.rig.stack.layout).into_iter().filter(process::Record::alive);
        let servers = running.map(|record| (record.name, cpu::of_tree(record.pid)));
        let ours = [
            ("intake".to_owned(), cpu::of_tree(self.server.pid())),
            // The generator in our turns, the peer in its own: each has ended when its turn is told.
            ("ended".to_owned(), cpu::of_ended_children()),
        ];
        servers.chain(ours).collect()
    }

    fn ours(&self, seconds: u64) -> Result<Turn> {
        let port = OUR_PORT + self.rig.stack.ports.offset();
        let mut load = self.rig.load();
        load.args(["pages", "--address", &format!("127.0.0.1:{port}"), "--post-to", "/v1/events", "--varying"]);
        load.args(["--connections", CONNECTIONS, "--seconds", &seconds.to_string(), "--paths"]);
        load.arg(self.folder.join("bodies"));
        let (said, used) = cpu::watched(&|| self.parties(), &["intake"], || os::output(&mut load))?;
        let said: Value = serde_json::from_str(&said)?;
        let others = said["others"].as_object().context("what was answered")?;
        // The generator's own word is 200; ours is 202 and is all that may come.
        let accepted = others.get("202").and_then(Value::as_u64).unwrap_or(0) * EVENTS;
        if others.len() > 1 || said["answered"].as_u64() != Some(0) {
            bail!(Invalid(format!("not every answer was 202: {said}")));
        }
        self.accepted.set(self.accepted.get() + accepted);
        let value = accepted as f64 / used.tested.max(0.01);
        Ok(Turn { side: Side { per_second: value, per_cpu_second: value, cpu: used.by }, foreign: used.foreign })
    }

    /// The peer's turn, and how long it took.
    fn theirs(&self, records: u64, size: u64) -> Result<(Turn, f64)> {
        let mut command = Command::new("taskset");
        command.args(["-c", TESTED]).arg(&self.peer).args(["-P", "-t", &self.topic]);
        command.args(["-b", &self.rig.stack.ports.address(Port::Kafka), "-a", "-1"]);
        command.args(["-s", &size.to_string(), "-c", &records.to_string(), "-m", &pattern()]);
        for setting in ["compression.codec=zstd", "compression.level=1", "linger.ms=5", "enable.idempotence=true"] {
            command.args(["-X", setting]);
        }
        command.current_dir(&self.folder).stdin(Stdio::null());
        let began = std::time::Instant::now();
        let (said, used) = cpu::watched(&|| self.parties(), &["ended"], || {
            let output = command.output().context("run the peer")?;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            if !output.status.success() {
                bail!(Invalid(format!("the peer ended with {}: {text}", output.status)));
            }
            Ok(text)
        })?;
        if delivered(&said) != Some(records) {
            bail!(Invalid(format!("the peer was not confirmed everything: {said}")));
        }
        let value = records as f64 / used.tested.max(0.01);
        let side = Side { per_second: value, per_cpu_second: value, cpu: used.by };
        Ok((Turn { side, foreign: used.foreign }, began.elapsed().as_secs_f64()))
    }

    /// Bytes of a record with one event, key included, as our intake writes them: a whole batch of records of one event is read for it.
    fn record_size(&self) -> Result<u64> {
        let said = self.count()?;
        let (bytes, events, records) = (number(&said, "bytes")?, number(&said, "events")?, number(&said, "records")?);
        // A record has its key twice (as key and in the report) and some 12 bytes beside its events.
        let frame = 76.0;
        Ok(((bytes - records * frame) / events + frame) as u64)
    }

    fn nothing_is_missing(&self) -> Result<String> {
        let (said, accepted) = (self.count()?, self.accepted.get());
        if said["events"].as_u64() != Some(accepted) {
            bail!(Invalid(format!("{accepted} events were accepted, and the topic has {said}")));
        }
        Ok(format!(
            "{accepted} events were accepted, and exactly those are in the topic, in {} records",
            said["records"]
        ))
    }

    fn count(&self) -> Result<Value> {
        let mut command = rig::generator(&self.rig.stack);
        command.arg(self.rig.stack.layout.binaries(self.rig.stack.release).join("examples").join(PROGRAM));
        command.args(["count", &self.rig.stack.ports.address(Port::Kafka), "bench.", &self.accepted.get().to_string()]);
        let said = os::output(&mut command).with_context(|| format!("count records of one {}", self.records))?;
        serde_json::from_str(said.trim()).with_context(|| format!("the counter said {said}"))
    }
}

/// How many records the peer says were delivered, when none failed.
fn delivered(said: &str) -> Option<u64> {
    let line = said.lines().rev().find(|line| line.contains(" delivered (") && line.contains(" 0 failed)"))?;
    line.split(" delivered (").next()?.split_whitespace().next_back()?.parse().ok()
}

fn number(said: &Value, key: &str) -> Result<f64> {
    said[key].as_f64().with_context(|| format!("{key} is missing in {said}"))
}

/// The library of the Kafka client as it was built for the intake, and its benchmark program compiled with it.
fn peer(rig: &Rig) -> Result<PathBuf> {
    let build = rig.stack.layout.binaries(rig.stack.release).join("build");
    let newest = |package: &str, file: &str| -> Result<PathBuf> {
        let entries = fs::read_dir(&build).map_err(|error| Missing(format!("{}: {error}", build.display())))?;
        let built = entries.flatten().map(|entry| entry.path()).filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(package))
        });
        let found = built.map(|path| path.join("out")).filter(|out| out.join(file).is_file());
        let age = |path: &PathBuf| fs::metadata(path.join(file)).and_then(|facts| facts.modified()).ok();
        found.max_by_key(age).with_context(|| Missing(format!("{file} of {package} is not in {}", build.display())))
    };
    let (kafka, zstd) = (newest("rdkafka-sys-", "src/librdkafka.a")?, newest("zstd-sys-", "libzstd.a")?);
    let program = rig.stack.layout.state.join(PEER);
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-w", "-I"]).arg(&kafka).arg("-I").arg(kafka.join("src")).arg("-o").arg(&program);
    gcc.arg(kafka.join("examples").join(format!("{PEER}.c"))).arg(kafka.join("src/librdkafka.a"));
    gcc.arg(zstd.join("libzstd.a")).args(["-lssl", "-lcrypto", "-lz", "-lm", "-ldl", "-lpthread", "-lrt"]);
    os::output(&mut gcc).map_err(|error| Missing(format!("{PEER} cannot be compiled: {error:#}")))?;
    layout::own(&program, None, 0o755)?;
    Ok(program)
}

/// What the peer repeats until a record is full.
fn pattern() -> String {
    "0191f3f0-7a1c-7000-8000-00000000c0deviewFA-00123list-of-category-coats".to_owned()
}

/// Bodies of requests, one a line: visitors that look, see, search and add.
pub fn bodies() -> Result<String> {
    let now = os::output(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"]))?;
    let now = now.trim();
    let mut bodies = String::new();
    for body in 0..BODIES {
        let visitor = format!("0191f3f0-0000-7000-8000-{body:012x}");
        let _ = write!(bodies, r#"{{"visitor_id":"{visitor}","events":["#);
        for place in 0..EVENTS {
            let number = body * EVENTS + place;
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let id = format!("{:08x}-{:04x}-7000-8000-{:012x}", mixed >> 32, mixed & 0xffff, mixed >> 16);
            // Few products get most of the clicks.
            let sku = format!("FA-{:05}", (mixed % 1_000) * (mixed >> 40) % 997);
            let what = match number % 10 {
                0 => r#""type":"search","query":"winter coat with hood""#.to_owned(),
                1 => format!(r#""type":"add","sku":"{sku}""#),
                2 | 3 => format!(r#""type":"impression","sku":"{sku}","list_id":"category-coats","position":{place}"#),
                _ => format!(r#""type":"view","sku":"{sku}","list_id":"category-coats","position":{place}"#),
            };
            let comma = if place == 0 { "" } else { "," };
            let _ = write!(bodies, r#"{comma}{{"event_id":"{id}",{what},"at":"{now}.{:03}Z"}}"#, number % 1_000);
        }
        bodies.push_str("]}\n");
    }
    Ok(bodies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_believed_when_it_says_that_all_was_delivered() {
        let said = "% 200000 messages produced (34000000 bytes), 200000 delivered (offset 8353, 0 failed) in 412ms: 1 msgs/s and 2 MB/s\n";
        assert_eq!(delivered(said), Some(200_000));
        assert_eq!(delivered(&said.replace("0 failed", "7 failed")), None);
        assert_eq!(delivered(""), None);
    }

    #[test]
    fn bodies_are_reports_of_twenty_different_events() {
        let bodies = bodies().unwrap();
        assert_eq!(bodies.lines().count() as u64, BODIES);
        let mut ids = std::collections::HashSet::new();
        for line in bodies.lines() {
            let body: Value = serde_json::from_str(line).unwrap();
            let events = body["events"].as_array().unwrap();
            assert_eq!(events.len() as u64, EVENTS);
            ids.extend(events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(ids.len() as u64, BODIES * EVENTS, "every event has a name of its own");
    }
}
