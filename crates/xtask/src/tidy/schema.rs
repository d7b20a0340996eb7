//! Migrations: first expand, later contract. While a migration runs and for as long as two releases serve side by side, the older
//! binary reads and writes the new tables. So a step that takes something away from it says since which migration nobody
//! reads it: `-- contract: last reader went in 0171: why`. A rule that is dropped or replaced by a wider one has no reader:
//! `-- contract: no reader: why`.
//!
//! Read word by word, not understood: whether a new check refuses what the older binary writes, and whether the reader really went,
//! is seen by who reviews it and by the two releases under load.

use std::collections::BTreeSet;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Violation;

const FOLDER: &str = "migrations";
const RULE: &str = "contract";
const MARK: &str = "contract:";

/// A migration from before this rule. Databases remember its checksum, so it cannot be given a comment any more; what it takes away
/// was counted and judged once.
struct Judged {
    file: &'static str,
    steps: usize,
    verdict: &'static str,
}

const JUDGED: &[Judged] = &[
    Judged {
        file: "inventory/0110_centres_and_back_orders.sql",
        steps: 13,
        verdict: "no expansion: receipts of the release before it are refused, because a row of stock has another key",
    },
    Judged { file: "inventory/0113_corrections.sql", steps: 2, verdict: "two checks became wider" },
    Judged {
        file: "order_payment/0121_ledger_transactions.sql",
        steps: 9,
        verdict: "a trigger names what the release before it inserts; movements without an attempt, which that release did not \
                  know, came with the same release",
    },
    Judged {
        file: "order_payment/0122_refunds.sql",
        steps: 2,
        verdict: "a wider check; the release before it assumed one refund of an order at most",
    },
    Judged { file: "order_payment/0130_gateways.sql", steps: 1, verdict: "a wider check" },
    Judged { file: "order_payment/0131_settlements.sql", steps: 1, verdict: "a wider check" },
    Judged { file: "order_payment/0150_operators.sql", steps: 1, verdict: "a check of names became one of their form" },
    Judged {
        file: "order_payment/0160_people_stay_home.sql",
        steps: 1,
        verdict: "the column is written by a function only, which is replaced in the same migration",
    },
    Judged {
        file: "order_payment/0170_promotions.sql",
        steps: 1,
        verdict: "the same check for lines without a reduction",
    },
    Judged { file: "order_payment/0171_reductions.sql", steps: 1, verdict: "a wider check" },
];

/// Every step that takes something away and does not say why it may.
///
/// # Errors
/// When a migration cannot be read.
pub fn check(root: &Path) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for folder in entries(&root.join(FOLDER))? {
        let files: Vec<PathBuf> = entries(&folder)?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
            .collect();
        let numbers: BTreeSet<u32> = files.iter().filter_map(|path| number(path)).collect();
        for path in files {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            found.extend(check_file(path.strip_prefix(root).unwrap_or(&path), &text, &numbers));
        }
    }
    Ok(found)
}

/// Sorted; empty where there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// `0171` of `0171_reductions.sql`.
fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.split_once('_')?.0.parse().ok()
}

fn check_file(file: &Path, text: &str, numbers: &BTreeSet<u32>) -> Vec<Violation> {
    let steps = unexplained(text, number(file), numbers);
    let violation = |line, message| Violation { file: file.to_owned(), line, rule: RULE, message };
    let judged = JUDGED.iter().find(|judged| Path::new(FOLDER).join(judged.file) == file);
    match judged {
        Some(judged) if steps.len() == judged.steps => Vec::new(),
        Some(Judged { steps: before, verdict, .. }) => {
            vec![violation(1, format!("{} steps where {before} were judged: {verdict}", steps.len()))]
        }
        None => steps.into_iter().map(|(line, message)| violation(line, message)).collect(),
    }
}

/// Line and fault of each step that nothing explains.
fn unexplained(text: &str, own: Option<u32>, numbers: &BTreeSet<u32>) -> Vec<(usize, String)> {
    let (words, notes) = words(text);
    let (mut made, mut found, mut before) = (BTreeSet::new(), Vec::new(), 0);
    for statement in words.split(|word| word.text == ";").filter(|statement| !statement.is_empty()) {
        let end = statement.last().map_or(before, |word| word.line);
        let note = notes.iter().find(|note| note.line > before && note.line <= end);
        for step in steps(statement, &made) {
            if let Err(fault) = explained(&step, note, own, numbers) {
                found.push((step.line, format!("{}: {fault}", step.what)));
            }
        }
        remember(statement, &mut made);
        before = end;
    }
    found
}

