//! A file of products. It is looked through to its end before anything is written: with a fault in it nothing is, unless the
//! caller asked for the lines that are good. Then it is written in portions, each product whole or not at all. Whoever sends
//! the file again changes nothing that is there already.
//!
//! Not decided here: how a file arrives and how its lines are read (`inbound/http/imports`).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{FieldProblem, Sku};

use super::App;
use super::claim_skus::{Obstacle, obstacle_of};
use super::pictures::missing_pictures;
use super::ports::pictures::PicturesDown;
use super::ports::products::{Insertion, StoreDown};
use super::put_product::{BatchOutcome, By, MAX_BATCH, Wish, put_wishes};
use crate::domain::draft::ProductDraft;
use crate::domain::patch::Patch;
use crate::domain::product::{InvalidProduct, Product, Revision, State, Step, step_to};

/// Lines of one portion.
pub const PORTION: usize = MAX_BATCH;

/// What a line wants.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The product as a whole, whatever it was before.
    Whole(ProductDraft),
    /// Some of its fields.
    Some(Patch),
}

#[derive(Clone, Debug)]
pub struct Line {
    /// From 1.
    pub number: u64,
    pub wanted: Wanted,
}

/// A line that is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultyLine {
    pub number: u64,
    pub problems: Vec<FieldProblem>,
}

/// A line that is.
#[derive(Clone, Debug)]
pub struct GoodLine {
    pub number: u64,
    pub product: Product,
    /// The revision that a patch was laid over, 0 where there was none; `None` for a whole product.
    pub base: Option<i64>,
}

impl GoodLine {
    fn wish(self) -> Wish {
        Wish { product: self.product, base: self.base }
    }
}

/// A store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Store(#[from] StoreDown),
    #[error(transparent)]
    Pictures(#[from] PicturesDown),
}

/// Looks through the lines of one file.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Every SKU so far: a file that says two things about one product says nothing. A few megabytes for the longest file.
    known: HashSet<Sku>,
}

impl Inspection {
    /// The acceptable lines of a portion, and the others.
    pub async fn look_at(
        &mut self,
        app: &App,
        lines: Vec<Line>,
    ) -> Result<(Vec<GoodLine>, Vec<FaultyLine>), ImportError> {
        let before = before(app, &lines).await?;
        let (mut good, mut faulty) = (Vec::with_capacity(lines.len()), Vec::new());
        for Line { number, wanted } in lines {
            let (draft, base) = match wanted {
                Wanted::Whole(draft) => (draft, None),
                Wanted::Some(patch) => {
                    let newest = before.get(patch.sku.as_str());
                    let base = newest.map_or(0, |newest| newest.number);
                    (patch.onto(newest.and_then(Revision::live)), Some(base))
                }
            };
            let checked = match draft.check("") {
                Ok(product) => app.products.families.accept(product, "").await?,
                Err(error) => Err(error),
            };
            let checked = match checked {
                Ok(product) => {
                    let missing = missing_pictures(app, &product, "").await?;
                    if missing.is_empty() { Ok(product) } else { Err(InvalidProduct(missing)) }
                }
                Err(error) => Err(error),
            };
            match checked {
                Ok(product) => match self.repeated(&product) {
                    Some(pointer) => {
                        let problem = FieldProblem::new(pointer, "duplicate", "this SKU stands on an earlier line too");
                        faulty.push(FaultyLine { number, problems: vec![problem] });
                    }
                    None => good.push(GoodLine { number, product, base }),
                },
                Err(InvalidProduct(problems)) => faulty.push(FaultyLine { number, problems }),
            }
        }
        Ok((good, faulty))
    }

    /// Where `product` names a SKU that was named before.
    fn repeated(&mut self, product: &Product) -> Option<String> {
        let variants = product.variants.iter().enumerate();
        let places = std::iter::once((String::from("/sku"), &product.sku))
            .chain(variants.map(|(place, variant)| (format!("/variants/{place}/sku"), &variant.sku)));
        let mut repeated = None;
        for (pointer, sku) in places {
            if !self.known.insert(sku.clone()) && repeated.is_none() {
                repeated = Some(pointer);
            }
        }
        repeated
    }
}

