//! `GenerateRecommendations`: which products to show, to whom, and why.
//!
//! The answer is always there in time. What is personal or needs the store gets [`PATIENCE`]; after that the answer comes from
//! what the process knows by itself, one [`Level`] after another, and says that it is degraded. An empty list is an answer, too: a
//! shop without products.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::{Sku, ids};

use super::App;
use super::error::{Refusal, StoreUnavailable};
use super::ports::Shelf;
use super::visit_lists;
use super::watch_popularity::{Crowd, LIST_LENGTH};
use crate::domain::experiment::enrolment::Exposure;
use crate::domain::experiment::plan::{Change, Part};
use crate::domain::recommend::{self, Item, Popular, Reason};
use crate::domain::suggest::Chosen;
use crate::domain::{PairKind, Person, Pseudonym};

/// How long an answer waits for the store, all its questions together. The page that asks has 50 ms for everything.
pub const PATIENCE: Duration = Duration::from_millis(25);

/// Most and default number of products asked for at once.
pub const MAX_LIMIT: u32 = 100;
pub const DEFAULT_LIMIT: u32 = 20;

/// Categories of a profile that a personal list draws from: the page has room for little more, and each costs a list.
const PERSONAL_CATEGORIES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ForYou,
    AlsoViewed,
    AlsoBought,
    Similar,
    Trending,
    Continue,
}

impl Kind {
    /// Depends on who asks, so that nobody else may be given the answer.
    pub fn is_personal(self) -> bool {
        matches!(self, Self::ForYou | Self::Continue)
    }

    pub fn code(self) -> &'static str {
        match self {
            Self::ForYou => "for_you",
            Self::AlsoViewed => "also_viewed",
            Self::AlsoBought => "also_bought",
            Self::Similar => "similar",
            Self::Trending => "trending",
            Self::Continue => "continue",
        }
    }

    /// # Errors
    /// [`Refusal::UnknownKind`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let all = [Self::ForYou, Self::AlsoViewed, Self::AlsoBought, Self::Similar, Self::Trending, Self::Continue];
        all.into_iter().find(|kind| kind.code() == text).ok_or(Refusal::UnknownKind)
    }
}

#[derive(Clone, Debug)]
pub struct Command {
    pub kind: Kind,
    /// `None`: somebody unknown, or somebody who did not agree to personalisation.
    pub pseudonym: Option<Pseudonym>,
    /// The pseudonym is of an account, whose browser does not object. Orders are of accounts, so only accounts take part in experiments.
    pub takes_part: bool,
    /// The product at hand.
    pub sku: Option<Sku>,
    /// 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// Tell what made each product of the list.
    pub explain: bool,
}

/// How much of what we know went into an answer; each is tried when the one before it cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything that the question asks for.
    Full,
    /// What visits teach about the product at hand, without looking at anybody's profile.
    WithoutProfile,
    /// What the crowd likes.
    Trending,
    /// What was looked at most in the visits that this process has in memory or found on its disk.
    Static,
}

impl Level {
    pub fn code(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::WithoutProfile => "without_profile",
            Self::Trending => "trending",
            Self::Static => "static",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recommendations {
    pub items: Vec<Item>,
    /// Which way of choosing made the list.
    pub model: &'static str,
    /// Age of the newest click in the profile; `None` without a profile.
    pub profile_age_ms: Option<i64>,
    /// The store did not answer in time.
    pub degraded: bool,
    pub level: Level,
    /// What made those products that visits suggested; empty unless asked for.
    pub explained: Vec<Chosen>,
    /// Which arms the asker is in; empty for lists that no experiment changes.
    pub parts: Vec<Part>,
    /// Names this list, so that clicks on it can be told apart from others.
    pub list_id: uuid::Uuid,
}

const VISITS: &str = "visit-mixture-1";
const PERSONAL: &str = "interest-decay-1";
const CROWD: &str = "popularity-decay-1";
const TOGETHER: &str = "co-occurrence-1";
const ALIKE: &str = "same-shelf-1";
const HISTORY: &str = "recently-viewed-1";
const NOTHING: &str = "left-out-1";

/// # Errors
/// [`Refusal`] for a command that makes no sense; never for a store that is gone.
pub async fn generate_recommendations(app: &App, command: &Command) -> Result<Recommendations, Refusal> {
    if !(1..=MAX_LIMIT).contains(&command.limit) {
        return Err(Refusal::LimitOutOfRange);
    }
    let crowd = app.popularity.current();
    let (parts, change) = parts(app, command);
    let chosen = tokio::time::timeout(PATIENCE, choose(app, command, &crowd, change));
    let answer = match chosen.await {
        Ok(Ok(answer)) => answer?,
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "recommendations without the store");
            without_store(app, command, &crowd)
        }
        Err(_) => without_store(app, command, &crowd),
    };
    note(app, command, &parts, answer.degraded);
    Ok(Recommendations { parts, ..answer })
}

