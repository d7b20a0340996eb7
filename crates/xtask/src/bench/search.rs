//! Searches: what we add to the bare query, what grouping brings, and how soon a change is found.
//!
//! A real Elasticsearch with a generated index, on the generator's processor; the catalog's search code on the other
//! (`services/catalog/examples/bench_catalog.rs`). Answers are not remembered here: a search that was asked before is not what is measured.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::pages::PROGRAM;
use super::results::{Pair, Side};
use super::rig::{Fsync, generator};
use super::{Invalid, Measured, Options, cpu};
use crate::layout::{self, Layout};
use crate::os;
use crate::ports::{Port, Ports};
use crate::provision::maven;
use crate::stack::{self, Purpose, Stack, kafka};

const TESTED: &str = "0";
const PREFIX: &str = "bench-";
const PRODUCTS: u64 = 20_000;
/// Connections where the added time is measured, and where many search at once.
const FEW: usize = 8;
const CROWD: usize = 64;
const GROUPED_PORT: u16 = 8_111;
const SINGLE_PORT: u16 = 8_112;
/// Changes per second, and for how long.
const RATE: u64 = 100;
const CHANGES_S: u64 = 20;
/// What may come on top of the refresh interval that the index tells, in milliseconds: write, relay, Kafka and indexer.
const ON_TOP_MS: f64 = 1_000.0;

/// Words of the generated products, alone and together.
const TEXTS: &[&str] = &[
    "gerät schwarz",
    "gerät 4711",
    "maker 17 rot",
    "gerät weiß silver",
    "kind 12",
    "blue",
    "gerät 100 red",
    "maker 99",
    "device grey 7",
    "gerät green maker 3",
    "office",
    "gerät silver 19999",
];

pub const OVERHEAD_SETTINGS: &[&str] = &[
    "twelve questions over 20,000 generated products, asked for in turn over 8 kept-alive connections in open loop, at half of what saturates the slower",
    "ours: GET /v1/search through the catalog, nothing remembered, stock from memory, nobody's interests",
    "against: the very query that ours sends, posted to the same Elasticsearch by the same generator",
    "processor 0: the catalog; the others: Elasticsearch and the generator",
];

pub const GROUPED_SETTINGS: &[&str] = &[
    "twelve questions over 20,000 generated products, asked for in turn over 64 kept-alive connections in closed loop, nothing remembered",
    "ours: searches that come while four are under way travel in one _msearch",
    "against: the same program with one request to Elasticsearch for each search",
    "processor 0: the catalog; the others: Elasticsearch and the generator",
];

pub const FRESHNESS_SETTINGS: &[&str] = &[
    "100 new products a second for 20 seconds through write model, relay, Kafka, indexer and Elasticsearch; every 50 ms from its commit on one search asks for all that are still waited for",
    "the refresh interval that the index tells and a second, divided by the 99th percentile; the write model is in memory",
];

/// Added to the 99th percentile.
pub fn overhead_p99(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    overhead(options, count, "p99_ms")
}

/// Added to the median.
pub fn overhead_p50(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    overhead(options, count, "p50_ms")
}

fn overhead(options: &Options, count: usize, percentile: &str) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let server = bench.catalog(GROUPED_PORT, true)?;
    let (ours, theirs) = (bench.searches(&server)?, bench.queries()?);
    let mut slower = f64::INFINITY;
    for side in [&ours, &theirs] {
        bench.warm_up(side, &server, FEW, options.warm_up_s)?;
        let (said, _) = bench.load(side, &server, FEW, options.warm_up_s, None)?;
        slower = slower.min(number(&said, "answered_per_s")?);
    }
    let rate = slower / 2.0;
    let turn = |side: &Asked| {
        let (said, used) = bench.load(side, &server, FEW, options.side_s, Some(rate))?;
        let value = said[percentile].as_f64().with_context(|| Invalid(format!("too much was sent late: {said}")))?;
        Ok(Turn { side: Side { per_second: value, per_cpu_second: 0.0, cpu: used.by }, foreign: used.foreign })
    };
    let pairs = abba::pairs(count, ("ms", Better::Less), &mut || turn(&ours), &mut || turn(&theirs))?;
    let facts = vec![format!("the slower answers {slower:.0} searches per second; measured at {rate:.0}")];
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

