//! What somebody is shown stays until they click or their session is over, whatever others do and whichever process answers; what has
//! gone leaves at once in the process that learned of it, as these stories do, and within a minute in the others.

use std::sync::Arc;

use chrono::Duration;
use personalization::domain::ClickKind::{Buy, View};
use personalization::domain::recommend::Item;
use personalization::domain::{ClickKind, Feature, Pseudonym, Report, Window};
use personalization::usecases::ports::{ProductRevision, Store};
use personalization::usecases::{
    App, Command, KeptLists, Kind, Popularity, VisitIndex, follow, generate_recommendations, refresh,
};

use crate::support::{self, NOW, Shop, both, product, products, report, somebody};

both! {
    what_others_click_does_not_change_what_somebody_is_shown_and_their_own_click_does,
    a_session_that_is_over_begins_with_what_others_did_meanwhile,
    the_same_question_has_the_same_list_whichever_process_answers,
    of_two_processes_that_make_a_list_at_once_the_first_to_write_it_has_made_it_for_both,
    a_process_that_starts_in_the_middle_of_a_session_goes_on_with_its_lists,
    who_withdraws_is_shown_what_strangers_are_shown,
    a_product_that_has_gone_leaves_every_list_at_once_and_the_lists_stay_full,
    what_is_not_offered_yet_or_no_more_is_shown_nowhere,
    what_somebody_has_seen_is_left_out_of_every_list_but_the_one_to_go_on_with,
    whoever_has_seen_nearly_everything_is_shown_what_is_left,
}

/// Every kind that hangs on what others do, with the product at hand.
const KINDS: [(Kind, Option<&str>); 5] = [
    (Kind::ForYou, None),
    (Kind::Trending, None),
    (Kind::AlsoViewed, Some("C2")),
    (Kind::AlsoBought, Some("C2")),
    (Kind::Similar, Some("C2")),
];

type Shown = Vec<(String, &'static str)>;

/// A coat more than elsewhere, so that some are left for who has seen one, has one at hand and sees others go.
fn ours() -> Vec<ProductRevision> {
    let mut ours = products();
    ours.push(product("C5", 1, "fashion/coats", "Aurel"));
    ours
}

/// Somebody who has looked at a coat in a shop where others have, too.
async fn a_person<S: Store>(shop: &Shop<S>) -> Pseudonym {
    shop.learn(&ours()).await;
    shop.click(vec![report(&somebody(), 1, &[(View, "C2"), (View, "C3"), (View, "C4")])]).await;
    let who = somebody();
    shop.click(vec![report(&who, 2, &[(View, "C1")])]).await;
    shop.follow().await;
    shop.refresh().await;
    who
}

/// Others turn everything over: what is trending, what goes together, what comes next.
async fn a_crowd<S: Store>(shop: &Shop<S>) {
    for offset in 10..20 {
        let clicks = [(View, "C1"), (View, "D2"), (View, "C2"), (Buy, "D2"), (Buy, "C2"), (View, "D1")];
        shop.click(vec![report(&somebody(), offset, &clicks)]).await;
    }
    shop.follow().await;
    shop.refresh().await;
}

async fn all<S: Store>(shop: &Shop<S>, who: Option<&Pseudonym>) -> Vec<Shown> {
    let mut shown = Vec::new();
    for (kind, at_hand) in KINDS {
        shown.push(shop.ask(kind, who, at_hand).await);
    }
    shown
}

/// What is left of what everybody is shown for who has seen some of it.
fn without(shown: &[Shown], seen: &[&str]) -> Vec<Shown> {
    let unseen = |(name, _): &&(String, &'static str)| !seen.contains(&name.as_str());
    shown.iter().map(|shown| shown.iter().filter(unseen).cloned().collect()).collect()
}

fn names<'a>(shown: &'a [(String, &'static str)]) -> Vec<&'a str> {
    shown.iter().map(|(name, _)| name.as_str()).collect()
}

async fn what_others_click_does_not_change_what_somebody_is_shown_and_their_own_click_does<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let (mine, everybodys) = (all(&shop, Some(&who)).await, all(&shop, None).await);
    a_crowd(&shop).await;
    let now = all(&shop, None).await;
    assert!(now[1] != everybodys[1] && now[2] != everybodys[2] && now[3] != everybodys[3], "{everybodys:?} {now:?}");
    assert_eq!(all(&shop, Some(&who)).await, mine, "what others did");
    shop.click(vec![report(&who, 30, &[(View, "D1")])]).await;
    let clicked = all(&shop, Some(&who)).await;
    assert_ne!(clicked[0], mine[0], "what they did themselves");
    assert_eq!(clicked[1..], without(&now[1..], &["C1", "D1"]), "and with it comes what others did");
}

async fn a_session_that_is_over_begins_with_what_others_did_meanwhile<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let before = all(&shop, Some(&who)).await;
    a_crowd(&shop).await;
    shop.clock.advance(Duration::minutes(30) - Duration::milliseconds(1));
    assert_eq!(all(&shop, Some(&who)).await, before);
    shop.clock.advance(Duration::milliseconds(1));
    let after = all(&shop, Some(&who)).await;
    assert_eq!(after[1..], without(&all(&shop, None).await[1..], &["C1"]));
    assert_ne!(after, before);
}

async fn who_withdraws_is_shown_what_strangers_are_shown<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let mine = all(&shop, Some(&who)).await;
    a_crowd(&shop).await;
    shop.click(vec![Report { consent: false, ..report(&who, 40, &[]) }]).await;
    let now = all(&shop, Some(&who)).await;
    assert_eq!(now, all(&shop, None).await);
    assert_ne!(now, mine);
}

async fn a_product_that_has_gone_leaves_every_list_at_once_and_the_lists_stay_full<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    // Two at a time: each kind has at least one more behind them, whatever is at hand or was seen.
    let mut before = Vec::new();
    for (kind, at_hand) in KINDS {
        before.push(shop.ask_for(2, kind, Some(&who), at_hand).await);
    }
    let first: Vec<String> = before.iter().map(|shown| shown[0].0.clone()).collect();
    let mut revisions = 2..;
    for ((kind, at_hand), gone) in KINDS.into_iter().zip(first) {
        let original = ours().into_iter().find(|product| product.sku.as_str() == gone).expect("one of ours");
        let next =
            |feature| ProductRevision { feature, revision: revisions.next().unwrap_or_default(), ..original.clone() };
        let [leaves, comes_back] = [None, original.feature.clone()].map(next);
        shop.learn(&[leaves]).await;
        // Nothing is refreshed: what is popular still names it.
        for who in [Some(&who), None] {
            let shown = shop.ask_for(2, kind, who, at_hand).await;
            assert_eq!(shown.len(), 2, "{kind:?} is full without {gone}: {shown:?}");
            assert!(!names(&shown).contains(&gone.as_str()), "{kind:?} without {gone}: {shown:?}");
        }
        // It comes back, so that each kind is asked in the whole shop.
        shop.learn(&[comes_back]).await;
    }
    shop.learn(&[ProductRevision { feature: None, ..product("C1", 5_000, "", "") }]).await;
    assert!(shop.ask(Kind::Continue, Some(&who), None).await.is_empty(), "the only one they looked at");
}

