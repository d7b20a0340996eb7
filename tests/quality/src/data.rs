//! The judged collection as it lies on the disk: products, queries, ratings.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use demo::{generate, import};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use xtask::bench::quality::measures::Ratings;

/// Texts of queries and ratings are kilobytes; more is another file by mistake.
const LONGEST_TABLE: u64 = 64 * 1024 * 1024;

/// What the file says of a product, as far as no shop is needed for it.
pub struct Row {
    pub id: String,
    pub title: String,
    pub description: String,
    pub supplier: String,
    /// The manufacturer's number.
    pub name: String,
    pub eans: Vec<String>,
    /// Values of all attributes as text.
    pub values: Vec<String>,
}

pub struct Collection {
    pub rows: Vec<Row>,
    /// The same products as the shop takes them.
    pub products: Vec<generate::Product>,
    /// Id and text.
    pub queries: Vec<(String, String)>,
    pub ratings: BTreeMap<String, Ratings>,
}

/// # Errors
/// A file that is absent or says something else.
pub fn read(folder: &Path) -> anyhow::Result<Collection> {
    let products = folder.join("products.ndjson.gz");
    let mut rows = Vec::new();
    // Lines end with the byte `\n` only: one text holds other line separators.
    for line in BufReader::new(open(&products)?).split(b'\n') {
        let line = line?;
        if !line.is_empty() {
            rows.push(row(&serde_json::from_slice(&line)?).context("a product without an id")?);
        }
    }
    let mut queries = Vec::new();
    for fields in table(&folder.join("queries.tsv.gz"))? {
        let [id, text] = &fields[..] else { anyhow::bail!("a query has an id and a text") };
        queries.push((id.clone(), text.clone()));
    }
    let mut ratings: BTreeMap<String, Ratings> = BTreeMap::new();
    for fields in table(&folder.join("qrels.tsv.gz"))? {
        let [query, product, rating] = &fields[..] else { anyhow::bail!("a rating has three fields") };
        ratings.entry(query.clone()).or_default().insert(product.clone(), rating.parse()?);
    }
    Ok(Collection { rows, products: import::read(&products)?, queries, ratings })
}

fn row(value: &Value) -> Option<Row> {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let written = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(String::new, |number| number.to_string()),
        other => other.to_string(),
    };
    Some(Row {
        id: value["id"].as_str()?.to_owned(),
        title: text("title"),
        description: text("short_description"),
        supplier: text("supplier"),
        name: text("name"),
        eans: value["ean"].as_array().into_iter().flatten().filter_map(|ean| ean.as_str().map(str::to_owned)).collect(),
        values: value["attributes"].as_object().into_iter().flatten().map(|(_, value)| written(value)).collect(),
    })
}

fn open(file: &Path) -> anyhow::Result<MultiGzDecoder<File>> {
    Ok(MultiGzDecoder::new(File::open(file).with_context(|| format!("cannot open {}", file.display()))?))
}

fn table(file: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let mut text = String::new();
    open(file)?.take(LONGEST_TABLE).read_to_string(&mut text)?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}