/// Whether the comment at a step is a reason for it.
fn explained(step: &Step, note: Option<&Word>, own: Option<u32>, numbers: &BTreeSet<u32>) -> Result<(), String> {
    let Some(note) = note else {
        return Err(format!("say above it `-- {MARK} last reader went in <migration>: <why>`"));
    };
    let Some((claim, why)) = note.text.split_once(':') else { return Err("its comment does not say why".to_owned()) };
    if why.trim().is_empty() {
        return Err("its comment does not say why".to_owned());
    }
    if claim.trim() == "no reader" {
        return if step.loosens {
            Ok(())
        } else {
            Err("it has readers: name the migration in which the last one went".to_owned())
        };
    }
    let went = claim.trim().strip_prefix("last reader went in ").and_then(|number| number.parse::<u32>().ok());
    match (went, own) {
        (Some(went), Some(own)) if went < own && numbers.contains(&went) => Ok(()),
        (Some(went), _) => Err(format!("{went:04} is no migration before this one")),
        (None, _) => Err("its comment names no migration".to_owned()),
    }
}

/// Upper-case, or a mark; of a comment all that follows `contract:`.
struct Word {
    text: String,
    line: usize,
}

/// The words and marks of a text without its comments, and the comments that explain a step. What stands in quotes is read too: it
/// may be a statement that is put together.
fn words(text: &str) -> (Vec<Word>, Vec<Word>) {
    let (mut words, mut notes) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let line_number = at + 1;
        let (code, comment) = line.split_once("--").unwrap_or((line, ""));
        if let Some(note) = comment.trim().strip_prefix(MARK) {
            notes.push(Word { text: note.trim().to_owned(), line: line_number });
        }
        let mut word = String::new();
        for letter in code.chars().chain([' ']) {
            if letter.is_alphanumeric() || matches!(letter, '_' | '%') {
                word.extend(letter.to_uppercase());
                continue;
            }
            if !word.is_empty() {
                words.push(Word { text: mem::take(&mut word), line: line_number });
            }
            if matches!(letter, '(' | ')' | ',' | ';') {
                words.push(Word { text: letter.to_string(), line: line_number });
            }
        }
    }
    (words, notes)
}

/// Something that is taken away.
struct Step {
    line: usize,
    what: String,
    /// A rule that nobody reads: what it allowed is allowed still.
    loosens: bool,
}

const THINGS: &[&str] = &[
    "TABLE",
    "VIEW",
    "INDEX",
    "TYPE",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "SEQUENCE",
    "SCHEMA",
    "DOMAIN",
    "EXTENSION",
    "POLICY",
    "RULE",
];

/// The steps of a statement on what was there before this migration.
fn steps(statement: &[Word], made: &BTreeSet<String>) -> Vec<Step> {
    let table = statement.windows(2).position(|pair| pair[0].text == "ALTER" && pair[1].text == "TABLE");
    if let Some(at) = table {
        return steps_of_table(&statement[at + 2..], made);
    }
    let of_ours = statement.iter().any(|word| made.contains(&word.text));
    let mut found = Vec::new();
    for (at, pair) in statement.windows(2).enumerate().filter(|_| !of_ours) {
        let [first, second] = pair else { continue };
        let rest = &statement[at + 2..];
        let name = rest.iter().find(|word| !matches!(word.text.as_str(), "IF" | "EXISTS" | "CONCURRENTLY"));
        let name = name.map_or("?", |word| word.text.as_str()).to_lowercase();
        let thing = second.text.to_lowercase();
        let is_thing = THINGS.contains(&second.text.as_str()) || second.text == "MATERIALIZED";
        match first.text.as_str() {
            "DROP" if is_thing => found.push(Step {
                line: first.line,
                what: format!("drops the {thing} {name}"),
                loosens: matches!(thing.as_str(), "index" | "trigger" | "rule"),
            }),
            "ALTER" if second.text == "TYPE" && rest.get(1).is_none_or(|word| word.text != "ADD") => {
                found.push(Step { line: first.line, what: format!("changes the type {name}"), loosens: false });
            }
            "ALTER" if is_thing && rest.iter().any(|word| word.text == "RENAME") => {
                found.push(Step { line: first.line, what: format!("renames the {thing} {name}"), loosens: false });
            }
            "REVOKE" => found.push(Step { line: first.line, what: "takes a right".to_owned(), loosens: false }),
            _ => {}
        }
    }
    found
}