async fn what_is_not_offered_yet_or_no_more_is_shown_nowhere<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let of = |name: &str, from_ms, until_ms| {
        let mut product = product(name, 3, "fashion/coats", "Aurel");
        product.feature = product.feature.map(|feature| Feature { offered: Window { from_ms, until_ms }, ..feature });
        product
    };
    // The clock stands a minute after NOW.
    shop.learn(&[of("C3", 0, NOW + 60_000), of("C4", NOW + 60_001, 0)]).await;
    for who in [Some(&who), None] {
        for shown in all(&shop, who).await {
            let shown = names(&shown);
            assert!(!shown.is_empty() && !shown.contains(&"C3") && !shown.contains(&"C4"), "{shown:?}");
        }
    }
    shop.clock.advance(Duration::milliseconds(1));
    let shown = shop.ask(Kind::Similar, None, Some("C2")).await;
    assert!(names(&shown).contains(&"C4") && !names(&shown).contains(&"C3"), "it is offered from now on: {shown:?}");
}

/// Kind by kind: [`Kind::leaves_out_seen`] says why.
async fn what_somebody_has_seen_is_left_out_of_every_list_but_the_one_to_go_on_with<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    a_crowd(&shop).await;
    for (kind, at_hand, has_it) in [
        (Kind::ForYou, None, false),
        (Kind::Trending, None, false),
        (Kind::AlsoViewed, Some("C2"), false),
        (Kind::AlsoBought, Some("C2"), false),
        (Kind::Similar, Some("C2"), false),
        (Kind::Continue, None, true),
    ] {
        assert_ne!(kind.leaves_out_seen(), has_it, "{kind:?}");
        let shown = shop.ask(kind, Some(&who), at_hand).await;
        assert_eq!(names(&shown).contains(&"C1"), has_it, "{kind:?}: {shown:?}");
        if has_it {
            continue;
        }
        let everybodys = shop.ask(kind, None, at_hand).await;
        assert!(names(&everybodys).contains(&"C1"), "{kind:?}, who is not known has seen nothing: {everybodys:?}");
        assert_eq!(shop.ask_for(2, kind, Some(&who), at_hand).await.len(), 2, "{kind:?} is full without it");
    }
}

async fn whoever_has_seen_nearly_everything_is_shown_what_is_left<S: Store>(shop: Shop<S>) {
    let lamps: Vec<String> = (1..=13).map(|number| format!("L{number:02}")).collect();
    let mut sold = products();
    sold.extend(lamps.iter().map(|name| product(name, 1, "gadgets/lamps", "Corvid")));
    shop.learn(&sold).await;
    // All but the last go with the coat twice: more of them than are kept of a list of one.
    let (last, often) = lamps.split_last().expect("lamps");
    for (offset, name) in (1..).zip(often.iter().chain(&lamps)) {
        shop.click(vec![report(&somebody(), offset, &[(View, "C2"), (View, name.as_str())])]).await;
    }
    let who = somebody();
    let seen: Vec<(ClickKind, &str)> = often.iter().map(|name| (View, name.as_str())).collect();
    shop.click(vec![report(&who, 40, &seen)]).await;
    shop.follow().await;
    shop.refresh().await;
    let shown = shop.ask_for(1, Kind::AlsoViewed, Some(&who), Some("C2")).await;
    assert_eq!(shown, [(last.clone(), "viewed-together")]);
}

