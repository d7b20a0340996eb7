//! The capacity model: recorded results of benches and a plan of the load become cores, partitions, brokers, servers and racks of one
//! region, in ordinary times and at ten times that. `cargo xtask bench capacity` prints it, and
//! `bench page` writes it to `docs/perf/capacity.md`.
//!
//! Decided here: the formulas, and that no figure of speed is made up: each is read from a result, named with its commit, and where
//! there is no result the table says which bench to run instead of a number. What nobody can measure on this machine (disks, networks
//! and racks of a hall) is an assumption and is called one.

use std::fmt::Write as _;

use super::results::{Pair, Report, Side};

/// The load of one region of three, per second, in ordinary times, with the case study's 500,000 events and as many reads over all.
const EVENTS: f64 = 500_000.0 / 3.0;
const READS: f64 = 500_000.0 / 3.0;
const ORDERS: f64 = 500.0;
/// Of the reads: lists of recommendations, searches that no cache answers, pages.
const RECOMMENDATIONS: f64 = 0.30;
const SEARCH_MISSES: f64 = 0.05 * 0.30;
const PAGES: f64 = 0.65;
/// A processor is to be busy for so much of its time.
const BUSY: f64 = 0.5;
/// Zones, one of which may be lost.
const ZONES: f64 = 3.0;
/// Cores of a pod: as many as were measured, so that nothing about more has to be believed.
const POD: f64 = 2.0;
/// Partitions that were compared: the topic of clicks, and a quarter of them.
const PARTITIONS: f64 = 24.0;
const COMPARED: f64 = 4.0;
const TIMES: [f64; 2] = [1.0, 10.0];

/// Assumptions about a hall, with what they are.
const EVENT_BYTES: f64 = 445.0;
const REPLICAS: f64 = 3.0;
const READERS: f64 = 3.0;
const DISK: f64 = 600e6;
const NETWORK: f64 = 25e9 / 8.0;
const PARTITION_BYTES: f64 = 20e6;
const SERVER_CORES: f64 = 64.0;
const SERVER_KW: f64 = 0.8;
const RACKS: f64 = 8.0;
const HALL_KW: f64 = 150.0;
const BROKER_CORES: f64 = 16.0;

/// A figure that was measured, and where.
#[derive(Clone, Debug, PartialEq)]
struct Measured {
    value: f64,
    from: String,
}

/// A figure, or the bench that would give it.
type Input = Result<Measured, &'static str>;

/// What the model is fed with: operations per processor second, and ratios.
struct Inputs {
    /// With one thread.
    intake: Input,
    intake_two_cores: Input,
    /// The worker alone, one thread.
    fold: Input,
    fold_two_cores: Input,
    fold_partitions: Input,
    /// Redis seconds for each click folded.
    fold_redis: Input,
    recommendations: Input,
    pages: Input,
    searches: Input,
    orders: Input,
}

impl Inputs {
    fn of(reports: &[Report]) -> Self {
        let ours = |name: &'static str| found(reports, name, |pair| pair.ours.per_cpu_second);
        let ratio = |name: &'static str| found(reports, name, |pair| pair.ratio);
        let redis = |pair: &Pair| of_party(&pair.ours, "redis") / clicks(&pair.ours, &["worker", "redis"]);
        Self {
            intake: ours("intake-packed"),
            intake_two_cores: ratio("ingest-two-cores"),
            fold: ours("stream-vs-raw"),
            fold_two_cores: ratio("stream-two-cores"),
            fold_partitions: ratio("stream-partitions"),
            fold_redis: found(reports, "stream-vs-kstreams", redis),
            recommendations: ours("rec-vs-redis-get"),
            pages: ours("page-vs-nginx"),
            searches: ours("search-msearch"),
            orders: ours("order-batched"),
        }
    }