/// Searches per second of a crowd.
pub fn grouped(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let (together, alone) = (bench.catalog(GROUPED_PORT, true)?, bench.catalog(SINGLE_PORT, false)?);
    let (ours, theirs) = (bench.searches(&together)?, bench.searches(&alone)?);
    let turn = |asked: &Asked, server: &Server, seconds: u64| {
        let (said, used) = bench.load(asked, server, CROWD, seconds, None)?;
        let per_cpu_second = number(&said, "answered")? / used.tested.max(0.01);
        let value = number(&said, "answered_per_s")?;
        Ok(Turn { side: Side { per_second: value, per_cpu_second, cpu: used.by }, foreign: used.foreign })
    };
    bench.warm_up(&ours, &together, CROWD, options.warm_up_s)?;
    bench.warm_up(&theirs, &alone, CROWD, options.warm_up_s)?;
    let pairs = abba::pairs(
        count,
        ("searches per s", Better::More),
        &mut || turn(&ours, &together, options.side_s),
        &mut || turn(&theirs, &alone, options.side_s),
    )?;
    Ok(Measured { fdatasync_us: 0.0, pairs, facts: Vec::new() })
}

/// From the commit of a change until a search finds it.
pub fn freshness(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    kafka::format(&bench.stack, &maven::kafka(&bench.stack.layout)?)?;
    bench.stack.start("kafka")?;
    let brokers = bench.stack.ports.address(Port::Kafka);
    let mut pairs = Vec::with_capacity(count);
    for place in 0..count {
        os::check_interrupted()?;
        let mut command = bench.program(TESTED);
        command.args(["freshness", &bench.elasticsearch(), &format!("fresh-{place}-"), &brokers]);
        command.args([RATE.to_string(), CHANGES_S.to_string()]);
        let said: Value = serde_json::from_str(&os::output(&mut command)?)?;
        if number(&said, "found")? < (RATE * CHANGES_S) as f64 {
            bail!(Invalid(format!("not every change was found: {said}")));
        }
        let p99 = number(&said, "p99_ms")?;
        let soon = number(&said, "refresh_ms")? + ON_TOP_MS;
        println!("pair {}: {said}", place + 1);
        let side = |value| Side { per_second: value, cpu: Vec::new(), per_cpu_second: 0.0 };
        pairs.push(Pair { ours: side(p99), theirs: side(soon), ratio: soon / p99, foreign: 0.0 });
    }
    Ok(Measured { fdatasync_us: 0.0, pairs, facts: Vec::new() })
}

