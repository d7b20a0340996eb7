//! `bench quality-search`: what shoppers asked, put to the shop's own search and to plain BM25 over all text, judged by what
//! people said of the answers. Decided here: what is compared, when the floor is met, what is written down. Not decided here: how
//! the questions are put (`tests/quality`) and how good a list is (`measures`).
//!
//! The floor has three parts: the mixed nDCG@10 is at least the baseline's plus 0.02, no class of queries is below the baseline,
//! and recall at fifty is not below it either. The ratio alone would let one of them hide behind another.

pub mod measures;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use self::measures::{Measures, Ratings, by_chance, is_answerable, is_mixed, mean, measure};
use super::results::{self, Pair, Report, Run, Side};
use crate::layout::{self, Layout};
use crate::os;
use crate::ports::Ports;
use crate::stack::TEST_OFFSET;

pub const NAME: &str = "quality-search";
/// What has to be gained over the baseline.
const GAIN: f64 = 0.02;
/// The setting that names the folder of the data sets, and where it lies otherwise, seen from the checkout.
const SETTING: &str = "SHOPSPHERE_DATASETS";
const BESIDE: &[&str] = &["../shared/datasets", "../../shared/datasets"];
const FILES: [&str; 3] = ["products.ndjson.gz", "queries.tsv.gz", "qrels.tsv.gz"];

const SETTINGS: &[&str] = &[
    "ours: GET /v1/search of a real catalog process in role serve, Accept-Language: en, first 100 products; nobody is logged in, so nothing is personal",
    "the products went into the index by the shop's own document builder and mapping in bulk, not through the document store and Kafka, which would take longer and change no document",
    "against: one field of all text (title, short description, attribute values, supplier, name, EANs) with the english analyzer of Elasticsearch, BM25 with k1 1.2 and b 0.75, any word, same server, same run",
    "nDCG@10: gain 2^rating - 1, discount 1/log2(rank + 1), ideal from all judged products of the query, unjudged 0; mixed: 5 to 60 % of the judged products are rated 2 or 3",
    "misspelt, identifier and most brand queries are made from the judged ones: the longest word loses its middle letter, or two middle letters change places; the EAN and the part number of the first product rated 3; its supplier before the query, products of other suppliers then rated 1 at most",
];

/// One query, what people said, and what was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    pub id: String,
    pub text: String,
    pub class: String,
    /// Made from another query by a rule.
    pub made: bool,
    pub ratings: Ratings,
    pub ours: Vec<String>,
    pub theirs: Vec<String>,
    pub ours_ms: f64,
    pub theirs_ms: f64,
}

/// What `tests/quality` gives back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answers {
    pub products: usize,
    pub server: String,
    pub asked: Vec<Asked>,
    /// From the cross-validation, when it was asked for.
    pub tuned: Vec<String>,
}

/// # Errors
/// A build that fails, servers that are not there, a result that cannot be written.
pub fn run(data: Option<PathBuf>, tune: bool, no_build: bool) -> Result<ExitCode> {
    let checkout = layout::checkout();
    let Some(data) = folder(data) else {
        println!("{NAME} missing: no {} found; name their folder with --data or {SETTING}", FILES.join(", "));
        return Ok(ExitCode::from(3));
    };
    if !no_build {
        let mut cargo = os::patient("cargo");
        cargo.args(["build", "--package", "quality", "--package", "catalog"]).current_dir(&checkout);
        if !cargo.status()?.success() {
            bail!("the programs do not build; see the messages above");
        }
    }
    let ports = Ports::from_env(TEST_OFFSET)?;
    if let Err(error) = crate::net::http_ok(ports.of(crate::ports::Port::Elasticsearch), "/") {
        println!(
            "{NAME} missing: no Elasticsearch of the test stack ({error}); `./dev servers up --offset 2000` starts it"
        );
        return Ok(ExitCode::from(3));
    }
    let answers = ask(&checkout, &data, tune, ports)?;
    let table = Table::of(&answers.asked);
    print!("{}", table.text(&answers));
    let run = table.run();
    let report = Report {
        name: NAME.to_owned(),
        ours: "mixed nDCG@10 of the shop's search".to_owned(),
        theirs: "mixed nDCG@10 of BM25 over all text as one field".to_owned(),
        commit: results::commit(&checkout),
        date: results::date(),
        machine: results::machine(),
        versions: vec![answers.server.clone()],
        settings: SETTINGS
            .iter()
            .map(|fact| (*fact).to_owned())
            .chain(table.facts())
            .chain(answers.tuned.clone())
            .collect(),
        runs: vec![run.clone()],
    };
    let file = report.write(&checkout)?;
    fs::write(file.with_extension("csv"), table.csv())?;
    println!("written to {}", file.strip_prefix(&checkout).unwrap_or(&file).display());
    let broken = table.broken();
    broken.iter().for_each(|reason| println!("{NAME}: {reason}"));
    println!("{}", run.line(NAME));
    Ok(if run.met() && broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The folder with all three files: the one that was named, that of the setting, or the one beside the checkout.
fn folder(named: Option<PathBuf>) -> Option<PathBuf> {
    let complete = |folder: &PathBuf| FILES.iter().all(|file| folder.join(file).is_file());
    if let Some(named) = named {
        return Some(named).filter(complete);
    }
    let checkout = layout::checkout();
    let beside = BESIDE.iter().map(|place| checkout.join(place));
    std::env::var_os(SETTING)
        .map(PathBuf::from)
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join("icecat"))
        .find(complete)
}

fn ask(checkout: &std::path::Path, data: &std::path::Path, tune: bool, ports: Ports) -> Result<Answers> {
    let mut command = Command::new(checkout.join("target/debug/quality"));
    command
        .arg(data)
        .args(tune.then_some("--tune"))
        .env("SHOPSPHERE_PORT_OFFSET", ports.offset().to_string())
        .env("SHOPSPHERE_STATE_DIR", Layout::from_env(checkout)?.state)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().context("run target/debug/quality")?;
    if !output.status.success() {
        bail!("the questions could not be put; see the messages above");
    }
    serde_json::from_slice(&output.stdout).context("what target/debug/quality printed")
}

struct Row<'a> {
    asked: &'a Asked,
    ours: Measures,
    theirs: Measures,
}