/// The arms of who asks, and what these change.
fn parts(app: &App, command: &Command) -> (Vec<Part>, Change) {
    match &command.pseudonym {
        Some(who) if command.takes_part && command.kind == Kind::ForYou => app.trials.running.parts(who),
        _ => (Vec::new(), Change::Nothing),
    }
}

/// The first answer makes a person of an arm; it is written down after the answer.
fn note(app: &App, command: &Command, parts: &[Part], degraded: bool) {
    let Some(who) = command.pseudonym.as_ref().filter(|_| !parts.is_empty()) else { return };
    let exposure = Exposure { at_ms: app.clock.now().timestamp_millis(), degraded };
    app.trials.running.note(who, exposure);
}

/// The levels below the full answer, none of which waits for anything.
fn without_store(app: &App, command: &Command, crowd: &Crowd) -> Recommendations {
    let known = visit_lists::about(app, command);
    if !known.is_empty() {
        return Recommendations { degraded: true, level: Level::WithoutProfile, ..answer(known, VISITS) };
    }
    let trending = popular(command, crowd, true);
    if !trending.items.is_empty() {
        return Recommendations { level: Level::Trending, ..trending };
    }
    Recommendations { degraded: true, level: Level::Static, ..answer(visit_lists::most_seen(app, command), CROWD) }
}

async fn choose(
    app: &App,
    command: &Command,
    crowd: &Crowd,
    change: Change,
) -> Result<Result<Recommendations, Refusal>, StoreUnavailable> {
    let at_hand = command.sku.as_ref().ok_or(Refusal::SkuMissing);
    Ok(match (command.kind, at_hand) {
        (Kind::Trending, _) => Ok(popular(command, crowd, false)),
        (Kind::ForYou, _) if change == Change::Off => Ok(answer(Vec::new(), NOTHING)),
        (Kind::ForYou, _) if change == Change::Popular => Ok(for_you(app, command, crowd, Person::default()).await?),
        (Kind::ForYou, _) if change == Change::WithoutVisits => {
            let person = person(app, command).await?;
            Ok(for_you(app, command, crowd, person).await?)
        }
        (Kind::ForYou, _) => {
            let person = person(app, command).await?;
            let chosen = visit_lists::for_you(app, command, &person).await?;
            Ok(first(chosen, for_you(app, command, crowd, person).await?, command))
        }
        (Kind::Continue, _) => Ok(go_on(app, command).await?),
        (_, Err(refusal)) => Err(refusal),
        (Kind::Similar, Ok(sku)) => Ok(similar(app, command, sku, ALIKE, Vec::new()).await?),
        (Kind::AlsoViewed, Ok(sku)) => Ok(together(app, command, sku, PairKind::Viewed).await?),
        (Kind::AlsoBought, Ok(sku)) => Ok(together(app, command, sku, PairKind::Bought).await?),
    })
}

/// What visits suggest, and behind it what was there without them.
fn first(chosen: Vec<Chosen>, rest: Recommendations, command: &Command) -> Recommendations {
    if chosen.is_empty() {
        return rest;
    }
    let items = chosen.iter().map(|chosen| chosen.item.clone()).chain(rest.items);
    let items = recommend::unique(items.collect(), command.limit as usize);
    let explained = if command.explain { chosen } else { Vec::new() };
    Recommendations { items, model: VISITS, explained, ..rest }
}