/// The products that patches are laid over.
async fn before(app: &App, lines: &[Line]) -> Result<HashMap<String, Revision>, StoreDown> {
    let patched = |line: &Line| match &line.wanted {
        Wanted::Some(patch) => Sku::parse(&patch.sku).ok(),
        Wanted::Whole(_) => None,
    };
    let skus: Vec<Sku> = lines.iter().filter_map(patched).collect();
    if skus.is_empty() {
        return Ok(HashMap::new());
    }
    let newest = app.products.store.newest_many(&skus).await?;
    Ok(newest.into_iter().map(|revision| (revision.sku().to_string(), revision)).collect())
}

/// What writing `lines` would do; nothing is written. A SKU that another line of the file would give up still counts as in use.
pub async fn rehearse(app: &App, lines: Vec<GoodLine>) -> Result<BatchOutcome, StoreDown> {
    let skus: Vec<Sku> = lines.iter().map(|line| line.product.sku.clone()).collect();
    let newest = app.products.store.newest_many(&skus).await?;
    let newest: HashMap<&Sku, &Revision> = newest.iter().map(|revision| (revision.sku(), revision)).collect();
    let mut outcome = BatchOutcome::default();
    for (place, line) in lines.into_iter().enumerate() {
        let before = newest.get(&line.product.sku).copied();
        let wanted = State::Live(line.product);
        let Step::Next { created, .. } = step_to(before, &wanted) else {
            outcome.unchanged += 1;
            continue;
        };
        if let State::Live(product) = &wanted {
            match obstacle_of(app, product, before).await? {
                Some(Obstacle::InUse(sku)) => {
                    outcome.in_use.push((place, sku));
                    continue;
                }
                Some(Obstacle::Overtaken) | None => {}
            }
        }
        if created {
            outcome.created += 1;
        } else {
            outcome.changed += 1;
        }
    }
    Ok(outcome)
}

/// Whether the portions of a file bring mostly new products: then asking for each whether it is there is a waste.
#[derive(Debug)]
pub struct Hope(AtomicBool);

impl Default for Hope {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

/// Writes a portion. With `hope`, products without variants are first written as revision 1: the number is free for a new
/// product and taken for every other, which then goes the usual way. A patch that was laid over a revision has no such hope;
/// it is written only while that revision is the newest, since it repeats what it did not change.
pub async fn write(app: &App, lines: Vec<GoodLine>, by: &By<'_>, hope: &Hope) -> Result<BatchOutcome, StoreDown> {
    let mut outcome = BatchOutcome::default();
    let (mut wishes, mut places) = (Vec::new(), Vec::new());
    let count = lines.len();
    if hope.0.load(Ordering::Relaxed) {
        let (mut first, mut first_places) = (Vec::new(), Vec::new());
        for (place, line) in lines.into_iter().enumerate() {
            if line.product.variants.is_empty() && line.base.is_none_or(|base| base == 0) {
                first_places.push((place, line.base));
                first.push(by.revision(app, None, 1, State::Live(line.product)));
            } else {
                places.push(place);
                wishes.push(line.wish());
            }
        }
        let insertions = if first.is_empty() { Vec::new() } else { app.products.store.insert(&first).await? };
        let mut written = Vec::new();
        for ((insertion, revision), (place, base)) in insertions.into_iter().zip(first).zip(first_places) {
            match (insertion, revision.state) {
                (Insertion::Taken, State::Live(product)) => {
                    places.push(place);
                    wishes.push(Wish { product, base });
                }
                (_, state) => written.push(state.sku().clone()),
            }
        }
        outcome.created = written.len();
        // A page may have remembered that there is none.
        app.products.cache.forget(&written).await;
    } else {
        places.extend(0..count);
        wishes.extend(lines.into_iter().map(GoodLine::wish));
    }
    if !wishes.is_empty() {
        let usual = put_wishes(app, wishes, by).await?;
        let at = |(place, sku): (usize, Sku)| (places.get(place).copied().unwrap_or(place), sku);
        outcome.created += usual.created;
        outcome.changed += usual.changed;
        outcome.unchanged += usual.unchanged;
        outcome.overtaken.extend(usual.overtaken.into_iter().map(at));
        outcome.in_use.extend(usual.in_use.into_iter().map(at));
    }
    hope.0.store(outcome.created * 2 > count, Ordering::Relaxed);
    Ok(outcome)
}
