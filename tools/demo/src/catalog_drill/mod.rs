//! The load of a drill: people who search, people who read product pages and staff who change products, all through the edge, at a fixed
//! concurrency, for as long as somebody holds our standard input open; or until very many changes are made. Each answer is judged by
//! itself, and none but those very many changes is asked for again.
//!
//! Decided here: how many ask, how often and what (from the seed alone), and that afterwards everything must be as it was written.
//! Not decided here: what is killed meanwhile and which counts are promised (`cargo xtask drill`).

pub(crate) mod assortment;
pub(crate) mod judge;
mod staff;

use std::io::{Write as _, sink, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use xtask::drill::told::{BEGINS, ENDS, Told};

use crate::api::{Api, Call};
use crate::generate::spread;
use crate::stack::Stack;
use assortment::Assortment;
use judge::{Question, Tally, Verdict, judge};
use staff::Desk;

pub struct DrillOptions {
    pub seed: u64,
    /// Changes to be made; 0: until standard input is closed.
    pub changes: usize,
    /// How long everything may take to be as it was written.
    pub found_within: Duration,
}

/// People who ask one question after the other. Few, and with a pause: the load has to be there, not to be heavy.
const SEARCHERS: usize = 4;
const READERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(20);
/// Pages that are looked at afterwards at once.
const PAGES_AT_ONCE: usize = 4;

/// # Errors
/// The shop has too little to ask for, or does not let staff in. `false`: it ran, and not everything came back.
pub async fn drill(stack: &Stack, options: &DrillOptions) -> anyhow::Result<bool> {
    let api = &stack.api;
    let desk = Desk::open(stack, options.seed, options.changes, options.found_within).await?;
    let assortment = Assortment::read(api, desk.still()).await?;
    let over = until_input_ends();
    say(BEGINS)?;
    let (one, seed) = (&assortment, options.seed);
    let searches = join_all((0..SEARCHERS).map(|who| search(api, one, format!("{seed}-search-{who}"), &over)));
    let pages = join_all((0..READERS).map(|who| read(api, one, format!("{seed}-page-{who}"), &over)));
    let changing = async {
        if options.changes == 0 {
            return desk.change_until(&over).await;
        }
        let tally = desk.change_many(options.changes, &over).await;
        over.store(true, Ordering::Relaxed);
        tally
    };
    let (searches, pages, writes) = futures::join!(searches, pages, changing);
    say(ENDS)?;
    let ended = Instant::now();
    let mut missing = desk.look(options.found_within).await;
    missing.extend(unread(api, &assortment).await);
    let told = Told {
        searches: Tally::together(searches).counts(),
        pages: Tally::together(pages).counts(),
        writes: writes.counts(),
        missing,
        whole_after_s: ended.elapsed().as_secs_f64(),
    };
    say(&serde_json::to_string(&told)?)?;
    Ok(told.missing.is_empty())
}

/// Becomes true when whoever started us closes our standard input, or is gone.
pub(crate) fn until_input_ends() -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    // Not a task: reading of standard input cannot be given up, and the program must be able to end before.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut stdin().lock(), &mut sink());
        ends.store(true, Ordering::Relaxed);
    });
    over
}

/// A line for whoever started us, at once.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

async fn search(api: &Api, assortment: &Assortment, dice: String, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let dice = format!("{dice}-{number}");
        let search = assortment.search(&dice);
        let path = search.path(spread(&format!("size-{dice}")));
        let asked = Instant::now();
        let answer = api.once(&Call { path: &path, ..Call::default() }).await;
        tally.note(judge(Question::Search(search.first.as_deref()), answer), asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

async fn read(api: &Api, assortment: &Assortment, dice: String, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let sku = assortment.sku(&format!("{dice}-{number}"));
        let path = format!("/v1/products/{sku}");
        let asked = Instant::now();
        let answer = api.once(&Call { path: &path, ..Call::default() }).await;
        tally.note(judge(Question::Page(sku), answer), asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

/// Pages that are not answered afterwards, asked for as long as a shopper's browser would.
async fn unread(api: &Api, assortment: &Assortment) -> Vec<String> {
    let reads = assortment.skus.iter().map(|sku| async move {
        let path = format!("/v1/products/{sku}");
        let answer = api.call(&Call { path: &path, ..Call::default() }).await;
        match judge(Question::Page(sku), answer) {
            Verdict::Good => None,
            verdict => Some(format!("the page of {sku}: {verdict:?}")),
        }
    });
    let read: Vec<Option<String>> = futures::stream::iter(reads).buffer_unordered(PAGES_AT_ONCE).collect().await;
    read.into_iter().flatten().collect()
}