/// The answer of one of several processes, with the name of its list.
async fn told(app: &App, who: &Pseudonym, kind: Kind, at_hand: Option<&str>) -> (uuid::Uuid, Vec<Item>) {
    let (pseudonym, sku) = (Some(who.clone()), at_hand.map(support::sku));
    let command = Command { kind, pseudonym, takes_part: false, sku, limit: 5, explain: false };
    // On a busy machine the store may answer later than a page would wait; that answer is another story.
    let answer = testkit::wait::until("an answer in time", std::time::Duration::from_secs(10), async || {
        let answer = generate_recommendations(app, &command).await;
        answer
            .map_err(|refusal| refusal.to_string())
            .and_then(|answer| if answer.degraded { Err(format!("{answer:?}")) } else { Ok(answer) })
    })
    .await;
    (answer.list_id, answer.items)
}

async fn the_same_question_has_the_same_list_whichever_process_answers<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let mut before = Vec::new();
    for (kind, at_hand) in KINDS {
        before.push(told(&shop.app, &who, kind, at_hand).await);
    }
    shop.write().await;
    a_crowd(&shop).await;
    // It knows what the crowd has done, and would have made other lists.
    let other = shop.another().await;
    for ((kind, at_hand), before) in KINDS.into_iter().zip(&before) {
        assert_eq!(told(&other, &who, kind, at_hand).await, *before, "{kind:?} of the other process");
        assert_eq!(told(&shop.app, &who, kind, at_hand).await, *before, "{kind:?} of the first one");
    }
    shop.click(vec![report(&who, 30, &[(View, "D1")])]).await;
    for ((kind, at_hand), before) in KINDS.into_iter().zip(&before) {
        let clicked = told(&other, &who, kind, at_hand).await;
        assert_ne!(clicked.0, before.0, "{kind:?} after a click of theirs");
        shop.write_of(&other).await;
        assert_eq!(told(&shop.app, &who, kind, at_hand).await, clicked, "{kind:?} at both");
    }
}

async fn of_two_processes_that_make_a_list_at_once_the_first_to_write_it_has_made_it_for_both<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let other = shop.another().await;
    let here = told(&shop.app, &who, Kind::Trending, None).await;
    a_crowd(&shop).await;
    refresh(&other).await.expect("the store answers");
    let there = told(&other, &who, Kind::Trending, None).await;
    assert!(there.0 != here.0 && there.1 != here.1, "neither is written: each shows its own");
    shop.write_of(&other).await;
    shop.write().await;
    assert_eq!(told(&shop.app, &who, Kind::Trending, None).await, there, "the first to come stays");
    assert_eq!(told(&other, &who, Kind::Trending, None).await, there);
}

async fn a_process_that_starts_in_the_middle_of_a_session_goes_on_with_its_lists<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let before = told(&shop.app, &who, Kind::ForYou, None).await;
    shop.write().await;
    // Of what is popular and of visits it has read nothing.
    let (popularity, visits) = (Arc::new(Popularity::default()), Arc::new(VisitIndex::default()));
    let started = App { popularity, visits, kept: Arc::new(KeptLists::default()), ..shop.app.clone() };
    assert_eq!(told(&started, &who, Kind::ForYou, None).await, before);
}

#[tokio::test]
async fn a_process_that_does_not_know_yet_what_is_popular_keeps_nothing() {
    let shop = support::memory();
    let who = a_person(&shop).await;
    shop.app.popularity.replace(personalization::usecases::Crowd::default());
    assert!(shop.ask(Kind::Trending, Some(&who), None).await.is_empty());
    shop.refresh().await;
    let shown = shop.ask(Kind::Trending, Some(&who), None).await;
    assert!(names(&shown).contains(&"C2"), "{shown:?}");
}

#[tokio::test]
async fn a_process_that_does_not_know_yet_what_visits_say_keeps_nothing() {
    let shop = support::memory();
    let who = a_person(&shop).await;
    // Another process that starts: it knows what is popular, and its index of visits is not in.
    let (visits, kept) = (Arc::new(VisitIndex::default()), Arc::new(KeptLists::default()));
    let app = App { visits, kept, ..shop.app.clone() };
    let ask = async || {
        let (kind, pseudonym) = (Kind::ForYou, Some(who.clone()));
        let command = Command { kind, pseudonym, takes_part: false, sku: None, limit: 5, explain: false };
        generate_recommendations(&app, &command).await.expect("an answer")
    };
    let early = ask().await;
    assert!(!early.items.is_empty(), "it is answered all the same");
    follow(&app.visits, shop.store.as_ref()).await.expect("the store answers");
    let led = ask().await;
    assert_ne!(led.list_id, early.list_id, "what was made without visits is not kept");
    assert_eq!(ask().await.list_id, led.list_id, "what was made with them is");
}