/// Everything measured.
struct Table<'a> {
    rows: Vec<Row<'a>>,
}

type Get = fn(&Measures) -> Option<f64>;

const COLUMNS: [(&str, Get); 6] = [
    ("nDCG@10", |m| Some(m.ndcg)),
    ("condensed", |m| Some(m.condensed)),
    ("judged@10", |m| Some(m.judged)),
    ("P@10", |m| Some(m.precision)),
    ("R@50", |m| m.recall),
    ("MRR@10", |m| Some(m.reciprocal)),
];

impl<'a> Table<'a> {
    fn of(asked: &'a [Asked]) -> Self {
        let row = |asked: &'a Asked| Row {
            asked,
            ours: measure(&asked.ratings, &asked.ours),
            theirs: measure(&asked.ratings, &asked.theirs),
        };
        Self { rows: asked.iter().filter(|asked| is_answerable(&asked.ratings)).map(row).collect() }
    }

    fn judged(&self) -> Vec<&Row<'a>> {
        self.rows.iter().filter(|row| !row.asked.made).collect()
    }

    fn mixed(&self) -> Vec<&Row<'a>> {
        self.judged().into_iter().filter(|row| is_mixed(&row.asked.ratings)).collect()
    }

    fn classes(&self) -> BTreeMap<&'a str, Vec<&Row<'a>>> {
        let mut classes: BTreeMap<&str, Vec<&Row<'a>>> = BTreeMap::new();
        for row in &self.rows {
            classes.entry(&row.asked.class).or_default().push(row);
        }
        classes
    }

    fn run(&self) -> Run {
        let (ours, theirs) = means(&self.mixed(), |m| Some(m.ndcg));
        let side = |value: f64| Side { per_second: value, cpu: Vec::new(), per_cpu_second: 0.0 };
        let pair =
            Pair { ours: side(ours), theirs: side(theirs), ratio: ours / theirs.max(f64::EPSILON), foreign: 0.0 };
        Run::of("raw", 0.0, vec![pair], (theirs + GAIN) / theirs.max(f64::EPSILON))
    }

    /// What the ratio alone would hide.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (class, rows) in self.classes() {
            let (ours, theirs) = means(&rows, |m| Some(m.ndcg));
            if ours < theirs {
                broken.push(format!("the class {class} is below the baseline: {ours:.3} < {theirs:.3}"));
            }
        }
        let (ours, theirs) = means(&self.mixed(), |m| m.recall);
        if ours < theirs {
            broken.push(format!("recall at fifty is below the baseline: {ours:.3} < {theirs:.3}"));
        }
        broken
    }

    fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        let mut tell = |what: String, rows: &[&Row<'a>]| {
            let columns = COLUMNS.iter().map(|(name, get)| {
                let (ours, theirs) = means(rows, *get);
                format!("{name} {ours:.3} against {theirs:.3}")
            });
            let differences: Vec<f64> = rows.iter().map(|row| row.ours.ndcg - row.theirs.ndcg).collect();
            let columns: Vec<String> = columns.collect();
            facts.push(format!(
                "{what} ({} queries): {}; nDCG by chance alone: p = {:.4}",
                rows.len(),
                columns.join(", "),
                by_chance(&differences)
            ));
        };
        tell("all judged queries".to_owned(), &self.judged());
        tell("mixed".to_owned(), &self.mixed());
        for (class, rows) in self.classes() {
            tell(format!("class {class}"), &rows);
        }
        facts
    }

    fn text(&self, answers: &Answers) -> String {
        let mut text =
            format!("{} products, {} queries, {}\n\n", answers.products, answers.asked.len(), answers.server);
        SETTINGS.iter().for_each(|fact| {
            let _ = writeln!(text, "- {fact}");
        });
        let _ = writeln!(
            text,
            "\n{:<28} {:<12} {:>6} {:>6} {:>7} {:>7} {:>6}",
            "query", "class", "ours", "BM25", "cond.", "R@50", "mixed"
        );
        for Row { asked, ours, theirs } in &self.rows {
            let _ = writeln!(
                text,
                "{:<28} {:<12} {:>6.3} {:>6.3} {:>7.3} {:>7.3} {:>6}",
                asked.text.chars().take(28).collect::<String>(),
                asked.class,
                ours.ndcg,
                theirs.ndcg,
                ours.condensed,
                ours.recall.unwrap_or(0.0),
                if !asked.made && is_mixed(&asked.ratings) { "yes" } else { "" }
            );
        }
        text.push('\n');
        for fact in self.facts().iter().chain(&answers.tuned) {
            let _ = writeln!(text, "{fact}");
        }
        let none = answers.asked.iter().filter(|asked| asked.ours.is_empty()).count();
        let time = |get: fn(&Asked) -> f64| {
            let mut times: Vec<f64> = answers.asked.iter().map(get).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(0.0)
        };
        let _ = writeln!(
            text,
            "{none} of {} queries found nothing; median {:.1} ms through the shop (unoptimised), {:.1} ms for the bare query",
            answers.asked.len(),
            time(|asked| asked.ours_ms),
            time(|asked| asked.theirs_ms)
        );
        text
    }

    fn csv(&self) -> String {
        let mut csv = String::from(
            "query,class,made,mixed,ours_ndcg,bm25_ndcg,ours_condensed,bm25_condensed,ours_r50,bm25_r50,ours_mrr,bm25_mrr\n",
        );
        for Row { asked, ours, theirs } in &self.rows {
            let _ = writeln!(
                csv,
                "{},{},{},{},{:.4},{:.4},{:.4},{:.4},{:.4},{:.4},{:.4},{:.4}",
                asked.id,
                asked.class,
                asked.made,
                is_mixed(&asked.ratings),
                ours.ndcg,
                theirs.ndcg,
                ours.condensed,
                theirs.condensed,
                ours.recall.unwrap_or(0.0),
                theirs.recall.unwrap_or(0.0),
                ours.reciprocal,
                theirs.reciprocal
            );
        }
        csv
    }
}

