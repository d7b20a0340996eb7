//! `bench quality-recs`: how well recommendations foresee the next click, on recorded visits. Decided here: what is compared, the
//! floor, and how the lab's table becomes a result. The judging itself is `tools/quality-recs`.
//!
//! Nothing here depends on the speed of the machine but one limit on computing time, so there are no pairs and no noise: the same
//! data give the same figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use super::results::{self, Pair, Report, Run, Side};
use crate::{layout, os};

pub const NAME: &str = "quality-recs";
const OURS: &str = "HR@20 and MRR@20 of the shipped mixture, the lesser gain counts: the next click of a recorded day, all items ranked";
const THEIRS: &str = "the same of VMIS-kNN (k 288, m 1502, idf 2, last 4 items)";

/// Two rows of the lab's table that are compared with the floor, and in which columns.
struct Judged {
    /// Behind the mode, in the name of the run.
    rule: &'static str,
    ours: &'static str,
    theirs: &'static str,
    hits: &'static str,
    ranks: &'static str,
}

/// As the published methods are compared, all of which may foretell that somebody goes back to what they looked at; and as a page of
/// the shop is made, which leaves out what was looked at: there it is asked for what is new, and the baseline keeps the same rule.
static JUDGED: [Judged; 2] = [
    Judged { rule: "", ours: "ours", theirs: "VMIS-kNN", hits: "hr20", ranks: "mrr20" },
    Judged {
        rule: ", as it ships",
        ours: "ours as it ships",
        theirs: "VMIS-kNN of new items",
        hits: "new_hr20",
        ranks: "new_mrr20",
    },
];
const MODES: [&str; 2] = ["frozen", "online"];

/// Ours is to be better by three in a hundred; as good is the least.
const FLOOR: f64 = 1.03;
/// A page waits for the answer: computing it may take this long on one core, in 99 of 100 cases.
const MOST_MICROS: f64 = 2_000.0;
/// A difference that chance would make more often than this is none.
const MOST_CHANCE: f64 = 0.05;

const SETTINGS: &[&str] = &[
    "Frozen: the model knows the training part; online: also the visits that ended before the case. The item just clicked is never recommended; targets are read after the last answer.",
    "Compared with the floor are, in the runs `frozen` and `online`, the rows `ours` and `VMIS-kNN` (hr20, mrr20): lists that may go back to what was looked at, as published methods are compared. In the runs `as it ships` it is the rows `ours as it ships` and `VMIS-kNN of new items` (new_hr20, new_mrr20): lists without what was looked at, as the service makes them for a page, judged by the clicks on something new.",
    "The weights of the mixture were learned on the last days of the training part alone (`quality-recs --fit`); the cases were used to report.",
    "The column of the disk means nothing here.",
];

/// # Errors
/// When the lab does not build or its table does not read.
pub fn run(data: Option<&Path>, no_build: bool) -> Result<ExitCode> {
    let Some(folder) = data.map(Path::to_path_buf).or_else(shared) else {
        println!(
            "{NAME} missing: there is no folder shared/datasets/bolcom beside or above this checkout; --data DIR names one"
        );
        return Ok(ExitCode::from(3));
    };
    let checkout = layout::checkout();
    let mut cargo = os::patient("cargo");
    cargo.args(["build", "--release", "--package", "quality-recs"]).current_dir(&checkout);
    if !no_build && !cargo.status()?.success() {
        bail!("the lab does not build; see the messages above");
    }
    let lab = Command::new(checkout.join("target/release/quality-recs")).arg("--data").arg(&folder).output()?;
    let told = String::from_utf8_lossy(&lab.stdout).into_owned();
    print!("{told}");
    match lab.status.code() {
        Some(0) => {}
        Some(3) => {
            println!("{NAME} missing: the data are not there");
            return Ok(ExitCode::from(3));
        }
        _ => bail!("the lab failed: {}", String::from_utf8_lossy(&lab.stderr).trim()),
    }
    let table = Table::read(&told)?;
    let all = JUDGED.iter().flat_map(|judged| MODES.map(|mode| (judged, mode)));
    let runs = all.clone().map(|(judged, mode)| table.run(judged, mode)).collect::<Result<Vec<Run>>>()?;
    // Another shop's data are looked at, not recorded.
    if data.is_none() {
        write(&checkout, &table, &runs)?;
    }
    runs.iter().for_each(|run| println!("{NAME} {} {}", run.fsync, run.line("").replace(" fsync=1ms", "").trim()));
    let slowest = all.map(|(judged, mode)| table.of(judged.ours, mode, "p99_us")).collect::<Result<Vec<f64>>>()?;
    if let Some(slow) = slowest.into_iter().find(|micros| *micros > MOST_MICROS) {
        println!("{NAME} missed: an answer takes {slow:.0} µs, more than {MOST_MICROS:.0}");
        return Ok(ExitCode::from(1));
    }
    if table.chances.iter().any(|(_, hits, ranks)| *hits > MOST_CHANCE || *ranks > MOST_CHANCE) {
        println!("{NAME} missed: the difference may be chance");
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::from(u8::from(!runs.iter().all(Run::met))))
}

/// The recorded visits, in a folder that lies beside the checkout or beside one of the folders above it.
fn shared() -> Option<PathBuf> {
    let checkout = layout::checkout();
    let folders = checkout.ancestors().skip(1).take(3).map(|above| above.join("shared/datasets/bolcom"));
    folders.into_iter().find(|folder| folder.is_dir())
}