/// What follows `ALTER TABLE`: its clauses, one by one.
fn steps_of_table(words: &[Word], made: &BTreeSet<String>) -> Vec<Step> {
    let words: Vec<&Word> =
        words.iter().skip_while(|word| matches!(word.text.as_str(), "IF" | "EXISTS" | "ONLY")).collect();
    let Some((table, rest)) = words.split_first() else { return Vec::new() };
    if made.contains(&table.text) {
        return Vec::new();
    }
    // What stands in brackets belongs to a clause and says nothing about it; a bracket that was not opened ends the statement.
    let (mut clauses, mut depth) = (vec![Vec::new()], 0_usize);
    for word in rest {
        match word.text.as_str() {
            "(" => depth += 1,
            ")" if depth == 0 => break,
            ")" => depth -= 1,
            "," if depth == 0 => clauses.push(Vec::new()),
            _ if depth == 0 => {
                if let Some(clause) = clauses.last_mut() {
                    clause.push(*word);
                }
            }
            _ => {}
        }
    }
    let table = table.text.to_lowercase();
    clauses.iter().filter_map(|clause| step_of_clause(clause, &table)).collect()
}

fn step_of_clause(clause: &[&Word], table: &str) -> Option<Step> {
    let texts: Vec<&str> = clause.iter().map(|word| word.text.as_str()).collect();
    let says = |run: &[&str]| texts.windows(run.len()).any(|words| words == run);
    let adds_rule =
        |second: &str| matches!(second, "CONSTRAINT" | "CHECK" | "UNIQUE" | "PRIMARY" | "FOREIGN" | "EXCLUDE");
    let what = match texts.as_slice() {
        ["DROP", "CONSTRAINT", ..] => "drops a constraint",
        ["DROP", ..] => "drops a column",
        _ if says(&["RENAME"]) || says(&["SET", "SCHEMA"]) => "renames something",
        ["ALTER", ..] if says(&["TYPE"]) => "changes the type of a column",
        ["ALTER", ..] if says(&["SET", "NOT", "NULL"]) => "refuses NULL in a column",
        ["ALTER", ..] if says(&["DROP", "NOT", "NULL"]) => "allows NULL in a column",
        ["ALTER", ..] if says(&["DROP"]) => "drops the default of a column",
        ["ADD", second, ..]
            if !adds_rule(second)
                && (says(&["NOT", "NULL"]) || says(&["PRIMARY", "KEY"]))
                && !says(&["DEFAULT"])
                && !says(&["GENERATED"]) =>
        {
            "adds a column that must be written"
        }
        _ => return None,
    };
    let line = clause.first()?.line;
    Some(Step { line, what: format!("{what} of {table}"), loosens: what == "drops a constraint" })
}

