//! The topic table, read from `crates/contracts/src/topics.rs` as text: this crate is compiled before anything can start and does not
//! wait for the contracts. A test in `tests/it/deploy` holds what is read here against how often the source says `readers:`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub kind: String,
    pub partitions: u32,
    pub retention_ms: u64,
    /// `delete` or `compact`.
    pub cleanup: String,
    /// `pii`, `internal` or `anonymous`.
    pub class: String,
    pub writer: String,
    pub readers: Vec<String>,
}

impl Topic {
    pub fn name(&self, region: &str) -> String {
        format!("{region}.{}.v1", self.kind)
    }
}

pub const SOURCE: &str = "crates/contracts/src/topics.rs";

/// Reads the table of a checkout.
///
/// # Errors
/// When it is missing or written in a form that this does not know.
pub fn read(root: &Path) -> Result<Vec<Topic>> {
    let path = root.join(SOURCE);
    parse(&fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?)
}

/// Reads the table.
///
/// # Errors
/// When a row has an unknown form.
pub fn parse(text: &str) -> Result<Vec<Topic>> {
    let rows = text.lines().map(str::trim).filter(|line| line.contains("readers: [") && line.contains("{ key: "));
    let topics: Vec<Topic> = rows.map(|row| topic(row, text)).collect::<Result<_>>()?;
    ensure!(!topics.is_empty(), "{SOURCE} has no rows");
    Ok(topics)
}

fn topic(row: &str, text: &str) -> Result<Topic> {
    let unknown = || format!("{SOURCE}: a row has another form: {row}");
    let quoted = |after: &str| row.split_once(after).and_then(|(_, rest)| rest.split('"').next()).map(str::to_owned);
    let word = |after: &str| row.split_once(after).and_then(|(_, rest)| rest.split(',').next()).map(str::trim);
    let readers = row.split_once("readers: [").and_then(|(_, rest)| rest.split(']').next()).with_context(unknown)?;
    let partitions = word("partitions: ").with_context(unknown)?;
    let partitions = match partitions.parse() {
        Ok(number) => number,
        Err(_) => constant(text, partitions).with_context(unknown)?,
    };
    let days = if row.contains("SAGA_RETENTION") {
        7
    } else {
        ensure!(row.contains("Duration::from_secs(DAY)"), unknown());
        1
    };
    Ok(Topic {
        kind: quoted(" = \"").with_context(unknown)?,
        partitions,
        retention_ms: days * 24 * 60 * 60 * 1000,
        cleanup: word("cleanup: ").with_context(unknown)?.to_lowercase(),
        class: word("class: ").with_context(unknown)?.to_lowercase(),
        writer: quoted("writer: \"").with_context(unknown)?,
        readers: readers.split('"').skip(1).step_by(2).map(str::to_owned).collect(),
    })
}

/// `const NAME: i32 = 12;`
fn constant(text: &str, name: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains(&format!("const {name}:")))?;
    line.split_once(" = ")?.1.trim_end_matches(';').parse().ok()
}