    fn all(&self) -> [(&'static str, &Input); 10] {
        [
            ("events taken in, per processor second", &self.intake),
            ("a second processor of the intake does, of the first", &self.intake_two_cores),
            ("clicks folded, per processor second", &self.fold),
            ("a second processor of the worker does, of the first", &self.fold_two_cores),
            ("24 partitions against 6", &self.fold_partitions),
            ("processor seconds of Redis for each click", &self.fold_redis),
            ("recommendations, per processor second", &self.recommendations),
            ("pages, per processor second", &self.pages),
            ("searches, per processor second of the catalog", &self.searches),
            ("orders, per processor second of the service and PostgreSQL", &self.orders),
        ]
    }
}

/// The median over the pairs of the newest result of `name`; a noisy run or a value of nothing is no result.
fn found(reports: &[Report], name: &'static str, of: impl Fn(&Pair) -> f64) -> Input {
    let report = reports.iter().find(|report| report.name == name).ok_or(name)?;
    let run = report.runs.iter().find(|run| run.fsync == "raw" && !run.noisy).ok_or(name)?;
    let mut values: Vec<f64> = run.pairs.iter().map(of).filter(|value| value.is_finite() && *value > 0.0).collect();
    values.sort_by(f64::total_cmp);
    let value = *values.get(values.len() / 2).ok_or(name)?;
    Ok(Measured { value, from: format!("{name} at {}", report.commit) })
}

fn of_party(side: &Side, name: &str) -> f64 {
    side.cpu.iter().find(|(party, _)| party == name).map_or(0.0, |(_, seconds)| *seconds)
}

/// What a side did: its rate is by the seconds of these parties.
fn clicks(side: &Side, parties: &[&str]) -> f64 {
    side.per_cpu_second * parties.iter().map(|party| of_party(side, party)).sum::<f64>()
}

/// Cores for `rate` operations a second, at `each` per processor second in a pod of two, with a lost zone's share. `second` is what the
/// second processor of a pod does, of the first; 1 where a pod's processors have nothing in common.
fn cores(rate: f64, each: f64, second: f64) -> f64 {
    let lost_zone = ZONES / (ZONES - 1.0);
    // What both processors of a pod do, of what two pods of one would.
    (rate / (each * second.min(1.0)) / BUSY * lost_zone / POD).ceil() * POD
}

/// How much of the rate at 24 partitions is left at `partitions`: what was lost from 6 to 24, which is two doublings, is lost again with
/// each two more.
fn at_partitions(partitions: f64, ratio: f64) -> f64 {
    ratio.min(1.0).powf((partitions / PARTITIONS).max(1.0).ln() / COMPARED.ln())
}

/// Partitions of the topic of clicks: enough for the bytes, and for two pods' threads more than there are; a multiple of 12, which has
/// many divisors, and never fewer than there are.
fn partitions(events: f64, threads: f64) -> f64 {
    let wanted = 1.5 * (events * EVENT_BYTES / PARTITION_BYTES).max(threads);
    ((wanted / 12.0).ceil() * 12.0).max(PARTITIONS)
}

/// Brokers, one zone of them lost: by disk and by network, neither more than 40 % busy, nothing taken off for compression.
fn brokers(events: f64) -> f64 {
    let bytes = events * EVENT_BYTES;
    let disk = bytes * REPLICAS / (0.4 * DISK);
    let network = bytes * (REPLICAS - 1.0 + READERS) / (0.4 * NETWORK);
    ZONES * (disk.max(network) / (ZONES - 1.0)).ceil().max(1.0)
}

/// Racks for these cores and brokers: a server in each zone at least, and no rack above its share of the hall's power.
fn racks(cores: f64, brokers: f64) -> (f64, f64) {
    let servers = ((cores + brokers * BROKER_CORES) / SERVER_CORES).ceil().max(ZONES);
    let of_a_rack = (HALL_KW / RACKS / SERVER_KW).floor();
    (servers, (servers / of_a_rack).ceil().max(ZONES))
}

/// A quantity at 1x and 10x, or the benches without which it is not known.
struct Line {
    what: &'static str,
    at: Result<[f64; 2], Vec<&'static str>>,
}

fn need<const N: usize>(inputs: [&Input; N], at: impl Fn([f64; N], f64) -> f64) -> Result<[f64; 2], Vec<&'static str>> {
    let missing: Vec<&'static str> = inputs.iter().filter_map(|input| input.as_ref().err().copied()).collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let values = inputs.map(|input| input.as_ref().map_or(f64::NAN, |measured| measured.value));
    Ok(TIMES.map(|times| at(values, times)))
}

