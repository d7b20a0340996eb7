//! Loads the Icecat dataset through the admin API: all of it, each product once, with progress.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use futures::StreamExt as _;

use crate::generate::{Product, Supply, spread};
use crate::icecat;
use crate::seed::{Written, staff, wait_for_search, write};
use crate::stack::{Stack, dataset};
use crate::stock::{ReceiptLine, receive};

pub const FILE: &str = "icecat/products.ndjson.gz";

/// Products of one request, about half a megabyte.
const BATCH: usize = 200;
/// Requests under way at once: the shop's store writes one while the next is parsed.
const AT_ONCE: usize = 2;
/// A line of progress after so many products.
const REPORT_EVERY: usize = 2_000;

/// # Errors
/// No dataset, or the shop refuses.
pub async fn icecat(stack: &Stack, datasets: Option<PathBuf>) -> anyhow::Result<()> {
    let Some(file) = dataset(datasets.as_deref(), FILE)? else {
        anyhow::bail!(
            "no dataset: there is no ../shared/datasets/{FILE}; name its folder with --datasets, or do without: the demo catalog needs none"
        );
    };
    let started = Instant::now();
    let products = read(&file)?;
    println!("read       {} products of {}", products.len(), FILE);
    let staff = staff(&stack.api).await?;
    let mut written = Written::default();
    let mut done = 0;
    let mut batches = futures::stream::iter(products.chunks(BATCH))
        .map(|batch| {
            let staff = &staff;
            async move { write(&stack.api, staff, batch).await.map(|written| (batch.len(), written)) }
        })
        .buffered(AT_ONCE);
    while let Some(outcome) = batches.next().await {
        let (count, one) = outcome?;
        written = written.and(one);
        done += count;
        if done % REPORT_EVERY < count || done == products.len() {
            let rate = done as f64 / started.elapsed().as_secs_f64().max(0.001);
            println!("           {done:>6} of {} · {rate:.0} per s", products.len());
        }
    }
    println!("products   {written}");
    let supply = |product: &Product| Supply::Counted(40 + u32::try_from(spread(&product.sku) % 160).unwrap_or(0));
    let lines: Vec<ReceiptLine> =
        products.iter().map(|product| ReceiptLine::of(&product.sku, supply(product))).collect();
    let new = receive(&stack.api, &staff, "icecat", &lines).await?;
    println!(
        "stock      {} units: {}",
        lines.iter().map(|line| u64::from(line.quantity)).sum::<u64>(),
        if new == 0 { "booked before" } else { "booked" }
    );
    let mut expected = BTreeMap::new();
    for product in &products {
        let top = product.category.split('/').next().unwrap_or_default();
        *expected.entry(top.to_owned()).or_default() += 1;
    }
    wait_for_search(&stack.api, &expected).await?;
    println!("search     knows all of them");
    println!("done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// All products of the file, each id once. Lines end with the byte `\n` only: one text holds other line separators.
///
/// # Errors
/// The file cannot be read, or a line is no product.
pub fn read(file: &Path) -> anyhow::Result<Vec<Product>> {
    let reader = BufReader::new(MultiGzDecoder::new(
        File::open(file).with_context(|| format!("cannot open {}", file.display()))?,
    ));
    let mut known = HashSet::new();
    let mut products = Vec::new();
    for (number, line) in reader.split(b'\n').enumerate() {
        let line = line.with_context(|| format!("{} breaks off", file.display()))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let product = icecat::product(&line).with_context(|| format!("line {}", number + 1))?;
        if known.insert(product.sku.clone()) {
            products.push(product);
        }
    }
    Ok(products)
}
