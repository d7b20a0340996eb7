//! What a benchmark leaves behind: a CSV with a row per pair, a JSON with everything needed to read it, one last line.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::os;

/// A spread of the pair ratios above this means that the machine did something else meanwhile.
pub const MOST_SPREAD: f64 = 1.5;
/// A share of the machine's time used by others above this means the same.
pub const MOST_FOREIGN: f64 = 0.10;

/// One side of a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// Where a bench measures something else, such as milliseconds, its settings say so.
    pub per_second: f64,
    /// Processor seconds by party, over the time of the side.
    pub cpu: Vec<(String, f64)>,
    /// Operations per processor second of the system under test, the database included; 0 where operations are not counted.
    pub per_cpu_second: f64,
}

/// What we measured against what it is compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    pub ours: Side,
    pub theirs: Side,
    pub ratio: f64,
    /// Share of the machine's processor time that belonged to nobody in the bench.
    pub foreign: f64,
}

/// All pairs under one speed of the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub fsync: String,
    /// What `pg_test_fsync` measured, microseconds per fdatasync of 8 kB.
    pub fdatasync_us: f64,
    pub pairs: Vec<Pair>,
    pub ratio: f64,
    pub min: f64,
    pub max: f64,
    pub floor: f64,
    pub noisy: bool,
    /// Absolute figures that explain the ratio.
    pub facts: Vec<String>,
}

impl Run {
    pub fn of(fsync: &str, fdatasync_us: f64, pairs: Vec<Pair>, floor: f64) -> Self {
        let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let (min, max) = (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
        let foreign = pairs.iter().map(|pair| pair.foreign).fold(0.0, f64::max);
        let noisy = max > min * MOST_SPREAD || foreign > MOST_FOREIGN;
        Self {
            fsync: fsync.to_owned(),
            fdatasync_us,
            ratio: median(&ratios),
            min,
            max,
            floor,
            noisy,
            pairs,
            facts: Vec::new(),
        }
    }

    pub fn with(self, facts: Vec<String>) -> Self {
        Self { facts, ..self }
    }

    pub fn met(&self) -> bool {
        self.ratio >= self.floor
    }

    /// `name ratio=.. min=.. max=.. pairs=.. floor=.. ok`
    pub fn line(&self, name: &str) -> String {
        let verdict = if self.met() { "ok" } else { "missed" };
        let noisy = if self.noisy { " noisy" } else { "" };
        let fsync = if self.fsync == "raw" { "" } else { " fsync=1ms" };
        format!(
            "{name}{fsync} ratio={:.2} min={:.2} max={:.2} pairs={} floor={:.2} {verdict}{noisy}",
            self.ratio,
            self.min,
            self.max,
            self.pairs.len(),
            self.floor
        )
    }
}

/// The middle of sorted values.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// A benchmark's result as it lies in `docs/perf/results`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    pub ours: String,
    pub theirs: String,
    pub commit: String,
    pub date: String,
    pub machine: String,
    pub versions: Vec<String>,
    /// What a reader has to know to believe it, or not to.
    pub settings: Vec<String>,
    pub runs: Vec<Run>,
}

pub fn folder(checkout: &Path) -> PathBuf {
    checkout.join("docs/perf/results")
}

impl Report {
    /// Writes `<name>.json` and `<name>.csv`.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn write(&self, checkout: &Path) -> Result<PathBuf> {
        let folder = folder(checkout);
        fs::create_dir_all(&folder)?;
        let mut csv = String::from("fsync,pair,ours,theirs,ratio,ours_per_cpu_s,theirs_per_cpu_s,foreign_cpu_share\n");
        for run in &self.runs {
            for (number, pair) in run.pairs.iter().enumerate() {
                let Pair { ours, theirs, ratio, foreign } = pair;
                // Writing into a String cannot fail.
                let _ = writeln!(
                    csv,
                    "{},{},{:.3},{:.3},{ratio:.4},{:.1},{:.1},{foreign:.3}",
                    run.fsync,
                    number + 1,
                    ours.per_second,
                    theirs.per_second,
                    ours.per_cpu_second,
                    theirs.per_cpu_second
                );
            }
        }
        fs::write(folder.join(format!("{}.csv", self.name)), csv)?;
        let file = folder.join(format!("{}.json", self.name));
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        Ok(file)
    }
}

