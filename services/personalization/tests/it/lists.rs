//! What both stores promise of lists that people were shown: the first of a session stays, a click and a no put an end to all of them, and
//! nobody fills the store with questions. What becomes of them in answers is told in `sessions`.

use personalization::domain::ClickKind::View;
use personalization::domain::experiment::plan::Change;
use personalization::domain::recommend::{Item, Reason};
use personalization::domain::session::SESSION_MS;
use personalization::domain::{Person, Pseudonym, Report};
use personalization::outbound::list_codec;
use personalization::outbound::redis::RedisStore;
use personalization::usecases::ports::{Lists as _, MOST_LIST_BYTES, Shelves as _, Store};
use personalization::usecases::{Asked, Kept, Kind, List};

use crate::support::{NOW, Shop, both, products, report, sku, somebody};

both! {
    the_first_list_of_a_question_stays_until_its_session_is_over,
    a_later_click_puts_an_end_to_all_lists_and_an_earlier_one_to_none,
    nothing_is_kept_of_whom_nothing_is_known,
    a_no_removes_what_was_shown_and_nothing_made_before_it_comes_back,
    however_much_somebody_asks_their_lists_stay_within_their_bytes,
}

fn asked(who: &Pseudonym, limit: u32) -> Asked {
    Asked { who: who.clone(), kind: Kind::ForYou, sku: None, limit, change: Change::Nothing }
}

/// A list of so many products with the longest names, of somebody whose last record was received at `as_of_ms`.
fn made(products: usize, mark: u64, as_of_ms: i64, made_at_ms: i64) -> Kept {
    let item = |place: usize| Item { sku: sku(&format!("{place:064}")), reason: Reason::VisitsLikeYours };
    let list = List { from_profile: true, ..List::of((0..products).map(item).collect(), "visit-mixture-1") };
    Kept { mark, as_of_ms, made_at_ms, list }
}

/// Whether it is the list of its question now.
async fn keep<S: Store>(shop: &Shop<S>, asked: &Asked, kept: &Kept) -> bool {
    let answers = shop.store.keep(&[(asked.clone(), kept.clone())]).await.expect("the store answers");
    assert_eq!(answers.len(), 1);
    answers[0]
}

async fn stored<S: Store>(shop: &Shop<S>, asked: &Asked) -> Option<Kept> {
    shop.store.asked(asked).await.expect("the store answers").1
}

/// Somebody who looked at something a second after [`NOW`].
async fn a_person<S: Store>(shop: &Shop<S>) -> Pseudonym {
    shop.learn(&products()).await;
    let who = somebody();
    shop.click(vec![report(&who, 1, &[(View, "C1")])]).await;
    who
}

async fn the_first_list_of_a_question_stays_until_its_session_is_over<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let (twenty, ten) = (asked(&who, 20), asked(&who, 10));
    let first = made(3, 7, NOW + 1_000, NOW + 2_000);
    assert!(keep(&shop, &twenty, &first).await);
    let later = made(2, 7, NOW + 1_000, NOW + 2_000 + SESSION_MS - 1);
    assert!(!keep(&shop, &twenty, &later).await, "another process was first");
    assert_eq!(stored(&shop, &twenty).await, Some(first.clone()));
    assert_eq!(stored(&shop, &ten).await, None, "another question");
    assert!(keep(&shop, &ten, &later).await);
    let next = made(1, 7, NOW + 1_000, NOW + 2_000 + SESSION_MS);
    assert!(keep(&shop, &twenty, &next).await, "its session was over");
    assert_eq!((stored(&shop, &twenty).await, stored(&shop, &ten).await), (Some(next), Some(later)));
    let (person, _) = shop.store.asked(&twenty).await.expect("the store answers");
    assert_eq!(person.profile, shop.store.person(&who).await.expect("the store answers").profile);
    assert!(person.profile.is_some());
}

async fn a_later_click_puts_an_end_to_all_lists_and_an_earlier_one_to_none<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let (twenty, ten) = (asked(&who, 20), asked(&who, 10));
    let before = made(3, 7, NOW + 1_000, NOW + 2_000);
    assert!(keep(&shop, &twenty, &before).await && keep(&shop, &ten, &before).await);
    let clicked = made(3, 8, NOW + 3_000, NOW + 3_500);
    assert!(keep(&shop, &twenty, &clicked).await);
    assert_eq!((stored(&shop, &twenty).await, stored(&shop, &ten).await), (Some(clicked.clone()), None));
    // A process that had read the profile before the click, and took longer.
    assert!(!keep(&shop, &ten, &made(3, 7, NOW + 1_000, NOW + 3_600)).await);
    assert_eq!((stored(&shop, &twenty).await, stored(&shop, &ten).await), (Some(clicked), None));
}

async fn nothing_is_kept_of_whom_nothing_is_known<S: Store>(shop: Shop<S>) {
    let asked = asked(&somebody(), 20);
    assert!(!keep(&shop, &asked, &made(3, 7, NOW, NOW)).await);
    let (person, kept) = shop.store.asked(&asked).await.expect("the store answers");
    assert_eq!((person, kept), (Person::default(), None));
}