/// An Elasticsearch with an index; it ends with this.
struct Bench {
    stack: Stack,
    folder: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stack.down();
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn cpu(&self) -> f64 {
        i32::try_from(self.child.id()).map_or(0.0, cpu::of_tree)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a side is asked: words for the generator.
struct Asked(Vec<String>);

impl Bench {
    fn open(options: &Options) -> Result<Self> {
        let layout = Layout::open(&layout::checkout(), &options.state)?;
        let stack = Stack::open(layout, Ports::at(options.offset)?, Purpose::Development, !options.debug)?;
        stack.down();
        stack::wipe(&stack.layout)?;
        let folder = stack.layout.state.join("search");
        fs::create_dir_all(&folder)?;
        let bench = Self { stack, folder };
        bench.stack.start("elasticsearch")?;
        let mut fill = bench.program(TESTED);
        os::output(fill.args(["fill", &bench.elasticsearch(), PREFIX, &PRODUCTS.to_string()]))
            .context("fill the index")?;
        Ok(bench)
    }

    fn elasticsearch(&self) -> String {
        self.stack.ports.url(Port::Elasticsearch)
    }

    fn program(&self, processor: &str) -> Command {
        let mut command = Command::new("taskset");
        command
            .args(["-c", processor])
            .arg(self.stack.layout.binaries(self.stack.release).join("examples").join(PROGRAM));
        command.current_dir(&self.folder);
        command
    }

    fn catalog(&self, port: u16, grouped: bool) -> Result<Server> {
        let port = port + self.stack.ports.offset();
        let log = fs::File::create(self.folder.join(format!("{port}.log")))?;
        let mut child = self
            .program(TESTED)
            .args(["search", &port.to_string(), &self.elasticsearch(), PREFIX, &grouped.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start the search server")?;
        let said = child.stdout.take().context("its output")?;
        let server = Server { child, port };
        let mut lines = BufReader::new(said).lines();
        while let Some(line) = lines.next() {
            if line?.trim() == "ready" {
                // It goes on to say one line for each request, and must not wait for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(server);
            }
        }
        bail!("the search server ended; see {}", self.folder.display())
    }

    fn searches(&self, server: &Server) -> Result<Asked> {
        let paths = self.folder.join("searches");
        let lines: Vec<String> = TEXTS.iter().map(|text| format!("/v1/search?q={}", encoded(text))).collect();
        fs::write(&paths, lines.join("\n"))?;
        let address = format!("127.0.0.1:{}", server.port);
        Ok(Asked(vec!["--address".to_owned(), address, "--paths".to_owned(), paths.display().to_string()]))
    }

    fn queries(&self) -> Result<Asked> {
        let bodies = self.folder.join("queries");
        let mut command = self.program(TESTED);
        fs::write(&bodies, os::output(command.args(["questions", &self.elasticsearch(), PREFIX]).args(TEXTS))?)?;
        let address = self.stack.ports.address(Port::Elasticsearch);
        let path = format!("/{PREFIX}products-{}/_search?request_cache=false", self.stack.region.code);
        let words = ["--address", &address, "--post-to", &path, "--paths", &bodies.display().to_string()];
        Ok(Asked(words.map(str::to_owned).to_vec()))
    }

    /// Of an index that has just started a first answer may come too late for the catalog, which then says so: nothing is judged here.
    fn warm_up(&self, asked: &Asked, server: &Server, connections: usize, seconds: u64) -> Result<()> {
        self.asked(asked, server, connections, seconds, None).map(drop)
    }

    fn load(
        &self,
        asked: &Asked,
        server: &Server,
        connections: usize,
        seconds: u64,
        rate: Option<f64>,
    ) -> Result<(Value, cpu::Used)> {
        let (said, used) = self.asked(asked, server, connections, seconds, rate)?;
        if said["others"].as_object().is_some_and(|others| !others.is_empty()) {
            bail!(Invalid(format!("not every search was answered: {}", said["others"])));
        }
        Ok((said, used))
    }

    fn asked(
        &self,
        asked: &Asked,
        server: &Server,
        connections: usize,
        seconds: u64,
        rate: Option<f64>,
    ) -> Result<(Value, cpu::Used)> {
        let parties = || -> Vec<(String, f64)> {
            let index = self.stack.running("elasticsearch").map_or(0.0, |record| cpu::of_tree(record.pid));
            vec![
                ("catalog".to_owned(), server.cpu()),
                ("elasticsearch".to_owned(), index),
                ("load".to_owned(), cpu::of_ended_children()),
            ]
        };
        let mut command = generator(&self.stack);
        command
            .arg(self.stack.layout.binaries(self.stack.release).join("load"))
            .args(["pages", "--varying"])
            .args(&asked.0);
        command.args(["--connections", &connections.to_string(), "--seconds", &seconds.to_string()]);
        if let Some(rate) = rate {
            command.args(["--rate", &format!("{rate:.1}")]);
        }
        let run = || -> Result<Value> { Ok(serde_json::from_str(&os::output(&mut command)?)?) };
        cpu::watched(&parties, &["catalog"], run)
    }
}

fn number(said: &Value, key: &str) -> Result<f64> {
    said[key].as_f64().with_context(|| format!("{key} is missing in {said}"))
}

/// A text in a query: whatever is no letter or digit of ASCII as its bytes.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded + &char::from(byte).to_string()
        } else {
            format!("{encoded}%{byte:02X}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_travels_as_its_bytes() {
        assert_eq!(encoded("gerät 7"), "ger%C3%A4t%207");
    }
}