fn means(rows: &[&Row<'_>], get: Get) -> (f64, f64) {
    (mean(rows.iter().filter_map(|row| get(&row.ours))), mean(rows.iter().filter_map(|row| get(&row.theirs))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(class: &str, made: bool, ours: &str, theirs: &str) -> Asked {
        let list = |ids: &str| ids.chars().map(String::from).collect();
        Asked {
            id: "q".to_owned(),
            text: "a thing".to_owned(),
            class: class.to_owned(),
            made,
            ratings: [("a".to_owned(), 3), ("b".to_owned(), 0)].into(),
            ours: list(ours),
            theirs: list(theirs),
            ours_ms: 1.0,
            theirs_ms: 1.0,
        }
    }

    #[test]
    fn a_better_order_is_a_ratio_above_one() {
        let all = [asked("words", false, "ab", "ba")];
        let table = Table::of(&all);
        assert!(table.run().met() && table.run().ratio > 1.5, "{:?}", table.run());
        assert!(table.broken().is_empty());
        assert_eq!(table.csv().lines().count(), 2);
    }

    #[test]
    fn a_class_below_the_baseline_and_lost_recall_are_told_although_the_ratio_is_fine() {
        let all =
            [asked("words", false, "ab", "ba"), asked("words", false, "ab", "ba"), asked("misspelt", true, "ba", "ab")];
        let table = Table::of(&all);
        assert!(table.run().met());
        assert!(table.broken()[0].contains("misspelt"), "{:?}", table.broken());
        let all =
            [asked("words", false, "ab", "ba"), asked("words", false, "", "ba"), asked("words", false, "ab", "ba")];
        assert!(Table::of(&all).broken().iter().any(|reason| reason.contains("recall")));
    }

    #[test]
    fn data_that_are_not_there_are_not_found() {
        assert_eq!(folder(Some(PathBuf::from("/nonexistent"))), None);
    }
}