/// What somebody's interests suggest.
async fn for_you(
    app: &App,
    command: &Command,
    crowd: &Crowd,
    person: Person,
) -> Result<Recommendations, StoreUnavailable> {
    let Some(profile) = person.profile.as_ref().filter(|profile| !profile.categories.is_empty()) else {
        // A cold start: what others like, without what this person has just seen.
        let mut answer = popular(&Command { limit: MAX_LIMIT, ..command.clone() }, crowd, false);
        let seen: HashSet<&Sku> = person.recent.iter().map(|recent| &recent.sku).collect();
        answer.items.retain(|item| !seen.contains(&item.sku));
        answer.items.truncate(command.limit as usize);
        return Ok(answer);
    };
    let categories = profile.categories.iter().take(PERSONAL_CATEGORIES).map(|rating| rating.key.clone());
    let lists = category_lists(app, crowd, categories.collect()).await?;
    let candidates: Vec<Sku> = lists.values().flatten().map(|popular| popular.sku.clone()).collect();
    let features = app.features.features(&candidates).await?;
    let limit = command.limit as usize;
    let items = recommend::for_you(profile, &person.recent, &lists, &features, limit);
    let seen: HashSet<&Sku> = person.recent.iter().map(|recent| &recent.sku).collect();
    let items = recommend::fill(items, &crowd.skus(), Reason::Trending, &seen, limit);
    let age = app.clock.now().timestamp_millis() - profile.as_of_ms();
    Ok(Recommendations { profile_age_ms: Some(age.max(0)), ..answer(items, PERSONAL) })
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

async fn go_on(app: &App, command: &Command) -> Result<Recommendations, StoreUnavailable> {
    let person = person(app, command).await?;
    let age = person.profile.as_ref().map(|profile| (app.clock.now().timestamp_millis() - profile.as_of_ms()).max(0));
    let items = recommend::go_on(&person.recent, command.limit as usize);
    Ok(Recommendations { profile_age_ms: age, ..answer(items, HISTORY) })
}

async fn together(
    app: &App,
    command: &Command,
    sku: &Sku,
    kind: PairKind,
) -> Result<Recommendations, StoreUnavailable> {
    let limit = command.limit as usize;
    let shelf = [Shelf::Together(kind, sku.clone())];
    let list = app.shelves.lists(&shelf, limit, app.clock.now().timestamp_millis()).await?;
    let reason = match kind {
        PairKind::Viewed => Reason::ViewedTogether,
        PairKind::Bought => Reason::BoughtTogether,
    };
    let visits = visit_lists::about(app, command);
    // Nothing was seen together with it yet: then the whole list is of the other kind and says so.
    let model = if visits.is_empty() { TOGETHER } else { VISITS };
    let pairs = list.into_iter().flatten().map(|popular| Item { sku: popular.sku, reason });
    let items = visit_lists::there(app, visits.into_iter().chain(pairs).collect()).await?;
    let items = recommend::unique(items, limit);
    if items.len() >= limit {
        return Ok(answer(items, model));
    }
    let model = if items.is_empty() { ALIKE } else { model };
    similar(app, command, sku, model, items).await
}

/// Products of the same shelf after `items`.
async fn similar(
    app: &App,
    command: &Command,
    sku: &Sku,
    model: &'static str,
    items: Vec<Item>,
) -> Result<Recommendations, StoreUnavailable> {
    let limit = command.limit as usize;
    let known = app.features.features(std::slice::from_ref(sku)).await?;
    let Some(feature) = known.get(sku) else { return Ok(answer(items, model)) };
    let shelves = [Shelf::Category(feature.category.clone()), Shelf::NewestOf(feature.category.clone())];
    let lists = app.shelves.lists(&shelves, LIST_LENGTH / 2, app.clock.now().timestamp_millis()).await?;
    let candidates: Vec<Sku> = lists.into_iter().flatten().map(|popular| popular.sku).collect();
    let features = app.features.features(&candidates).await?;
    let mut items = items;
    let more = recommend::similar(sku, feature, &candidates, &features, limit);
    let known: HashSet<Sku> = items.iter().map(|item| item.sku.clone()).collect();
    items.extend(more.into_iter().filter(|item| !known.contains(&item.sku)));
    items.truncate(limit);
    Ok(answer(items, model))
}

async fn person(app: &App, command: &Command) -> Result<Person, StoreUnavailable> {
    match &command.pseudonym {
        Some(pseudonym) => app.shelves.person(pseudonym).await,
        None => Ok(Person::default()),
    }
}

/// What the process knows by itself.
fn popular(command: &Command, crowd: &Crowd, degraded: bool) -> Recommendations {
    let items = crowd.everything.iter().enumerate().filter(|(_, popular)| Some(&popular.sku) != command.sku.as_ref());
    let reason = |place| if place < crowd.trending { Reason::Trending } else { Reason::New };
    let items = items
        .take(command.limit as usize)
        .map(|(place, popular)| Item { sku: popular.sku.clone(), reason: reason(place) });
    Recommendations { degraded, ..answer(items.collect(), CROWD) }
}

fn answer(items: Vec<Item>, model: &'static str) -> Recommendations {
    Recommendations {
        items,
        model,
        profile_age_ms: None,
        degraded: false,
        level: Level::Full,
        explained: Vec::new(),
        parts: Vec::new(),
        list_id: ids::random(),
    }
}