fn lines(inputs: &Inputs) -> Vec<Line> {
    let fold = [&inputs.fold, &inputs.fold_two_cores, &inputs.fold_partitions];
    let folding = |[each, second, ratio]: [f64; 3], times: f64| {
        let rate = EVENTS * times;
        // Threads decide how many partitions there are, and these what a thread does: twice round is enough, because both only grow.
        let first = partitions(rate, cores(rate, each, second));
        let second_round = partitions(rate, cores(rate, each * at_partitions(first, ratio), second));
        (cores(rate, each * at_partitions(second_round, ratio), second), second_round)
    };
    let at = |rate: f64| move |[each]: [f64; 1], times: f64| cores(rate * times, each, 1.0);
    let mut lines = vec![
        Line {
            what: "cores of the intake",
            at: need([&inputs.intake, &inputs.intake_two_cores], |[each, second], times| {
                cores(EVENTS * times, each, second)
            }),
        },
        Line { what: "cores of the worker", at: need(fold, |values, times| folding(values, times).0) },
        Line {
            what: "cores of Redis for the worker",
            at: need([&inputs.fold_redis], |[seconds], times| cores(EVENTS * times, 1.0 / seconds, 1.0)),
        },
        Line { what: "cores of recommendations", at: need([&inputs.recommendations], at(READS * RECOMMENDATIONS)) },
        Line { what: "cores of pages", at: need([&inputs.pages], at(READS * PAGES)) },
        Line {
            what: "cores of searches that no cache answers",
            at: need([&inputs.searches], at(READS * SEARCH_MISSES)),
        },
        Line { what: "cores of orders, with PostgreSQL", at: need([&inputs.orders], at(ORDERS)) },
    ];
    let all = sum(&lines);
    lines.push(Line { what: "partitions of clicks", at: need(fold, |values, times| folding(values, times).1) });
    lines.push(Line { what: "brokers", at: Ok(TIMES.map(|times| brokers(EVENTS * times))) });
    let hall = |of: fn((f64, f64)) -> f64| -> Result<[f64; 2], Vec<&'static str>> {
        let all = all.clone()?;
        Ok([0, 1].map(|place| of(racks(all[place], brokers(EVENTS * TIMES[place])))))
    };
    let (servers, in_racks) = (hall(|hall| hall.0), hall(|hall| hall.1));
    lines.push(Line { what: "cores of all of these", at: all });
    lines.push(Line { what: "servers of 64 cores, brokers included", at: servers });
    lines.push(Line { what: "racks", at: in_racks });
    lines
}

/// All cores, or every bench that is missing.
fn sum(lines: &[Line]) -> Result<[f64; 2], Vec<&'static str>> {
    let mut missing: Vec<&'static str> =
        lines.iter().filter_map(|line| line.at.as_ref().err()).flatten().copied().collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        return Err(missing);
    }
    let at = |place: usize| lines.iter().filter_map(|line| line.at.as_ref().ok()).map(|at| at[place]).sum();
    Ok([at(0), at(1)])
}

