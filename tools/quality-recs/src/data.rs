//! Recorded visits as they lie on disk. Targets are a file of their own and are read by a function of their own, so that nothing
//! that predicts can see them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::read::MultiGzDecoder;

pub type Item = u32;

#[derive(Clone, Debug)]
pub struct Click {
    pub at_ms: i64,
    pub item: Item,
}

/// A visit in the order of its clicks.
#[derive(Clone, Debug)]
pub struct Visit {
    pub name: String,
    pub clicks: Vec<Click>,
}

impl Visit {
    pub fn began_ms(&self) -> i64 {
        self.clicks.first().map_or(0, |click| click.at_ms)
    }

    pub fn ended_ms(&self) -> i64 {
        self.clicks.last().map_or(0, |click| click.at_ms)
    }

    pub fn items(&self) -> Vec<Item> {
        self.clicks.iter().map(|click| click.item).collect()
    }
}

/// A question: the first clicks of a visit, and when the last of them happened.
#[derive(Clone, Debug)]
pub struct Case {
    pub id: String,
    pub visit: String,
    pub items: Vec<Item>,
    pub at_ms: i64,
}

/// Items by name; every file of one run goes through the same one.
#[derive(Default)]
pub struct Items {
    numbers: HashMap<String, Item>,
    pub names: Vec<String>,
}

impl Items {
    fn number(&mut self, name: &str) -> Item {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as Item;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

fn lines(file: &Path) -> Result<impl Iterator<Item = Result<String>> + use<>> {
    let open = File::open(file).with_context(|| format!("open {}", file.display()))?;
    Ok(BufReader::new(MultiGzDecoder::new(open)).lines().map(|line| Ok(line?)))
}

/// Visits in the order in which they ended.
///
/// # Errors
/// A file that is absent or not of this layout.
pub fn visits(file: &Path, items: &mut Items) -> Result<Vec<Visit>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut found: Vec<Visit> = Vec::new();
    for line in lines(file)?.skip(1) {
        let line = line?;
        let mut fields = line.split('\t');
        let (at, visit, item) = (fields.next(), fields.next(), fields.next());
        let (Some(at), Some(visit), Some(item)) = (at, visit, item) else { continue };
        let at_ms = at.parse().with_context(|| format!("a time in {}", file.display()))?;
        let place = *places.entry(visit.to_owned()).or_insert_with(|| {
            found.push(Visit { name: visit.to_owned(), clicks: Vec::new() });
            found.len() - 1
        });
        found[place].clicks.push(Click { at_ms, item: items.number(item) });
    }
    found.sort_by_key(Visit::ended_ms);
    Ok(found)
}

/// The questions; the time of each comes from the visits of the same day.
///
/// # Errors
/// A file that is absent or not of this layout.
pub fn cases(file: &Path, visits: &[Visit], items: &mut Items) -> Result<Vec<Case>> {
    let by_name: HashMap<&str, &Visit> = visits.iter().map(|visit| (visit.name.as_str(), visit)).collect();
    let mut found = Vec::new();
    for line in lines(file)? {
        let line = line?;
        let Some((id, seen)) = line.split_once('\t') else { continue };
        let seen: Vec<Item> = seen.split_whitespace().map(|item| items.number(item)).collect();
        let Some((visit, _)) = id.rsplit_once(':') else { continue };
        let clicks = by_name.get(visit).map(|visit| visit.clicks.as_slice()).unwrap_or_default();
        let at_ms = clicks.get(seen.len().saturating_sub(1)).map_or(0, |click| click.at_ms);
        found.push(Case { id: id.to_owned(), visit: visit.to_owned(), items: seen, at_ms });
    }
    Ok(found)
}

/// What was clicked next, by case. To be called when all answers are given.
///
/// # Errors
/// A file that is absent or not of this layout.
pub fn targets(file: &Path, items: &mut Items) -> Result<HashMap<String, Item>> {
    let mut found = HashMap::new();
    for line in lines(file)? {
        let line = line?;
        if let Some((id, item)) = line.split_once('\t') {
            found.insert(id.to_owned(), items.number(item.trim()));
        }
    }
    Ok(found)
}
