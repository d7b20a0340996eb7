//! Clicks folded into profiles per processor second: our worker against Kafka Streams, against reading and dropping, and against itself
//! with another processor or other partitions. Decided here: what a turn is, and whose processor time counts.
//!
//! A turn is one pass over the same filled topic, from its beginning to its end, with nothing remembered from the turn before. All
//! programs run all the time, so that nobody's start is measured; only the one whose turn it is does anything.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::abba::{self, Better, Turn};
use super::program::{self, Program, TESTED};
use super::results::{Pair, Side};
use super::rig::{self, Fsync, Rig};
use super::{Invalid, Measured, Options, cpu, kstreams};
use crate::ports::Port;
use crate::stack;

/// The worker's code over topics of the bench.
pub const PROGRAM: &str = "bench_stream";
pub const PREFIX: &str = "bench.";
/// Reports in the topic: with 20 clicks each a pass takes seconds on one processor.
const RECORDS: u64 = 40_000;
const CLICKS: u64 = 20;
/// Reports of one person, as the filling makes them.
const REPORTS: u64 = 5;
/// Passes of who only reads: one is over before the clock of the processor has ticked often enough.
const RAW_PASSES: u64 = 3;
/// No pass takes so long.
const PASS_WITHIN: Duration = Duration::from_secs(180);

const TOPIC: &str = "40,000 reports of 20 clicks by 8,000 people about 997 products in 24 partitions of one broker, zstd level 1, read from beginning to end in each turn, with a new group and nothing remembered";
const OURS: &str = "ours: the worker's consumer, fold and store as in the service, one worker thread: profiles, what was seen last, events known again, popularity, pairs and visits, in Redis";
const PROCESSORS: &str = "processor 0: the worker, or what it is compared with; the others: broker and Redis";

pub const KSTREAMS_SETTINGS: &[&str] = &[
    TOPIC,
    OURS,
    "against: Kafka Streams 4.3.1 on one stream thread: the same ratings of products, categories, brands, families and attributes with the same decay, caps and limits, events known again; no popularity, pairs or visits; features of products in its memory; RocksDB with its change log, cache 64 MB, commit every 500 ms; serial collector, 1 GB",
    "values are clicks per processor second of the worker and Redis, where its state is, against the JVM, whose state is within it; the broker counts for nobody",
    "checked in each turn: both counted every click, and both remember every person",
    PROCESSORS,
];

pub const RAW_SETTINGS: &[&str] = &[
    TOPIC,
    OURS,
    "against: a consumer of the same librdkafka with the same limits that drops what it reads, each click in a record of its own, as a producer would write them that packs nothing",
    "values are clicks per processor second of the reading process alone, Redis not counted",
    "checked in each turn: both read everything",
    PROCESSORS,
];

pub const CORES_SETTINGS: &[&str] = &[
    TOPIC,
    "ours: the worker with two threads on processors 0 and 1, which broker and Redis use as well",
    "against: the worker with one thread on processor 0",
    "values are clicks per processor second of the worker alone: 1.00 would mean that the second processor does as much as the first",
];

pub const PARTITIONS_SETTINGS: &[&str] = &[
    TOPIC,
    "ours: the worker over 24 partitions",
    "against: the worker over the same reports in 6 partitions",
    "values are clicks per processor second of the worker alone: 1.00 would mean that partitions cost nothing",
    PROCESSORS,
];