/// All results that lie there, by name.
///
/// # Errors
/// A file that is no result.
pub fn read_all(checkout: &Path) -> Result<Vec<Report>> {
    let mut reports: Vec<Report> = Vec::new();
    for entry in fs::read_dir(folder(checkout)).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "json") && !path.ends_with(LIMITS) {
            let text = fs::read_to_string(&path)?;
            reports.push(serde_json::from_str(&text).with_context(|| format!("{} is no result", path.display()))?);
        }
    }
    reports.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(reports)
}

/// The name of the file of limits, beside the results.
const LIMITS: &str = "limits.json";

/// What the machine can do at best.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub machine: String,
    pub date: String,
    pub commit: String,
    /// Disk, what, how much.
    pub rows: Vec<(String, String, String)>,
}

impl Limits {
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, checkout: &Path) -> Result<()> {
        fs::create_dir_all(folder(checkout))?;
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(folder(checkout).join(LIMITS), text).context("write the limits")
    }
}

/// The limits that were measured last.
///
/// # Errors
/// A file that does not hold limits.
pub fn limits(checkout: &Path) -> Result<Option<Limits>> {
    match fs::read_to_string(folder(checkout).join(LIMITS)) {
        Ok(text) => serde_json::from_str(&text).map(Some).context("limits.json holds no limits"),
        Err(_) => Ok(None),
    }
}

/// The performance page, made of results and nothing else.
pub fn page(limits: Option<&Limits>, reports: &[Report]) -> String {
    let mut page = String::from(
        "# Performance\n\nMade by `cargo xtask bench page` from `results/`; edits are lost. A ratio compares ours with something else, side by side in\n\
         one run, and is turned so that higher is better: the median of the pairs. A *noisy* run shared its machine with others and is\n\
         no record. A missed floor stays here until a later run meets it.\n\n\
         | Bench | Ours | Against | Disk | Ratio | Pairs from … to | Floor | |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for report in reports {
        for run in &report.runs {
            let verdict = match (run.met(), run.noisy) {
                (true, false) => "met",
                (true, true) => "met, noisy",
                (false, false) => "**missed**",
                (false, true) => "**missed**, noisy",
            };
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} ({:.0} µs) | {:.2} | {:.2} … {:.2} ({}) | {:.2} | {verdict} |",
                report.name,
                report.ours,
                report.theirs,
                run.fsync,
                run.fdatasync_us,
                run.ratio,
                run.min,
                run.max,
                run.pairs.len(),
                run.floor
            );
        }
    }
    if let Some(limits) = limits {
        let _ = write!(
            page,
            "\n## What the machine can do\n\nAt {} on {}, {}.\n\n",
            limits.commit, limits.date, limits.machine
        );
        page.push_str("| Disk | What | |\n| --- | --- | --- |\n");
        for (disk, what, value) in &limits.rows {
            let _ = writeln!(page, "| {disk} | {what} | {value} |");
        }
    }
    for report in reports {
        let _ =
            write!(page, "\n## {}\n\nAt {} on {}, {}.\n\n", report.name, report.commit, report.date, report.machine);
        for run in &report.runs {
            let middle = |side: fn(&Pair) -> &Side| {
                let mut values: Vec<f64> = run.pairs.iter().map(|pair| side(pair).per_second).collect();
                values.sort_by(f64::total_cmp);
                median(&values)
            };
            let (ours, theirs) = (middle(|pair| &pair.ours), middle(|pair| &pair.theirs));
            let _ = writeln!(page, "- {}: {ours:.2} against {theirs:.2} (medians)", run.fsync);
            for fact in &run.facts {
                let _ = writeln!(page, "- {}: {fact}", run.fsync);
            }
        }
        for fact in report.versions.iter().chain(&report.settings) {
            let _ = writeln!(page, "- {fact}");
        }
    }
    page
}

