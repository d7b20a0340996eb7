//! How the list of each kind is made: where its candidates come from, in which order they are asked. Scores are the domain's business, and
//! which kinds leave out what was seen is that of [`Kind::leaves_out_seen`].
//!
//! A list is made longer than what is shown of it, see [`Length`]: whoever shows it leaves out what has gone since.

use std::collections::{HashMap, HashSet};

use common::{Sku, ids};
use uuid::Uuid;

use super::App;
use super::error::StoreUnavailable;
use super::generate_recommendations::{Command, Kind};
use super::ports::Shelf;
use super::visit_lists;
use super::watch_popularity::{Crowd, LIST_LENGTH};
use crate::domain::experiment::plan::Change;
use crate::domain::recommend::{self, Item, Length, Popular, Reason};
use crate::domain::suggest::Chosen;
use crate::domain::{Feature, PairKind, Person};

/// Categories of a profile that a personal list draws from: the page has room for little more, and each costs a list.
const PERSONAL_CATEGORIES: usize = 8;

const VISITS: &str = "visit-mixture-1";
const PERSONAL: &str = "interest-decay-1";
const CROWD: &str = "popularity-decay-1";
const TOGETHER: &str = "co-occurrence-1";
const ALIKE: &str = "same-shelf-1";
const HISTORY: &str = "recently-viewed-1";
const NOTHING: &str = "left-out-1";

/// Every way of choosing.
const MODELS: [&str; 7] = [VISITS, PERSONAL, CROWD, TOGETHER, ALIKE, HISTORY, NOTHING];

/// A list as it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub items: Vec<Item>,
    /// Which way of choosing made it.
    pub model: &'static str,
    /// The profile of who asks is in it, and its age is told.
    pub from_profile: bool,
    /// Names it, so that clicks on it can be told apart from others.
    pub list_id: Uuid,
}

impl List {
    pub fn of(items: Vec<Item>, model: &'static str) -> Self {
        Self { items, model, from_profile: false, list_id: ids::random() }
    }

    /// The way of choosing of this name; `None` for one that this version does not know.
    pub fn model_named(name: &str) -> Option<&'static str> {
        MODELS.into_iter().find(|model| *model == name)
    }

    /// For whom an experiment leaves the list out.
    pub fn left_out() -> Self {
        Self::of(Vec::new(), NOTHING)
    }
}

/// # Errors
/// [`StoreUnavailable`].
pub async fn make(
    app: &App,
    command: &Command,
    crowd: &Crowd,
    change: Change,
    person: &Person,
) -> Result<List, StoreUnavailable> {
    let length = Length::of(command.limit as usize);
    let seen = left_out(command.kind, person);
    match (command.kind, &command.sku) {
        (Kind::Trending, _) => Ok(trending(command, crowd, &seen, length.kept)),
        (Kind::ForYou, _) => match change {
            Change::Off => Ok(List::left_out()),
            Change::Popular => for_you(app, command, crowd, &Person::default(), length).await,
            Change::WithoutVisits => for_you(app, command, crowd, person, length).await,
            Change::Nothing => {
                let chosen = visit_lists::for_you(app, command, person, length).await?;
                Ok(first(chosen, for_you(app, command, crowd, person, length).await?, length))
            }
        },
        (Kind::Continue, _) => {
            let items = recommend::go_on(&person.recent, length.kept);
            Ok(List { from_profile: true, ..List::of(items, HISTORY) })
        }
        (Kind::Similar, Some(sku)) => similar(app, sku, ALIKE, Vec::new(), &seen, length).await,
        (Kind::AlsoViewed, Some(sku)) => together(app, command, sku, PairKind::Viewed, &seen, length).await,
        (Kind::AlsoBought, Some(sku)) => together(app, command, sku, PairKind::Bought, &seen, length).await,
        // A command without the product it needs is refused before.
        (Kind::Similar | Kind::AlsoViewed | Kind::AlsoBought, None) => Ok(List::left_out()),
    }
}

