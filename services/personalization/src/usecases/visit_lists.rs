//! What the index of visits has to say about a question. Nothing here waits but the look at what suggested products are.

use common::Sku;
use recommender::{Index, Mixture, Question, Suggestion};

use super::App;
use super::error::StoreUnavailable;
use super::generate_recommendations::{Command, Kind, MAX_LIMIT};
use crate::domain::recommend::{Item, Length, Reason};
use crate::domain::suggest::{self, Chosen, Suggested};
use crate::domain::{Person, visit};

/// Suggestions taken from the index: as many as anybody may ask for, and half of it again for what is gone or was seen.
const ASKED: usize = MAX_LIMIT as usize * 3 / 2;

/// For somebody, after what they looked at last.
///
/// # Errors
/// [`StoreUnavailable`]: what a product is cannot be read.
pub async fn for_you(
    app: &App,
    command: &Command,
    person: &Person,
    length: Length,
) -> Result<Vec<Chosen>, StoreUnavailable> {
    let looked_at: Vec<&str> = person.recent.iter().map(|recent| recent.sku.as_str()).collect();
    if looked_at.is_empty() {
        return Ok(Vec::new());
    }
    let own = person.recent.first().zip(command.pseudonym.as_ref()).map(|(newest, who)| visit::key(who, newest.at_ms));
    let suggested = app.visits.read(|index| ask(index, &looked_at, own));
    let skus: Vec<Sku> = suggested.iter().map(|suggested| suggested.sku.clone()).collect();
    let features = app.features.features(&skus).await?;
    Ok(suggest::choose(suggested, person.profile.as_ref(), &person.recent, &features, length))
}

fn ask(index: &Index, looked_at: &[&str], own: Option<u64>) -> Vec<Suggested> {
    let question = Question::of_a_page(looked_at, own);
    let read = |suggestion: &Suggestion<'_>| {
        let sku = Sku::parse(suggestion.item).ok()?;
        Some(Suggested { sku, share: f64::from(suggestion.share), parts: suggestion.parts })
    };
    Mixture::default().suggest(index, &question, ASKED).iter().filter_map(read).collect()
}

/// About the product at hand, without regard to who asks, at most `most`; empty for kinds that are about a person.
pub fn about(app: &App, command: &Command, most: usize) -> Vec<Item> {
    let Some(sku) = &command.sku else { return Vec::new() };
    let item = |sku, reason| Item { sku, reason };
    match command.kind {
        Kind::AlsoViewed | Kind::Similar => app.visits.read(|index| {
            let suggested = ask(index, &[sku.as_str()], None).into_iter();
            suggested.take(most).map(|one| item(one.sku, Reason::ViewedTogether)).collect()
        }),
        Kind::AlsoBought => app.visits.read(|index| {
            let bought = index.bought_with(sku.as_str(), most).into_iter();
            bought.filter_map(|(name, _)| Some(item(Sku::parse(name).ok()?, Reason::BoughtTogether))).collect()
        }),
        Kind::ForYou | Kind::Trending | Kind::Continue => Vec::new(),
    }
}

/// What was looked at most, for when nothing else is left.
pub fn most_seen(app: &App, command: &Command) -> Vec<Item> {
    app.visits.read(|index| {
        let names = index.most_seen(command.limit as usize + 1).into_iter().filter_map(|name| Sku::parse(name).ok());
        let others = names.filter(|sku| Some(sku) != command.sku.as_ref()).take(command.limit as usize);
        others.map(|sku| Item { sku, reason: Reason::Trending }).collect()
    })
}