pub fn vs_kstreams(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let ours = bench.worker("worker", TESTED, 1)?;
    let theirs = kstreams::start(&bench.rig, &bench.folder, &bench.topic)?;
    let programs = [&ours, &theirs];
    let mut mine = || bench.pass(&programs, &ours, "all", &["worker", "redis"]);
    let peer = |store: &str| bench.pass(&programs, &theirs, store, &["kstreams"]);
    mine()?;
    let in_memory = peer("memory")?;
    peer("rocksdb")?;
    let pairs = abba::pairs(count, (UNIT, Better::More), &mut mine, &mut || peer("rocksdb"))?;
    let facts = vec![format!(
        "the peer with its store in memory folded {:.0} clicks per processor second in its first pass, before the JVM was warm",
        in_memory.side.per_second
    )];
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

pub fn vs_raw(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let ours = bench.worker("worker", TESTED, 1)?;
    let (singles, packed) = (bench.raw("reader", &bench.singles)?, bench.raw("packed-reader", &bench.topic)?);
    let programs = [&ours, &singles, &packed];
    let mut mine = || bench.pass(&programs, &ours, "all", &["worker"]);
    let mut peer = || bench.read(&programs, &singles, RECORDS * CLICKS, 1);
    mine()?;
    peer()?;
    let of_packed = bench.read(&programs, &packed, RECORDS, CLICKS)?;
    let pairs = abba::pairs(count, (UNIT, Better::More), &mut mine, &mut peer)?;
    let facts = vec![
        format!("a reader of the packed reports drops {:.0} clicks per processor second", of_packed.side.per_second),
        with_redis(&pairs),
    ];
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

pub fn two_cores(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let (two, one) = (bench.worker("worker", "0-1", 2)?, bench.worker("single-worker", TESTED, 1)?);
    let programs = [&two, &one];
    let mut both = || bench.pass(&programs, &two, "all", &["worker"]);
    let mut single = || bench.pass(&programs, &one, "all", &["single-worker"]);
    both()?;
    single()?;
    Ok(Measured::new(0.0, abba::pairs(count, (UNIT, Better::More), &mut both, &mut single)?))
}

pub fn partitions(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let worker = bench.worker("worker", TESTED, 1)?;
    let over = |partitions: &str| bench.pass(&[&worker], &worker, partitions, &["worker"]);
    over("all")?;
    over("few")?;
    Ok(Measured::new(0.0, abba::pairs(count, (UNIT, Better::More), &mut || over("all"), &mut || over("few"))?))
}

const UNIT: &str = "clicks per processor second";

struct Bench {
    rig: Rig,
    folder: PathBuf,
    topic: String,
    singles: String,
    /// Who wrote the reports.
    people: u64,
}

/// What a stream needs and nothing else, both empty, with a folder of its own for the programs of the bench `name`.
pub(super) fn broker_and_redis(options: &Options, name: &str) -> Result<(Rig, PathBuf)> {
    let rig = Rig::bare(options, 0)?;
    stack::wipe(&rig.stack.layout)?;
    rig.broker()?;
    rig.start(rig.stack.server("redis")?, None)?;
    let folder = rig.stack.layout.state.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    Ok((rig, folder))
}

impl Bench {
    fn open(options: &Options) -> Result<Self> {
        let (rig, folder) = broker_and_redis(options, "stream")?;
        let words = words(&rig, &["fill", &brokers(&rig), PREFIX, &RECORDS.to_string(), &folder.display().to_string()]);
        // It has ended when it is ready.
        let filled = Program::start("fill", &rig::others(), &words, &folder)?;
        let (topic, singles) = (filled.told("topic")?, filled.told("singles")?);
        Ok(Self { rig, folder, topic, singles, people: RECORDS / REPORTS })
    }

    fn worker(&self, name: &'static str, processors: &str, threads: usize) -> Result<Program> {
        let redis = redis(&self.rig);
        let words = words(&self.rig, &["fold", &brokers(&self.rig), PREFIX, &redis, &threads.to_string()]);
        Program::start(name, processors, &words, &self.folder)
    }

    fn raw(&self, name: &'static str, topic: &str) -> Result<Program> {
        let load = self.rig.stack.layout.binaries(self.rig.stack.release).join("load").display().to_string();
        let words = [load.as_str(), "consume", "--brokers", &brokers(&self.rig), "--topic", topic].map(str::to_owned);
        Program::start(name, TESTED, &words, &self.folder)
    }

    /// One pass of a program that folds.
    fn pass(&self, programs: &[&Program], program: &Program, how: &str, tested: &[&str]) -> Result<Turn> {
        let parties = || program::parties(self.rig.parties("ended"), programs);
        let ask = || program.ask(&format!("go {RECORDS} {how}"), PASS_WITHIN);
        let (said, used) = cpu::watched(&parties, tested, ask)?;
        whole(program.name, &said, self.people)?;
        Ok(turn(RECORDS * CLICKS, used))
    }

    /// Some passes of a program that drops; a record has so many clicks.
    fn read(&self, programs: &[&Program], program: &Program, records: u64, clicks: u64) -> Result<Turn> {
        let parties = || program::parties(self.rig.parties("ended"), programs);
        let ask = || program.ask(&format!("go {records} {RAW_PASSES}"), PASS_WITHIN);
        let (said, used) = cpu::watched(&parties, &[program.name], ask)?;
        if said.first() != Some(&(records * RAW_PASSES)) {
            bail!(Invalid(format!("{} read {said:?} of {records}, {RAW_PASSES} times", program.name)));
        }
        Ok(turn(records * clicks * RAW_PASSES, used))
    }
}

fn turn(clicks: u64, used: cpu::Used) -> Turn {
    let value = clicks as f64 / used.tested.max(0.01);
    Turn { side: Side { per_second: value, per_cpu_second: value, cpu: used.by }, foreign: used.foreign }
}

/// A pass that counted less, or more, or forgot somebody, was no pass.
fn whole(name: &str, said: &[u64], people: u64) -> Result<()> {
    if said != [RECORDS, RECORDS * CLICKS, people] {
        bail!(Invalid(format!(
            "{name} folded {said:?} records, clicks and people of {RECORDS}, {} and {people}",
            RECORDS * CLICKS
        )));
    }
    Ok(())
}

/// What the ratio would be if Redis counted as well.
fn with_redis(pairs: &[Pair]) -> String {
    let clicks = (RECORDS * CLICKS) as f64;
    let ratios = pairs.iter().map(|pair| {
        let of =
            |name: &str| pair.ours.cpu.iter().find(|(party, _)| party == name).map_or(0.0, |(_, seconds)| *seconds);
        clicks / (of("worker") + of("redis")).max(0.01) / pair.theirs.per_second
    });
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    let middle = ratios.get(ratios.len() / 2).copied().unwrap_or(0.0);
    format!("with Redis counted on our side the median ratio is {middle:.2}")
}

/// The program with its words.
pub fn words(rig: &Rig, words: &[&str]) -> Vec<String> {
    let program = rig.stack.layout.binaries(rig.stack.release).join("examples").join(PROGRAM);
    std::iter::once(program.display().to_string()).chain(words.iter().map(|word| (*word).to_owned())).collect()
}

pub fn brokers(rig: &Rig) -> String {
    rig.stack.ports.address(Port::Kafka)
}

pub fn redis(rig: &Rig) -> String {
    format!("redis://{}", rig.stack.ports.address(Port::Redis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_lost_or_doubled_anything_says_nothing() {
        let all = [RECORDS, RECORDS * CLICKS, 8_000];
        whole("worker", &all, 8_000).unwrap();
        for place in 0..3 {
            for wrong in [all[place] - 1, all[place] + 1] {
                let mut said = all;
                said[place] = wrong;
                assert!(whole("worker", &said, 8_000).unwrap_err().is::<Invalid>(), "{said:?}");
            }
        }
        assert!(whole("worker", &[], 8_000).is_err());
    }

    #[test]
    fn counting_redis_lowers_the_ratio() {
        let side = |cpu: &[(&str, f64)], per_second| Side {
            per_second,
            per_cpu_second: per_second,
            cpu: cpu.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect(),
        };
        let ours = side(&[("worker", 2.0), ("redis", 2.0), ("kafka", 1.0)], 400_000.0);
        let pair = Pair { ours, theirs: side(&[], 400_000.0), ratio: 1.0, foreign: 0.0 };
        assert_eq!(with_redis(&[pair]), "with Redis counted on our side the median ratio is 0.50");
    }
}