/// What this person has seen lately, where a list of this kind is without it.
fn left_out(kind: Kind, person: &Person) -> HashSet<&Sku> {
    person.recent.iter().filter(|_| kind.leaves_out_seen()).map(|recent| &recent.sku).collect()
}

/// What the process knows by itself: what is trending, without the product at hand and what was seen.
pub fn trending(command: &Command, crowd: &Crowd, seen: &HashSet<&Sku>, most: usize) -> List {
    let left_out: HashSet<&Sku> = seen.iter().copied().chain(command.sku.as_ref()).collect();
    popular(crowd, &left_out, most)
}

/// What visits teach about the product at hand, without the store.
pub fn about(app: &App, command: &Command) -> List {
    List::of(visit_lists::about(app, command, command.limit as usize), VISITS)
}

/// What was looked at most, for when nothing else is left.
pub fn most_seen(app: &App, command: &Command) -> List {
    List::of(visit_lists::most_seen(app, command), CROWD)
}

fn popular(crowd: &Crowd, left_out: &HashSet<&Sku>, most: usize) -> List {
    let reason = |place| if place < crowd.trending { Reason::Trending } else { Reason::New };
    let items = crowd.everything.iter().enumerate().filter(|(_, popular)| !left_out.contains(&popular.sku));
    let items = items.take(most).map(|(place, popular)| Item { sku: popular.sku.clone(), reason: reason(place) });
    List::of(items.collect(), CROWD)
}

/// What visits suggest, and behind it what was there without them.
fn first(chosen: Vec<Chosen>, rest: List, length: Length) -> List {
    if chosen.is_empty() {
        return rest;
    }
    let items = chosen.into_iter().map(|chosen| chosen.item).chain(rest.items);
    List { items: recommend::unique(items.collect(), length.kept), model: VISITS, ..rest }
}

/// What somebody's interests suggest.
async fn for_you(
    app: &App,
    command: &Command,
    crowd: &Crowd,
    person: &Person,
    length: Length,
) -> Result<List, StoreUnavailable> {
    let mut seen = left_out(command.kind, person);
    let Some(profile) = person.profile.as_ref().filter(|profile| !profile.categories.is_empty()) else {
        // A cold start: what others like, without what this person has just seen.
        seen.extend(command.sku.iter());
        return Ok(popular(crowd, &seen, length.kept));
    };
    let categories = profile.categories.iter().take(PERSONAL_CATEGORIES).map(|rating| rating.key.clone());
    let mut lists = category_lists(app, crowd, categories.collect()).await?;
    let candidates: Vec<Sku> = lists.values().flatten().map(|popular| popular.sku.clone()).collect();
    let features = app.features.features(&candidates).await?;
    let now_ms = app.clock.now().timestamp_millis();
    lists.values_mut().for_each(|list| list.retain(|popular| is_offered(&features, &popular.sku, now_ms)));
    let items = recommend::for_you(profile, &person.recent, &lists, &features, length);
    let items = recommend::fill(items, &crowd.skus(), Reason::Trending, &seen, length.kept);
    Ok(List { from_profile: true, ..List::of(items, PERSONAL) })
}

/// Popular products of each category, from memory where they are there; a category nobody clicked on shows its newest.
async fn category_lists(
    app: &App,
    crowd: &Crowd,
    categories: Vec<String>,
) -> Result<HashMap<String, Vec<Popular>>, StoreUnavailable> {
    let (ready, missing): (Vec<String>, Vec<String>) =
        categories.into_iter().partition(|name| crowd.categories.contains_key(name));
    let mut lists: HashMap<String, Vec<Popular>> =
        ready.into_iter().filter_map(|name| crowd.categories.get(&name).cloned().map(|list| (name, list))).collect();
    let names: Vec<String> = missing
        .into_iter()
        .chain(lists.iter().filter(|(_, list)| list.len() < 10).map(|(name, _)| name.clone()))
        .collect();
    if names.is_empty() {
        return Ok(lists);
    }
    let shelves: Vec<Shelf> =
        names.iter().flat_map(|name| [Shelf::Category(name.clone()), Shelf::NewestOf(name.clone())]).collect();
    let read = app.shelves.lists(&shelves, LIST_LENGTH / 2, app.clock.now().timestamp_millis()).await?;
    for (name, pair) in names.into_iter().zip(read.chunks(2)) {
        let newest = pair.iter().skip(1).flatten().map(|popular| Popular { weight: 0.0, ..popular.clone() });
        let mut list: Vec<Popular> = pair.first().cloned().unwrap_or_default();
        list.extend(newest.filter(|popular| !pair[0].iter().any(|known| known.sku == popular.sku)).collect::<Vec<_>>());
        lists.insert(name, list);
    }
    Ok(lists)
}

