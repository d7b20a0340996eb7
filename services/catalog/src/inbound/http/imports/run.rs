//! One import from its first byte to its last word: take the file, look through all of it, then write it.

use std::collections::HashSet;
use std::path::Path;

use axum::body::{Body, Bytes};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc::Sender;

use super::events::{FaultView, HungUp, Told, tell};
use super::read::{Format, Reader};
use super::spool::{Spool, SpoolError};
use crate::domain::product::Author;
use crate::usecases::App;
use crate::usecases::import_products::{FaultyLine, GoodLine, Hope, ImportError, Inspection, PORTION, rehearse, write};
use crate::usecases::ports::products::StoreDown;
use crate::usecases::put_product::{BatchOutcome, By};

/// Faults that are told of one file; the others are counted. Whoever made more of them made one mistake many times.
const MOST_FAULTS: u64 = 1_000;
/// Portions written at once: two keep the store busy while the next is read, more would hold back the pages.
const PORTIONS_AT_ONCE: usize = 2;

/// What is to be done with a file.
pub(super) struct Order {
    pub format: Format,
    pub dry_run: bool,
    pub skip_faulty: bool,
    pub lines: Option<u64>,
    pub author: Author,
    pub traceparent: Option<String>,
}

/// Why an import ends early.
enum Stop {
    HungUp,
    Spool(SpoolError),
    Store(ImportError),
}

impl From<HungUp> for Stop {
    fn from(HungUp: HungUp) -> Self {
        Self::HungUp
    }
}

impl From<SpoolError> for Stop {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Spool(error.into())
    }
}

impl From<StoreDown> for Stop {
    fn from(error: StoreDown) -> Self {
        Self::Store(error.into())
    }
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Self::Store(error)
    }
}

/// The numbers of a portion's lines, and what became of them.
type Written = (Vec<u64>, Result<BatchOutcome, StoreDown>);

/// Counts of one import.
#[derive(Default)]
struct Sums {
    checked: u64,
    faulty: u64,
    /// Lines whose faults were told, at most [`MOST_FAULTS`].
    told: HashSet<u64>,
    created: u64,
    changed: u64,
    unchanged: u64,
}

impl Sums {
    fn add(&mut self, outcome: &BatchOutcome) {
        self.created += outcome.created as u64;
        self.changed += outcome.changed as u64;
        self.unchanged += outcome.unchanged as u64;
    }

    fn written(&self) -> u64 {
        self.created + self.changed + self.unchanged
    }
}

/// Does what `order` says and tells of it; every end but a lost connection is told too.
pub(super) async fn run(app: &App, directory: &Path, body: Body, order: Order, events: &Sender<Bytes>) {
    let mut sums = Sums::default();
    let dry_run = order.dry_run;
    let outcome = import(app, directory, body, order, events, &mut sums).await;
    let (written, faulty) = (if dry_run { 0 } else { sums.written() }, sums.faulty);
    let last = match outcome {
        Ok(last) => last,
        Err(Stop::HungUp) => {
            tracing::info!(import.written = written, "import ended: nobody listens any more");
            return;
        }
        Err(Stop::Spool(error)) => {
            let code = match error {
                SpoolError::BrokeOff => "malformed-request",
                SpoolError::TooLarge => "body-too-large",
                SpoolError::Disk(_) => "dependency-down",
            };
            Told::Refused { code, detail: error.to_string(), written, faulty }
        }
        Err(Stop::Store(error)) => {
            tracing::error!(reason = %error, "import stopped");
            let detail =
                "the store does not answer; send the file again, what is stored already stays as it is".to_owned();
            Told::Refused { code: "dependency-down", detail, written, faulty }
        }
    };
    tracing::info!(import.lines = sums.checked, import.faulty = faulty, import.written = written, "import ended");
    let _: Result<(), HungUp> = tell(events, &last).await;
}

async fn import(
    app: &App,
    directory: &Path,
    body: Body,
    order: Order,
    events: &Sender<Bytes>,
    sums: &mut Sums,
) -> Result<Told, Stop> {
    let Order { format, dry_run, skip_faulty, lines, author, traceparent } = order;
    let spool = Spool::take(body, directory).await?;
    tell(events, &Told::Received { bytes: spool.bytes }).await?;
    look_through(app, Reader::open(spool.path(), format).await?, dry_run, events, sums).await?;
    if let Some(expected) = lines.filter(|expected| *expected != sums.checked) {
        let detail = format!("the file has {} records instead of {expected}; nothing was stored", sums.checked);
        return Ok(Told::Refused { code: "malformed-request", detail, written: 0, faulty: sums.faulty });
    }
    if sums.faulty > 0 && !skip_faulty && !dry_run {
        let detail = "lines of the file are not acceptable; nothing was stored".to_owned();
        return Ok(Told::Refused { code: "invalid-field", detail, written: 0, faulty: sums.faulty });
    }
    if !dry_run {
        let by = By { author: Some(author), traceparent: traceparent.as_deref() };
        write_all(app, Reader::open(spool.path(), format).await?, by, events, sums).await?;
    }
    Ok(Told::Done {
        dry_run,
        lines: sums.checked,
        created: sums.created,
        changed: sums.changed,
        unchanged: sums.unchanged,
        faulty: sums.faulty,
    })
}