/// What the lab printed.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// By mode: how likely the differences in hits and in ranks are by chance.
    chances: Vec<(String, f64, f64)>,
    told: Vec<String>,
}

impl Table {
    fn read(text: &str) -> Result<Self> {
        let told = text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect();
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let fields = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<String>>();
        let columns = fields(lines.next().context("the lab printed nothing")?);
        let (mut rows, mut chances) = (Vec::new(), Vec::new());
        for row in lines.map(fields) {
            match row.as_slice() {
                [what, mode, hits, ranks] if what == "paired" => {
                    chances.push((mode.clone(), hits.parse()?, ranks.parse()?));
                }
                row if row.len() == columns.len() => rows.push(row.to_vec()),
                row => bail!("the lab printed a line of {} fields", row.len()),
            }
        }
        Ok(Self { columns, rows, chances, told })
    }

    fn of(&self, model: &str, mode: &str, column: &str) -> Result<f64> {
        let place = self.columns.iter().position(|name| name == column);
        let row = self.rows.iter().find(|row| row[0] == model && row[1] == mode);
        let (place, row) = place.zip(row).with_context(|| format!("no {column} of {model}, {mode}"))?;
        Ok(row[place].parse()?)
    }

    /// The lesser of the two gains is the ratio: hits must not be bought with ranks.
    fn run(&self, judged: &Judged, mode: &str) -> Result<Run> {
        let pair = |column: &str| -> Result<Pair> {
            let (ours, theirs) = (self.of(judged.ours, mode, column)?, self.of(judged.theirs, mode, column)?);
            let side = |per_second| Side { per_second, cpu: Vec::new(), per_cpu_second: 0.0 };
            Ok(Pair {
                ours: side(ours),
                theirs: side(theirs),
                ratio: ours / theirs.max(f64::MIN_POSITIVE),
                foreign: 0.0,
            })
        };
        let (hits, ranks) = (pair(judged.hits)?, pair(judged.ranks)?);
        let least = if hits.ratio < ranks.ratio { hits } else { ranks };
        Ok(Run::of(&format!("{mode}{}", judged.rule), 0.0, vec![least], FLOOR))
    }
}

fn write(checkout: &Path, table: &Table, runs: &[Run]) -> Result<()> {
    let mut settings: Vec<String> = SETTINGS.iter().map(|fact| (*fact).to_owned()).collect();
    settings.extend(table.told.iter().cloned());
    for (mode, hits, ranks) in &table.chances {
        settings.push(format!("Paired test over visits, {mode}: by chance with probability {hits} (HR@20), {ranks} (MRR@20); 0.0001 is the least it can say."));
    }
    for row in &table.rows {
        let named = table.columns.iter().zip(row).skip(2).map(|(column, value)| format!("{column} {value}"));
        settings.push(format!("{}, {}: {}", row[0], row[1], named.collect::<Vec<_>>().join(", ")));
    }
    let report = Report {
        name: NAME.to_owned(),
        ours: OURS.to_owned(),
        theirs: THEIRS.to_owned(),
        commit: results::commit(checkout),
        date: results::date(),
        machine: results::machine(),
        versions: Vec::new(),
        settings,
        runs: runs.to_vec(),
    };
    let file = report.write(checkout)?;
    // A row per model says more than a row per pair.
    let rows = std::iter::once(&table.columns).chain(&table.rows).map(|row| format!("{}\n", row.join(",")));
    fs::write(file.with_extension("csv"), rows.collect::<String>())?;
    println!("written to {}", file.strip_prefix(checkout).unwrap_or(&file).display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "# 2 visits\nmodel\tmode\thr20\tmrr20\tnew_hr20\tnew_mrr20\tp99_us\n\
        VMIS-kNN\tfrozen\t0.50\t0.20\t0.4\t0.2\t9\nours\tfrozen\t0.60\t0.30\t0.4\t0.1\t7\n\
        VMIS-kNN of new items\tfrozen\t0.30\t0.10\t0.50\t0.20\t9\n\
        ours as it ships\tfrozen\t0.20\t0.05\t0.55\t0.19\t7\npaired\tfrozen\t0.0100\t0.0200\n";

    #[test]
    fn the_ratio_is_the_lesser_of_both_gains() {
        let table = Table::read(TOLD).expect("a table");
        let run = table.run(&JUDGED[0], "frozen").expect("both models are there");
        assert!((run.ratio - 1.2).abs() < 1e-9 && run.met() && !run.noisy);
        assert_eq!(table.chances, [("frozen".to_owned(), 0.01, 0.02)]);
    }

    #[test]
    fn what_ships_is_judged_by_new_items_under_the_same_rule_and_may_miss_where_the_comparison_meets() {
        let table = Table::read(TOLD).expect("a table");
        let run = table.run(&JUDGED[1], "frozen").expect("both models are there");
        assert!((run.ratio - 0.95).abs() < 1e-9 && !run.met(), "{}", run.ratio);
        assert_eq!(run.fsync, "frozen, as it ships");
    }

    #[test]
    fn a_table_without_a_model_or_of_another_shape_is_no_result() {
        let table = Table::read(TOLD).expect("a table");
        assert!(JUDGED.iter().all(|judged| table.run(judged, "online").is_err()));
        let old = TOLD.replace("ours as it ships", "ours in another way");
        assert!(Table::read(&old).expect("a table").run(&JUDGED[1], "frozen").is_err());
        assert!(Table::read(&TOLD.replace("\t9\n", "\n")).is_err() && Table::read("").is_err());
    }
}