async fn together(
    app: &App,
    command: &Command,
    sku: &Sku,
    kind: PairKind,
    seen: &HashSet<&Sku>,
    length: Length,
) -> Result<List, StoreUnavailable> {
    let shelf = [Shelf::Together(kind, sku.clone())];
    // As many more as may be left out.
    let most = length.kept + seen.len();
    let list = app.shelves.lists(&shelf, most, app.clock.now().timestamp_millis()).await?;
    let reason = match kind {
        PairKind::Viewed => Reason::ViewedTogether,
        PairKind::Bought => Reason::BoughtTogether,
    };
    let mut visits = visit_lists::about(app, command, most);
    visits.retain(|item| !seen.contains(&item.sku));
    // Nothing was seen together with it yet: then the whole list is of the other kind and says so.
    let model = if visits.is_empty() { TOGETHER } else { VISITS };
    let pairs = list.into_iter().flatten().filter(|popular| !seen.contains(&popular.sku));
    let pairs = pairs.map(|popular| Item { sku: popular.sku, reason });
    let items = still_offered(app, visits.into_iter().chain(pairs).collect()).await?;
    let items = recommend::unique(items, length.kept);
    if items.len() >= length.kept {
        return Ok(List::of(items, model));
    }
    let model = if items.is_empty() { ALIKE } else { model };
    similar(app, sku, model, items, seen, length).await
}

/// Products of the same shelf after `items`.
async fn similar(
    app: &App,
    sku: &Sku,
    model: &'static str,
    items: Vec<Item>,
    seen: &HashSet<&Sku>,
    length: Length,
) -> Result<List, StoreUnavailable> {
    let known = app.features.features(std::slice::from_ref(sku)).await?;
    let Some(feature) = known.get(sku) else { return Ok(List::of(items, model)) };
    let now_ms = app.clock.now().timestamp_millis();
    let shelves = [Shelf::Category(feature.category.clone()), Shelf::NewestOf(feature.category.clone())];
    let lists = app.shelves.lists(&shelves, LIST_LENGTH / 2, now_ms).await?;
    let candidates = lists.into_iter().flatten().map(|popular| popular.sku);
    let mut candidates: Vec<Sku> = candidates.filter(|sku| !seen.contains(sku)).collect();
    let features = app.features.features(&candidates).await?;
    candidates.retain(|sku| is_offered(&features, sku, now_ms));
    let more = recommend::similar(sku, feature, &candidates, &features, length.kept);
    let items = items.into_iter().chain(more).collect();
    Ok(List::of(recommend::unique(items, length.kept), model))
}

/// Those whose product is still there and offered here at this moment.
///
/// # Errors
/// [`StoreUnavailable`].
pub async fn still_offered(app: &App, mut items: Vec<Item>) -> Result<Vec<Item>, StoreUnavailable> {
    let skus: Vec<Sku> = items.iter().map(|item| item.sku.clone()).collect();
    let features = app.features.features(&skus).await?;
    let now_ms = app.clock.now().timestamp_millis();
    items.retain(|item| is_offered(&features, &item.sku, now_ms));
    Ok(items)
}

/// A product without a feature has gone, or never was.
pub fn is_offered(features: &HashMap<Sku, Feature>, sku: &Sku, now_ms: i64) -> bool {
    features.get(sku).is_some_and(|feature| feature.offered.contains(now_ms))
}
