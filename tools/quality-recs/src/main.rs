//! The quality lab: every model answers every case, then the targets are opened and the answers are judged.
//!
//! Exit 0 when judged, 3 when there is no data, 1 for anything that is wrong with it.

mod baselines;
mod data;
mod fit;
mod judge;
mod model;

use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::baselines::{
    AssociationRules, ItemNeighbours, Popularity, SequentialRules, VisitNeighbours, VisitPopularity,
};
use crate::data::{Case, Item, Items, Visit};
use crate::judge::{Answers, Quality};
use crate::model::{Model, OURS, Ours, SHIPS, STRONGEST, STRONGEST_OF_NEW};

/// Each answer is computed so often and the shortest time counts: the machine has other things to do, and what those took is not
/// computing. An answer is the same each time.
const TIMES: usize = 5;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let (mut folder, mut fit) = (None, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--data" => folder = words.next().map(PathBuf::from),
            "--fit" => fit = true,
            _ => bail!("unknown word {word}; there are --data DIR and --fit"),
        }
    }
    let Some(folder) = folder else { bail!("--data DIR says where the visits lie") };
    if !folder.join("train.tsv.gz").is_file() {
        println!("there is no train.tsv.gz in {}, so there is nothing to judge by", folder.display());
        return Ok(ExitCode::from(3));
    }
    let mut items = Items::default();
    let train = data::visits(&folder.join("train.tsv.gz"), &mut items)?;
    if fit {
        fit::run(&train, items);
        return Ok(ExitCode::SUCCESS);
    }
    judge(&folder, &train, items)?;
    Ok(ExitCode::SUCCESS)
}

fn judge(folder: &Path, train: &[Visit], mut items: Items) -> Result<()> {
    let day = data::visits(&folder.join("dev/events.tsv.gz"), &mut items)?;
    let cases = data::cases(&folder.join("dev/cases.tsv.gz"), &day, &mut items)?;
    let names = Rc::new(items.names.clone());
    let mut answers: Vec<Answers> = Vec::new();
    for mut model in models(&names) {
        train.iter().for_each(|visit| model.learn(visit));
        answers.push(ask(model.as_ref(), "frozen", &cases));
        answers.push(ask_while_learning(model.as_mut(), &cases, &day));
    }
    // Every answer is given; only now is anybody told what was clicked.
    let targets = data::targets(&folder.join("dev/targets.tsv.gz"), &mut items)?;
    if cases.iter().any(|case| !targets.contains_key(&case.id)) {
        bail!("a case has no target");
    }
    report(&answers, &cases, &targets, train);
    Ok(())
}

fn models(names: &Rc<Vec<String>>) -> Vec<Box<dyn Model>> {
    vec![
        Box::new(Popularity::default()),
        Box::new(VisitPopularity::default()),
        Box::new(AssociationRules::default()),
        Box::new(SequentialRules::default()),
        Box::new(ItemNeighbours::default()),
        Box::new(VisitNeighbours::plain()),
        Box::new(VisitNeighbours::sequential()),
        Box::new(VisitNeighbours::indexed()),
        Box::new(Ours::new(names.clone())),
        Box::new(VisitNeighbours::of_new_items()),
        Box::new(Ours::as_it_ships(names.clone())),
    ]
}

fn ask(model: &dyn Model, mode: &'static str, cases: &[Case]) -> Answers {
    let mut answers = Answers { model: model.name(), mode, lists: Vec::new(), micros: Vec::new() };
    cases.iter().for_each(|case| answers.add(model, case));
    answers
}

