//! `GenerateRecommendations`: which products to show, to whom, and why.
//!
//! The answer is always there in time. What is personal or needs the store gets [`PATIENCE`]; after that the answer comes from
//! what the process knows by itself, one [`Level`] after another, and says that it is degraded. An empty list is an answer, too: a
//! shop without products.
//!
//! Whoever is known gets the list that was made for them until they click or their session is over; what has gone since is left out of
//! it. How each list is made stands in `lists`, how it is kept in `kept_lists`.

use std::collections::HashSet;
use std::time::Duration;

use common::Sku;
use tokio::time::Instant;

use super::App;
use super::error::{Refusal, StoreUnavailable};
use super::kept_lists::{Asked, Kept};
use super::lists::{self, List};
use super::visit_lists;
use super::watch_popularity::Crowd;
use crate::domain::experiment::enrolment::Exposure;
use crate::domain::experiment::plan::{Change, Part};
use crate::domain::recommend::{Item, Length};
use crate::domain::suggest::Chosen;
use crate::domain::{Person, Profile, Pseudonym, session};

/// How long an answer waits for the store, all its questions together, also whose token it is. The page that asks has 50 ms for everything.
pub const PATIENCE: Duration = Duration::from_millis(25);

/// Most and default number of products asked for at once.
pub const MAX_LIMIT: u32 = 100;
pub const DEFAULT_LIMIT: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// Says nothing without a product at hand.
    fn is_about_a_product(self) -> bool {
        matches!(self, Self::Similar | Self::AlsoViewed | Self::AlsoBought)
    }

    /// Whether what somebody has seen lately is left out, because the list is there to find something. `for_you` says what comes next,
    /// which is not what was there before. `also_viewed`, `also_bought` and `similar` say what else there is beside the product at hand;
    /// who has seen one of those has made up their mind about it. `trending` is news to somebody who is known; the chart that is
    /// the same for all is what strangers get. In `continue` what was seen is the point.
    pub fn leaves_out_seen(self) -> bool {
        matches!(self, Self::ForYou | Self::AlsoViewed | Self::AlsoBought | Self::Similar | Self::Trending)
    }

    /// Whether a question of this kind makes sense. Asked by whoever reads a question, before anything is done for it, and once more
    /// where it is answered.
    ///
    /// # Errors
    /// [`Refusal::SkuMissing`], [`Refusal::LimitOutOfRange`].
    pub fn admits(self, sku: Option<&Sku>, limit: u32) -> Result<(), Refusal> {
        match sku {
            _ if !(1..=MAX_LIMIT).contains(&limit) => Err(Refusal::LimitOutOfRange),
            None if self.is_about_a_product() => Err(Refusal::SkuMissing),
            _ => Ok(()),
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
    /// The store did not answer in time, or has lost what products are.
    pub degraded: bool,
    pub level: Level,
    /// What made those products that visits suggested; empty unless asked for.
    pub explained: Vec<Chosen>,
    /// Which arms the asker is in; empty for lists that no experiment changes.
    pub parts: Vec<Part>,
    /// Names this list, so that clicks on it can be told apart from others.
    pub list_id: uuid::Uuid,
}

impl Recommendations {
    /// What made this product of the list; `None` unless it was asked for, and of what visits did not suggest.
    pub fn why(&self, sku: &Sku) -> Option<&Chosen> {
        self.explained.iter().find(|chosen| chosen.item.sku == *sku)
    }
}

/// # Errors
/// [`Refusal`] for a command that makes no sense; never for a store that is gone.
pub async fn generate_recommendations(app: &App, command: &Command) -> Result<Recommendations, Refusal> {
    generate_until(app, command, Instant::now() + PATIENCE).await
}

/// The same for whoever has asked the store something before, and waited: it is asked nothing after `deadline`.
///
/// # Errors
/// As [`generate_recommendations`].
pub async fn generate_until(app: &App, command: &Command, deadline: Instant) -> Result<Recommendations, Refusal> {
    command.kind.admits(command.sku.as_ref(), command.limit)?;
    let crowd = app.popularity.current();
    let (parts, change) = parts(app, command);
    let answer = match tokio::time::timeout_at(deadline, in_full(app, command, &crowd, change)).await {
        Ok(Ok(answer)) => answer,
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

/// The levels below the full answer, none of which waits for anything. What has gone lately may still be in them, and what the asker has
/// seen: nobody is there who could tell.
fn without_store(app: &App, command: &Command, crowd: &Crowd) -> Recommendations {
    let trending = lists::trending(command, crowd, &HashSet::new(), command.limit as usize);
    if command.kind == Kind::Trending && command.pseudonym.is_none() {
        // A stranger would get no other with the store.
        return answer(trending, Level::Full);
    }
    let known = lists::about(app, command);
    let (list, level) = if !known.items.is_empty() {
        (known, Level::WithoutProfile)
    } else if !trending.items.is_empty() {
        (trending, Level::Trending)
    } else {
        (lists::most_seen(app, command), Level::Static)
    };
    Recommendations { degraded: true, ..answer(list, level) }
}

/// With everything that the question asks for.
async fn in_full(
    app: &App,
    command: &Command,
    crowd: &Crowd,
    change: Change,
) -> Result<Recommendations, StoreUnavailable> {
    if change == Change::Off {
        // Nobody has to be asked for nothing.
        return Ok(answer(List::left_out(), Level::Full));
    }
    let (person, mut list) = the_list(app, command, crowd, change).await?;
    let has_nothing_to_go_on = command.kind == Kind::Continue && list.items.is_empty();
    list.items = lists::still_offered(app, list.items).await?;
    if list.items.is_empty() && !has_nothing_to_go_on && !app.features.are_learned().await? {
        // Nobody knows what is offered: the store has lost what products are. What the process knows is better than nothing.
        return Ok(without_store(app, command, crowd));
    }
    list.items.truncate(command.limit as usize);
    let mut explained = Vec::new();
    if command.explain && command.kind == Kind::ForYou && change == Change::Nothing {
        // What the index says at this moment about the list that is shown.
        explained = visit_lists::for_you(app, command, &person, Length::of(command.limit as usize)).await?;
        explained.retain(|chosen| list.items.iter().any(|item| item.sku == chosen.item.sku));
    }
    let profile = person.profile.as_ref().filter(|_| list.from_profile);
    let profile_age_ms = profile.map(|profile| (app.clock.now().timestamp_millis() - profile.as_of_ms()).max(0));
    Ok(Recommendations { profile_age_ms, explained, ..answer(list, Level::Full) })
}

/// Who asks, and their list of this session where there is one, whichever process made it; else a new one, which becomes that of the
/// session. A process that does not know yet what is popular, or what visits say, keeps nothing: its first poor lists would be shown for
/// half an hour.
async fn the_list(
    app: &App,
    command: &Command,
    crowd: &Crowd,
    change: Change,
) -> Result<(Person, List), StoreUnavailable> {
    let Some(asked) = Asked::of(command, change) else {
        let person = person(app, command).await?;
        let list = lists::make(app, command, crowd, change, &person).await?;
        return Ok((person, list));
    };
    let waiting = app.kept.waiting(&asked);
    let (person, stored) = app.shelves.asked(&asked).await?;
    let (mark, now_ms) = (session::mark(&person), app.clock.now().timestamp_millis());
    // The store's first: it is the one that all processes show.
    let first = [stored, waiting].into_iter().flatten().find(|kept| mark.is_some_and(|mark| kept.holds(mark, now_ms)));
    if let Some(kept) = first {
        return Ok((person, kept.list));
    }
    let list = lists::make(app, command, crowd, change, &person).await?;
    let knows = !crowd.everything.is_empty() && app.visits.is_led();
    let list = match mark.filter(|_| knows) {
        Some(mark) => {
            let as_of_ms = person.profile.as_ref().map_or(0, Profile::as_of_ms);
            app.kept.keep(asked, Kept { mark, as_of_ms, made_at_ms: now_ms, list })
        }
        None => list,
    };
    Ok((person, list))
}

async fn person(app: &App, command: &Command) -> Result<Person, StoreUnavailable> {
    match &command.pseudonym {
        Some(pseudonym) => app.shelves.person(pseudonym).await,
        None => Ok(Person::default()),
    }
}

fn answer(list: List, level: Level) -> Recommendations {
    Recommendations {
        items: list.items,
        model: list.model,
        profile_age_ms: None,
        degraded: false,
        level,
        explained: Vec::new(),
        parts: Vec::new(),
        list_id: list.list_id,
    }
}
