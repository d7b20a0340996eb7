//! `quality DIR [--tune]`: puts every question of a judged collection to the shop's search and to plain BM25 over all text, and
//! prints what both answered as one JSON document. Decided here: how the questions are put. Not decided here: how good the
//! answers are (`xtask::bench::quality`).
//!
//! It lives among the tests because it starts a real catalog process on the servers of the test stack and calls the service's
//! own document builder, which no tool may.

mod baseline;
mod data;
mod ours;
mod questions;
mod tune;

use std::path::PathBuf;

use anyhow::Context as _;
use xtask::bench::quality::{Answers, Asked};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let tuning = words.iter().position(|word| word == "--tune").map(|at| words.remove(at)).is_some();
    let folder = PathBuf::from(words.pop().context("the folder of the judged collection is needed")?);
    let collection = data::read(&folder)?;
    eprintln!("{} products, {} queries", collection.products.len(), collection.queries.len());
    let questions = questions::questions(&collection);
    let theirs = baseline::Baseline::fill(&collection).await?;
    let ours = ours::Shop::open(&collection).await?;
    let outcome = answers(&ours, &theirs, &collection, questions, tuning).await;
    // Nothing of it stays on the servers, whatever came of it.
    let (one, other) = tokio::join!(ours.close(), theirs.close());
    let answers = outcome?;
    one.and(other)?;
    println!("{}", serde_json::to_string(&answers)?);
    Ok(())
}

async fn answers(
    ours: &ours::Shop,
    theirs: &baseline::Baseline,
    collection: &data::Collection,
    questions: Vec<questions::Question>,
    tuning: bool,
) -> anyhow::Result<Answers> {
    let mut asked = Vec::with_capacity(questions.len());
    for question in &questions {
        let (ours, ours_ms) = ours.ask(&question.text).await?;
        let (theirs, theirs_ms) = theirs.ask(&question.text).await?;
        asked.push(Asked {
            id: question.id.clone(),
            text: question.text.clone(),
            class: question.class.to_owned(),
            made: question.made,
            ratings: question.ratings.clone(),
            ours,
            theirs,
            ours_ms,
            theirs_ms,
        });
    }
    eprintln!("{} questions put", asked.len());
    let tuned = if tuning { tune::tune(ours.index(), &questions).await? } else { Vec::new() };
    Ok(Answers { products: collection.products.len(), server: theirs.server().await?, asked, tuned })
}