/// In the order of time; before each case the model takes in the visits that have ended.
fn ask_while_learning(model: &mut dyn Model, cases: &[Case], day: &[Visit]) -> Answers {
    let mut order: Vec<usize> = (0..cases.len()).collect();
    order.sort_by_key(|place| cases[*place].at_ms);
    let mut in_order = Answers { model: model.name(), mode: "online", lists: Vec::new(), micros: Vec::new() };
    let mut ended = day.iter().peekable();
    for place in &order {
        while let Some(visit) = ended.next_if(|visit| visit.ended_ms() < cases[*place].at_ms) {
            model.learn(visit);
        }
        in_order.add(model, &cases[*place]);
    }
    let mut lists = vec![Vec::new(); cases.len()];
    order.into_iter().zip(in_order.lists).for_each(|(place, list)| lists[place] = list);
    Answers { lists, ..in_order }
}

impl Answers {
    fn add(&mut self, model: &dyn Model, case: &Case) {
        let mut list = Vec::new();
        let mut least = f64::INFINITY;
        for _ in 0..TIMES {
            let started = Instant::now();
            list = black_box(model.answer(black_box(&case.items)));
            least = least.min(started.elapsed().as_secs_f64() * 1e6);
        }
        self.micros.push(least);
        self.lists.push(list);
    }
}

fn report(answers: &[Answers], cases: &[Case], targets: &HashMap<String, Item>, train: &[Visit]) {
    let mut counts: HashMap<Item, usize> = HashMap::new();
    for visit in train {
        let mut items = visit.items();
        items.sort_unstable();
        items.dedup();
        items.into_iter().for_each(|item| *counts.entry(item).or_default() += 1);
    }
    let percentiles = judge::percentiles(&counts);
    let is_new: Vec<bool> = cases.iter().map(|case| !case.items.contains(&targets[&case.id])).collect();
    println!("# {} visits learned, {} items, {} cases", train.len(), counts.len(), cases.len());
    println!("model\tmode\thr20\tmrr20\tndcg20\tnew_hr20\tnew_mrr20\tshown\tpopularity\tp50_us\tp99_us");
    let mut qualities: HashMap<(&str, &str), Vec<Quality>> = HashMap::new();
    for answer in answers {
        let each = judge::each(&answer.lists, cases, targets);
        let whole = Quality::mean(each.iter().copied());
        let new = Quality::mean(each.iter().zip(&is_new).filter(|(_, new)| **new).map(|(quality, _)| *quality));
        println!(
            "{}\t{}\t{:.4}\t{:.4}\t{:.4}\t{:.4}\t{:.4}\t{}\t{:.3}\t{:.0}\t{:.0}",
            answer.model,
            answer.mode,
            whole.hit_rate,
            whole.reciprocal_rank,
            whole.gain,
            new.hit_rate,
            new.reciprocal_rank,
            judge::shown(&answer.lists),
            judge::popularity(answer.lists.iter().flatten(), &percentiles),
            judge::percentile(answer.micros.clone(), 0.50),
            judge::percentile(answer.micros.clone(), 0.99),
        );
        qualities.insert((answer.model, answer.mode), each);
    }
    println!("# what was clicked: popularity {:.3}", judge::popularity(targets.values(), &percentiles));
    for mode in ["frozen", "online"] {
        let test = |(ours, theirs): (&str, &str), what: fn(&Quality) -> f64| {
            let of = |model: &str| qualities[&(model, mode)].iter().map(what).collect::<Vec<f64>>();
            judge::paired_test(&of(ours), &of(theirs), cases)
        };
        let both = |pair: (&str, &str)| (test(pair, |one| one.hit_rate), test(pair, |one| one.reciprocal_rank));
        let (hits, ranks) = both((OURS, STRONGEST));
        println!("paired\t{mode}\t{hits:.4}\t{ranks:.4}");
        // Where what was looked at is left out, a case whose target was looked at is nobody's hit and makes no difference.
        let (hits, ranks) = both((SHIPS, STRONGEST_OF_NEW));
        println!(
            "# as it ships, {mode}: the differences to {STRONGEST_OF_NEW} are chance with probability {hits:.4} (HR@20), \
             {ranks:.4} (MRR@20)"
        );
    }
}