/// Remembers what a statement makes: nobody reads it yet.
fn remember(statement: &[Word], made: &mut BTreeSet<String>) {
    let mut words = statement.iter().map(|word| word.text.as_str()).skip_while(|word| *word != "CREATE").skip(1);
    let kind = words.find(|word| !matches!(*word, "UNIQUE" | "CONSTRAINT" | "MATERIALIZED" | "TEMPORARY" | "UNLOGGED"));
    let name = words.find(|word| !matches!(*word, "IF" | "NOT" | "EXISTS" | "CONCURRENTLY"));
    // `CREATE OR REPLACE` may find something that is there.
    if let (Some(kind), Some(name)) = (kind, name)
        && THINGS.contains(&kind)
    {
        made.insert(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let numbers = BTreeSet::from([100, 101, 102]);
        unexplained(text, Some(102), &numbers).into_iter().map(|(line, message)| format!("{line} {message}")).collect()
    }

    #[test]
    fn what_takes_something_away_is_seen() {
        for (text, what) in [
            ("ALTER TABLE stock DROP COLUMN held;", "1 drops a column of stock"),
            ("ALTER TABLE stock DROP held;", "1 drops a column of stock"),
            ("ALTER TABLE stock\n    ADD COLUMN a INT,\n    DROP CONSTRAINT b;", "3 drops a constraint of stock"),
            ("alter table if exists only stock rename to shelf;", "1 renames something of stock"),
            ("ALTER TABLE stock RENAME COLUMN held TO kept;", "1 renames something of stock"),
            ("ALTER TABLE stock ALTER COLUMN held SET DATA TYPE TEXT;", "1 changes the type of a column of stock"),
            ("ALTER TABLE stock ALTER held TYPE TEXT;", "1 changes the type of a column of stock"),
            ("ALTER TABLE stock ALTER COLUMN held SET NOT NULL;", "1 refuses NULL in a column of stock"),
            ("ALTER TABLE stock ALTER COLUMN held DROP NOT NULL;", "1 allows NULL in a column of stock"),
            ("ALTER TABLE stock ALTER COLUMN held DROP DEFAULT;", "1 drops the default of a column of stock"),
            ("ALTER TABLE stock ADD COLUMN a INT NOT NULL;", "1 adds a column that must be written of stock"),
            (
                "ALTER TABLE stock ADD COLUMN b INT NULL, ADD a INT NOT NULL;",
                "1 adds a column that must be written of stock",
            ),
            (
                "DO $$ BEGIN\n EXECUTE format('ALTER TABLE stock DROP COLUMN %I', x);\nEND $$;",
                "2 drops a column of stock",
            ),
            ("DROP TABLE IF EXISTS stock;", "1 drops the table stock"),
            ("DROP INDEX stock_by_time;", "1 drops the index stock_by_time"),
            ("DROP TRIGGER a ON stock;\nCREATE TRIGGER a BEFORE UPDATE ON stock;", "1 drops the trigger a"),
            ("ALTER TYPE kind RENAME VALUE 'A' TO 'B';", "1 changes the type kind"),
            ("ALTER VIEW seen RENAME TO shown;", "1 renames the view seen"),
            ("REVOKE UPDATE ON stock FROM shop_app;", "1 takes a right"),
        ] {
            let steps = found(text);
            assert_eq!(steps.len(), 1, "{text}: {steps:?}");
            assert!(steps[0].starts_with(&format!("{what}: say above it")), "{text}: {steps:?}");
        }
    }

    #[test]
    fn what_only_adds_is_free() {
        for text in [
            "CREATE TABLE shelf (a INT NOT NULL);\nALTER TABLE shelf DROP COLUMN a;\nDROP TABLE shelf;",
            "ALTER TABLE stock ADD COLUMN a INT, ADD COLUMN b INT NOT NULL DEFAULT 0, ADD COLUMN c INT CHECK (c IS NOT NULL);",
            "ALTER TABLE stock ADD COLUMN a TEXT NOT NULL\n GENERATED ALWAYS AS (b) STORED;",
            "ALTER TABLE stock ADD CONSTRAINT a CHECK (b IS NOT NULL), ADD PRIMARY KEY (a);",
            "ALTER TABLE stock DISABLE TRIGGER a;",
            "ALTER TYPE kind ADD VALUE 'NEW';",
            "-- DROP TABLE stock;\nCREATE TRIGGER a BEFORE TRUNCATE ON stock;",
            "CREATE FUNCTION take() RETURNS int;\nREVOKE ALL ON FUNCTION take FROM PUBLIC;",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_reason_names_an_earlier_migration() {
        let column =
            |note: &str| found(&format!("SELECT 1;\n-- contract: {note}\nALTER TABLE stock DROP COLUMN held;"));
        assert_eq!(column("last reader went in 0101: units are counted by centre"), Vec::<String>::new());
        for (note, fault) in [
            ("last reader went in 0102: now", "0102 is no migration before this one"),
            ("last reader went in 0099: long ago", "0099 is no migration before this one"),
            ("last reader went in 0101:", "its comment does not say why"),
            ("last reader went in 0101", "its comment does not say why"),
            ("nobody cares: really", "its comment names no migration"),
            ("no reader: none", "it has readers: name the migration in which the last one went"),
        ] {
            assert_eq!(column(note), [format!("3 drops a column of stock: {fault}")]);
        }
        let rule = "-- contract: no reader: the one below is wider\nALTER TABLE stock DROP CONSTRAINT a, ADD CONSTRAINT a CHECK (b);";
        assert_eq!(found(rule), Vec::<String>::new());
        // A reason is for one statement.
        assert_eq!(found(&format!("{rule}\nALTER TABLE stock DROP CONSTRAINT c;")).len(), 1);
    }
}