/// The first passage: every line is looked at and every fault told; a dry run also says what would become of each.
async fn look_through(
    app: &App,
    mut reader: Reader,
    dry_run: bool,
    events: &Sender<Bytes>,
    sums: &mut Sums,
) -> Result<(), Stop> {
    let mut inspection = Inspection::default();
    while let Some((good, faulty)) = portion(app, &mut reader, &mut inspection).await? {
        sums.checked += (good.len() + faulty.len()) as u64;
        for line in faulty {
            tell_fault(events, line, sums).await?;
        }
        if dry_run && !good.is_empty() {
            let numbers: Vec<u64> = good.iter().map(|line| line.number).collect();
            let outcome = rehearse(app, good).await?;
            sums.add(&outcome);
            tell_rejected(events, &outcome, &numbers, sums).await?;
        }
        tell(events, &Told::Progress { checked: sums.checked, written: 0 }).await?;
    }
    Ok(())
}

/// The second passage: the good lines again, and into the store. A line that was good in the first may have a fault by now: the product
/// that it changes has gone, its family has another schema. It is told like any other; where faults were no longer told one by one, it
/// cannot be told from those that were counted before.
async fn write_all(
    app: &App,
    mut reader: Reader,
    by: By<'_>,
    events: &Sender<Bytes>,
    sums: &mut Sums,
) -> Result<(), Stop> {
    let mut inspection = Inspection::default();
    let hope = Hope::default();
    let every_fault_was_told = sums.faulty <= MOST_FAULTS;
    let mut under_way: FuturesUnordered<BoxFuture<'_, Written>> = FuturesUnordered::new();
    let mut more = true;
    while more || !under_way.is_empty() {
        if more && under_way.len() < PORTIONS_AT_ONCE {
            match portion(app, &mut reader, &mut inspection).await? {
                Some((good, faulty)) => {
                    for line in faulty {
                        if every_fault_was_told && !sums.told.contains(&line.number) {
                            tell_fault(events, line, sums).await?;
                        }
                    }
                    if good.is_empty() {
                        continue;
                    }
                    let numbers: Vec<u64> = good.iter().map(|line| line.number).collect();
                    let (by, hope) = (&by, &hope);
                    under_way.push(async move { (numbers, write(app, good, by, hope).await) }.boxed());
                }
                None => more = false,
            }
            continue;
        }
        if let Some((numbers, outcome)) = under_way.next().await {
            let outcome = outcome?;
            sums.add(&outcome);
            tell_rejected(events, &outcome, &numbers, sums).await?;
            tell(events, &Told::Progress { checked: sums.checked, written: sums.written() }).await?;
        }
    }
    Ok(())
}

/// The next portion of a file, looked at; `None` after its last line.
async fn portion(
    app: &App,
    reader: &mut Reader,
    inspection: &mut Inspection,
) -> Result<Option<(Vec<GoodLine>, Vec<FaultyLine>)>, Stop> {
    let (mut lines, mut faulty) = (Vec::new(), Vec::new());
    while lines.len() + faulty.len() < PORTION {
        match reader.next().await? {
            Some(Ok(line)) => lines.push(line),
            Some(Err(line)) => faulty.push(line),
            None => break,
        }
    }
    if lines.is_empty() && faulty.is_empty() {
        return Ok(None);
    }
    let (good, more) = inspection.look_at(app, lines).await?;
    faulty.extend(more);
    faulty.sort_by_key(|line| line.number);
    Ok(Some((good, faulty)))
}

async fn tell_fault(events: &Sender<Bytes>, line: FaultyLine, sums: &mut Sums) -> Result<(), HungUp> {
    sums.faulty += 1;
    if sums.faulty > MOST_FAULTS {
        return Ok(());
    }
    sums.told.insert(line.number);
    let errors = line.problems.into_iter().map(FaultView::from).collect();
    tell(events, &Told::Fault { line: line.number, errors }).await
}

/// Products that met somebody else: another writer, or the owner of a SKU they want.
async fn tell_rejected(
    events: &Sender<Bytes>,
    outcome: &BatchOutcome,
    numbers: &[u64],
    sums: &mut Sums,
) -> Result<(), HungUp> {
    let overtaken = outcome.overtaken.iter().map(|(place, _)| {
        (*place, "version-conflict", "somebody else changed this product at the same moment; it was not changed")
    });
    let in_use = outcome.in_use.iter().map(|(place, _)| {
        (*place, "state-conflict", "a SKU of this product belongs to another one; it was not changed")
    });
    for (place, code, message) in overtaken.chain(in_use).collect::<Vec<_>>() {
        let number = numbers.get(place).copied().unwrap_or_default();
        let problems = vec![common::FieldProblem::new("/sku", code, message)];
        tell_fault(events, FaultyLine { number, problems }, sums).await?;
    }
    Ok(())
}
