//! Loads the Icecat dataset as anybody loads a catalog: as a file of JSON lines, sent to the shop's own import, which looks
//! through all of it and then writes it, and tells how far it is.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

use crate::generate::{Product, Supply, spread};
use crate::icecat;
use crate::seed::{Written, staff, wait_for_search};
use crate::shopper::Shopper;
use crate::stack::{Stack, dataset};
use crate::stock::{ReceiptLine, receive};

pub const FILE: &str = "icecat/products.ndjson.gz";

/// A line of progress after so many products.
const REPORT_EVERY: u64 = 2_000;

/// Where the shop takes files.
const IMPORTS: &str = "/v1/admin/products/imports";

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
    let written = import(stack, &staff, &products, started).await?;
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

/// Sends the products as one file and reads what the shop tells of them.
async fn import(stack: &Stack, staff: &Shopper, products: &[Product], started: Instant) -> anyhow::Result<Written> {
    let mut file = Vec::new();
    for product in products {
        serde_json::to_writer(&mut file, product)?;
        file.push(b'\n');
    }
    let path = format!("{IMPORTS}?lines={}&reason=icecat", products.len());
    let token = staff.token(&stack.api).await?;
    let mut answer = stack.api.upload(&path, &token, "application/x-ndjson", file).await?;
    let (mut unread, mut reported) = (Vec::new(), 0);
    loop {
        let piece = answer.chunk().await.context("the answer broke off; import again, what is stored stays")?;
        let is_end = piece.is_none();
        unread.extend_from_slice(&piece.unwrap_or_default());
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let told: Told =
                serde_json::from_slice(&line).context("the shop said something that is no word of an import")?;
            if let Some(written) = said(told, products.len(), started, &mut reported)? {
                return Ok(written);
            }
        }
        if is_end {
            bail!("the import ended without a word; import again, what is stored stays");
        }
    }
}

/// One line of the answer.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Told {
    Received { bytes: u64 },
    Fault { line: u64, errors: Vec<Value> },
    Progress { checked: u64, written: u64 },
    Done { created: u64, changed: u64, unchanged: u64 },
    Refused { code: String, detail: String },
}

fn said(told: Told, of: usize, started: Instant, reported: &mut u64) -> anyhow::Result<Option<Written>> {
    let seconds = started.elapsed().as_secs_f64().max(0.001);
    match told {
        Told::Received { bytes } => println!("sent       {} KiB at {seconds:.1} s", bytes / 1024),
        Told::Fault { line, errors } => println!("line {line}: {}", Value::from(errors)),
        Told::Progress { checked, written } => {
            let (word, done) = if written == 0 { ("checked", checked) } else { ("written", written) };
            if done >= *reported + REPORT_EVERY || done < *reported || done == of as u64 {
                *reported = done;
                println!("{word}    {done:>6} of {of} · {:.0} per s", done as f64 / seconds);
            }
        }
        Told::Done { created, changed, unchanged } => return Ok(Some(Written { created, changed, unchanged })),
        Told::Refused { code, detail } => bail!("the shop refused the file: {code}: {detail}"),
    }
    Ok(None)
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