/// The table of one region from whatever results there are.
pub fn table(reports: &[Report]) -> String {
    let inputs = Inputs::of(reports);
    let mut table = String::from("One region of three, one zone of three lost, processors half busy.\n\n");
    // Writing into a String cannot fail.
    let _ = writeln!(table, "{:<42} {:>12} {:>12}", "", "1x", "10x");
    let _ = writeln!(table, "{:<42} {:>12.0} {:>12.0}", "events per second", EVENTS, EVENTS * 10.0);
    for Line { what, at } in lines(&inputs) {
        let _ = match at {
            Ok([once, ten]) => writeln!(table, "{what:<42} {once:>12.0} {ten:>12.0}"),
            Err(missing) => writeln!(table, "{what:<42} not known: run `cargo xtask bench` {}", missing.join(", ")),
        };
    }
    table.push_str("\nMeasured:\n");
    for (what, input) in inputs.all() {
        let _ = match input {
            Ok(Measured { value, from }) => writeln!(table, "- {what}: {value:.3e} ({from})"),
            Err(name) => writeln!(table, "- {what}: not measured, run `cargo xtask bench {name}`"),
        };
    }
    let _ = writeln!(
        table,
        "\nAssumed: {EVENT_BYTES:.0} bytes an event, not compressed; {REPLICAS:.0} copies, {READERS:.0} groups of readers; a disk writes {:.0} MB/s and a network carries {:.1} GB/s, 40 % of each used; a partition {:.0} MB/s; {ORDERS:.0} orders a second; of the reads {:.0} % recommendations, {:.1} % searches that no cache answers, {:.0} % pages; a server {SERVER_CORES:.0} cores and {SERVER_KW} kW, {RACKS:.0} racks with {HALL_KW:.0} kW together; a broker {BROKER_CORES:.0} cores.",
        DISK / 1e6,
        NETWORK / 1e9,
        PARTITION_BYTES / 1e6,
        RECOMMENDATIONS * 100.0,
        SEARCH_MISSES * 100.0,
        PAGES * 100.0
    );
    table.push_str(
        "\nBelieved, because two processors are all there are here: pods of two cores add up, since they share nothing but the broker; what\n\
         partitions cost from 6 to 24 they cost again with every four times as many. Elasticsearch, MongoDB, TLS and Kubernetes are not in it.\n",
    );
    table
}

/// The same as a page of its own.
pub fn page(reports: &[Report]) -> String {
    format!(
        "# Capacity of a region\n\nMade by `cargo xtask bench page` from `results/`; edits are lost.\n\n```text\n{}```\n",
        table(reports)
    )
}

#[cfg(test)]
mod tests {
    use super::super::results::Run;
    use super::*;

    fn side(per_cpu_second: f64, cpu: &[(&str, f64)]) -> Side {
        let cpu = cpu.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
        Side { per_second: per_cpu_second, per_cpu_second, cpu }
    }

    fn report(name: &str, ours: f64, ratio: f64) -> Report {
        let pair =
            Pair { ours: side(ours, &[("worker", 6.0), ("redis", 2.0)]), theirs: side(1.0, &[]), ratio, foreign: 0.0 };
        let text = String::new;
        Report {
            name: name.to_owned(),
            ours: text(),
            theirs: text(),
            commit: "abc".to_owned(),
            date: text(),
            machine: text(),
            versions: Vec::new(),
            settings: Vec::new(),
            runs: vec![Run::of("raw", 0.0, vec![pair], 1.0)],
        }
    }

    fn reports() -> Vec<Report> {
        [
            ("intake-packed", 500_000.0, 2.0),
            ("ingest-two-cores", 500_000.0, 0.8),
            ("stream-vs-raw", 250_000.0, 0.5),
            ("stream-two-cores", 250_000.0, 0.5),
            ("stream-partitions", 250_000.0, 1.0),
            ("stream-vs-kstreams", 200_000.0, 5.0),
            ("rec-vs-redis-get", 20_000.0, 0.8),
            ("page-vs-nginx", 50_000.0, 0.8),
            ("search-msearch", 5_000.0, 1.2),
            ("order-batched", 5_000.0, 2.0),
        ]
        .map(|(name, ours, ratio)| report(name, ours, ratio))
        .to_vec()
    }