async fn a_no_removes_what_was_shown_and_nothing_made_before_it_comes_back<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let asked = asked(&who, 20);
    let before = made(3, 7, NOW + 1_000, NOW + 1_500);
    assert!(keep(&shop, &asked, &before).await);
    let no = |offset| Report { consent: false, ..report(&who, offset, &[]) };
    shop.click(vec![no(5)]).await;
    assert_eq!(stored(&shop, &asked).await, None);
    assert!(!keep(&shop, &asked, &before).await, "an answer under way, while nobody is known");
    shop.click(vec![report(&who, 6, &[(View, "C2")])]).await;
    assert!(!keep(&shop, &asked, &before).await, "and when they have agreed again");
    assert_eq!(stored(&shop, &asked).await, None);
    let after = made(3, 8, NOW + 6_000, NOW + 6_500);
    assert!(keep(&shop, &asked, &after).await);
    shop.click(vec![no(7), report(&who, 8, &[(View, "C3")])]).await;
    let (person, kept) = shop.store.asked(&asked).await.expect("the store answers");
    assert!(person.profile.is_some() && kept.is_none(), "no and yes in one batch: {kept:?}");
}

async fn however_much_somebody_asks_their_lists_stay_within_their_bytes<S: Store>(shop: Shop<S>) {
    let who = a_person(&shop).await;
    let list = made(30, 7, NOW + 1_000, NOW + 2_000);
    let questions: Vec<(Asked, Kept)> = (1..=40).map(|limit| (asked(&who, limit), list.clone())).collect();
    let answers = shop.store.keep(&questions).await.expect("the store answers");
    assert_eq!(answers, [true; 40], "there is room for each when it comes");
    let (mut bytes, mut left) = (0, 0);
    for (asked, kept) in &questions {
        if stored(&shop, asked).await.as_ref() == Some(kept) {
            bytes += list_codec::cost(&list_codec::field(asked), &list_codec::encode(kept));
            left += 1;
        }
    }
    assert!((1..40).contains(&left) && bytes <= MOST_LIST_BYTES, "{left} of {bytes} bytes");
    let (last, kept) = &questions[39];
    assert_eq!(stored(&shop, last).await.as_ref(), Some(kept), "whoever came last is there");
    // The longest list there is goes in as well.
    let longest = made(150, 7, NOW + 1_000, NOW + 2_000);
    assert!(keep(&shop, &asked(&who, 100), &longest).await);
    assert_eq!(stored(&shop, &asked(&who, 100)).await, Some(longest));
}

/// What is in their key is nobody's business but the store's.
#[tokio::test]
async fn foreign_bytes_and_keys_of_another_type_are_no_list_and_stop_nobody() {
    let url = testkit::servers().redis_url;
    let prefix = format!("t{}:", common::ids::random().simple());
    let shop = Shop::on(RedisStore::connect(&url, &prefix).expect("a well-formed URL"));
    let (who, other) = (a_person(&shop).await, somebody());
    shop.click(vec![report(&other, 2, &[(View, "C1")])]).await;
    let client = redis::Client::open(url).expect("a well-formed URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test stack runs");
    let (asked, list) = (asked(&who, 20), made(3, 7, NOW + 1_000, NOW + 2_000));
    let key = format!("{prefix}{}", contracts::interest::key("lists", who.as_str()));
    let field = list_codec::field(&asked);
    for (of, value) in [("nonsense", "1;5;x"), ("0000000000000007;5;90", "\u{0}"), ("0000000000000007;5;90", "")] {
        let mut hash = redis::cmd("HSET");
        hash.arg(&key).arg(list_codec::OF).arg(of).arg(&field).arg(value);
        hash.exec_async(&mut connection).await.expect("redis answers");
        let (person, kept) = shop.store.asked(&asked).await.expect("the store answers");
        assert!(person.profile.is_some() && kept.is_none(), "{of} {value}");
        assert!(keep(&shop, &asked, &list).await, "it takes the place of {of} {value}");
        assert_eq!(stored(&shop, &asked).await.map(|kept| kept.list), Some(list.list.clone()), "{of} {value}");
    }
    let life: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.expect("redis answers");
    assert!((1..=SESSION_MS).contains(&life), "{life}");
    redis::cmd("DEL").arg(&key).exec_async(&mut connection).await.expect("redis answers");
    redis::cmd("SADD").arg(&key).arg("nonsense").exec_async(&mut connection).await.expect("redis answers");
    assert_eq!(stored(&shop, &asked).await, None);
    let theirs = Asked { who: other, ..asked.clone() };
    let both = [(asked.clone(), list.clone()), (theirs, Kept { as_of_ms: NOW + 2_000, ..list })];
    assert_eq!(shop.store.keep(&both).await.expect("the store answers"), [false, true]);
    shop.click(vec![Report { consent: false, ..report(&who, 9, &[]) }]).await;
    let there: u64 = redis::cmd("EXISTS").arg(&key).query_async(&mut connection).await.expect("redis answers");
    assert_eq!(there, 0, "who says no leaves nothing under our names");
}