/// Commit, with a mark when the checkout has changes that are in no commit.
pub fn commit(checkout: &Path) -> String {
    let git = |words: &[&str]| os::output(Command::new("git").args(words).current_dir(checkout)).unwrap_or_default();
    let changed =
        if git(&["status", "--porcelain", "--untracked-files=no"]).trim().is_empty() { "" } else { " with changes" };
    format!("{}{changed}", git(&["rev-parse", "--short=12", "HEAD"]).trim())
}

pub fn date() -> String {
    os::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])).unwrap_or_default().trim().to_owned()
}

/// Processors, memory and kernel in one line.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(':'));
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: u64 = memory.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{count} x {}, {} GiB, Linux {}",
        model.map_or("unknown processor", |(_, name)| name.trim()),
        kilobytes / 1024 / 1024,
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ratio: f64, foreign: f64) -> Pair {
        let side = |per_second| Side { per_second, cpu: Vec::new(), per_cpu_second: per_second };
        Pair { ours: side(100.0 * ratio), theirs: side(100.0), ratio, foreign }
    }

    #[test]
    fn a_run_is_the_median_of_its_pairs_and_says_whether_the_floor_is_met() {
        let run = Run::of("raw", 33.0, [1.1, 0.9, 1.0].map(|ratio| pair(ratio, 0.0)).to_vec(), 1.0);
        assert_eq!(run.line("order-batched"), "order-batched ratio=1.00 min=0.90 max=1.10 pairs=3 floor=1.00 ok");
        let run = Run::of("1ms", 1_050.0, [0.8, 0.9].map(|ratio| pair(ratio, 0.0)).to_vec(), 1.0);
        assert_eq!(run.line("x"), "x fsync=1ms ratio=0.85 min=0.80 max=0.90 pairs=2 floor=1.00 missed");
    }

    #[test]
    fn a_wide_spread_or_a_busy_machine_makes_a_run_noisy() {
        let noisy = |pairs: &[Pair]| Run::of("raw", 33.0, pairs.to_vec(), 1.0).noisy;
        assert!(!noisy(&[pair(1.0, 0.05), pair(1.4, 0.0)]));
        assert!(noisy(&[pair(1.0, 0.0), pair(1.6, 0.0)]));
        assert!(noisy(&[pair(1.0, 0.0), pair(1.0, 0.2)]));
    }

    #[test]
    fn the_page_tells_of_each_run_and_of_a_missed_floor() {
        let runs = vec![
            Run::of("raw", 33.0, vec![pair(2.0, 0.0)], 1.0).with(vec!["saturated at 9".to_owned()]),
            Run::of("1ms", 1_050.0, vec![pair(0.5, 0.3)], 2.0),
        ];
        let report = Report {
            name: "order-batched".to_owned(),
            ours: "orders".to_owned(),
            theirs: "inserts".to_owned(),
            commit: "abc".to_owned(),
            date: "today".to_owned(),
            machine: "a machine".to_owned(),
            versions: vec!["PostgreSQL 15".to_owned()],
            settings: vec!["prices are stood in for".to_owned()],
            runs,
        };
        let limits = Limits {
            machine: "a machine".to_owned(),
            date: "today".to_owned(),
            commit: "abc".to_owned(),
            rows: vec![("raw".to_owned(), "SELECT 1, 8 clients".to_owned(), "7 per second".to_owned())],
        };
        let page = page(Some(&limits), &[report]);
        assert!(page.contains("| raw | SELECT 1, 8 clients | 7 per second |"), "{page}");
        assert!(page.contains("- raw: 200.00 against 100.00 (medians)\n- raw: saturated at 9"), "{page}");
        assert!(page.contains("| raw (33 µs) | 2.00 | 2.00 … 2.00 (1) | 1.00 | met |"), "{page}");
        assert!(page.contains("| 1ms (1050 µs) | 0.50 | 0.50 … 0.50 (1) | 2.00 | **missed**, noisy |"), "{page}");
        assert!(page.contains("- prices are stood in for"), "{page}");
    }
}