    /// In whole numbers, as the table tells it.
    fn value(reports: &[Report], what: &str) -> [u64; 2] {
        let line = lines(&Inputs::of(reports)).into_iter().find(|line| line.what == what).unwrap();
        line.at.unwrap().map(|number| number.round() as u64)
    }

    #[test]
    fn the_formulas_are_these() {
        for (got, expected, what) in [
            // 100,000 a second at 10,000 each are 10, half busy 20, a zone lost 30.
            (cores(100_000.0, 10_000.0, 1.0), 30.0, "in whole pods"),
            (cores(100_000.0, 10_000.0, 0.5), 60.0, "with a second processor that does half"),
            (cores(100_000.0, 10_000.0, 1.3), 30.0, "a second that does more than the first is luck"),
            (cores(1.0, 10_000.0, 1.0), 2.0, "a pod at least"),
            (at_partitions(24.0, 0.8), 1.0, "as measured"),
            (at_partitions(96.0, 0.8), 0.8, "four times as many cost what four times as many cost"),
            (at_partitions(6.0, 0.8), 1.0, "fewer are not believed to be better"),
            (partitions(1_000.0, 1.0), 24.0, "never fewer than there are"),
            (partitions(1_000.0, 33.0), 60.0, "more than threads"),
            (partitions(1_600_000.0, 1.0), 60.0, "for the bytes"),
            (brokers(1.0), 3.0, "one in each zone"),
            (brokers(EVENTS * 10.0), 15.0, "as many as the disks ask for"),
            (racks(1.0, 3.0).0, 3.0, "a server in each zone"),
            (racks(3_200.0, 12.0).0, 53.0, "brokers are servers, too"),
            (racks(64.0 * 100.0, 0.0).1, 5.0, "23 servers in a rack by its power"),
        ] {
            assert!((got - expected).abs() < 1e-9, "{what}: {got}, not {expected}");
        }
    }

    #[test]
    fn all_inputs_together_make_a_region() {
        let reports = reports();
        // 166,667 / (500,000 x 0.8) / 0.5 x 1.5 = 1.25, ten times that 12.5.
        assert_eq!(value(&reports, "cores of the intake"), [2, 14]);
        // 166,667 / (250,000 x 0.5) / 0.5 x 1.5 = 4; at ten times 40.
        assert_eq!(value(&reports, "cores of the worker"), [4, 40]);
        assert_eq!(value(&reports, "partitions of clicks"), [24, 60]);
        // 200,000 x 8 s = 1.6 million clicks for 2 s of Redis: 800,000 a second.
        assert_eq!(value(&reports, "cores of Redis for the worker"), [2, 8]);
        let table = table(&reports);
        assert!(!table.contains("not known") && !table.contains("not measured"), "{table}");
        assert!(table.contains("(intake-packed at abc)"), "{table}");
    }

    #[test]
    fn what_was_not_measured_has_no_figure_and_names_its_bench() {
        for gone in reports() {
            let rest: Vec<Report> = reports().into_iter().filter(|report| report.name != gone.name).collect();
            let table = table(&rest);
            assert!(table.contains(&format!("not measured, run `cargo xtask bench {}`", gone.name)), "{table}");
            let sum = lines(&Inputs::of(&rest)).into_iter().find(|line| line.what == "racks").unwrap();
            assert_eq!(sum.at.unwrap_err(), [gone.name.as_str()], "no sum without it");
        }
        let empty = table(&[]);
        assert!(empty.contains("brokers") && empty.matches("not measured").count() == 10, "{empty}");
    }

    #[test]
    fn a_noisy_run_and_a_value_of_nothing_are_no_measurement() {
        let mut noisy = report("page-vs-nginx", 50_000.0, 0.8);
        noisy.runs[0].noisy = true;
        for bad in [noisy, report("page-vs-nginx", 0.0, 0.8), report("page-vs-nginx", f64::NAN, 0.8)] {
            assert_eq!(Inputs::of(&[bad]).pages, Err("page-vs-nginx"));
        }
    }
}
