//! One suite for both stores: what the memory store promises, Redis keeps.

use personalization::domain::ClickKind::{Buy, Remove, View};
use personalization::domain::{Batch, PairKind, Report};
use personalization::usecases::Kind;
use personalization::usecases::ports::{ProductRevision, Shelf, Shelves, Store};

use crate::support::{self, NOW, Shop, both, product, products, report, sku, somebody};

both! {
    a_batch_delivered_again_changes_neither_profile_nor_popularity,
    a_batch_cut_differently_counts_each_report_once,
    what_products_are_like_is_remembered_of_who_looks_at_them,
    somebody_who_withdraws_is_forgotten,
    an_older_revision_never_replaces_a_newer_one,
    a_product_that_is_gone_is_shown_nowhere,
    interests_choose_what_is_shown_and_leave_out_what_was_seen,
    a_stranger_gets_what_is_trending_and_an_empty_shop_nothing,
    products_seen_in_one_visit_are_shown_together,
    a_launch_wins_though_five_hundred_products_begin_above_it,
    a_new_partner_wins_though_a_page_of_others_begins_above_it,
    similar_products_share_the_shelf_and_the_brand_comes_first,
    continuing_shows_what_was_seen_and_not_bought,
}

fn some_reports(who: &personalization::domain::Pseudonym) -> Vec<Report> {
    vec![
        report(who, 1, &[(View, "C1"), (View, "C2")]),
        report(who, 2, &[(Buy, "C1")]),
        report(who, 3, &[(View, "D1"), (Remove, "D1")]),
    ]
}

async fn popularity<S: Store>(shop: &Shop<S>) -> Vec<Vec<(String, i64)>> {
    let shelves = [Shelf::Everything, Shelf::Category("fashion/coats".to_owned())];
    let lists = shop.store.lists(&shelves, 10, NOW).await.expect("the store answers");
    let rounded = |weight: f64| (weight * 1e3) as i64;
    lists
        .into_iter()
        .map(|list| list.into_iter().map(|popular| (popular.sku.to_string(), rounded(popular.weight))).collect())
        .collect()
}

async fn a_batch_delivered_again_changes_neither_profile_nor_popularity<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let who = somebody();
    shop.click(some_reports(&who)).await;
    let (person, crowd) = (shop.store.person(&who).await.expect("an answer"), popularity(&shop).await);
    assert!(person.profile.is_some() && !crowd[0].is_empty());
    for _ in 0..2 {
        assert_eq!(shop.click(some_reports(&who)).await.repeated, 3);
    }
    assert_eq!(shop.store.person(&who).await.expect("an answer"), person);
    assert_eq!(popularity(&shop).await, crowd);
}

async fn what_products_are_like_is_remembered_of_who_looks_at_them<S: Store>(shop: Shop<S>) {
    let mut list = products();
    for feature in list.iter_mut().filter_map(|product| product.feature.as_mut()) {
        feature.attributes = vec!["colour=black".to_owned(), format!("maker={}", feature.brand)];
    }
    shop.learn(&list).await;
    let who = somebody();
    shop.click(vec![report(&who, 0, &[(View, "C1"), (View, "C2"), (View, "D1")])]).await;
    let profile = shop.store.person(&who).await.expect("an answer").profile.expect("a profile");
    let liked: Vec<(&str, i64)> =
        profile.attributes.iter().map(|rating| (rating.key.as_str(), (rating.weight * 100.0).round() as i64)).collect();
    assert_eq!(liked, [("colour=black", 300), ("maker=Aurel", 100), ("maker=Brume", 100), ("maker=Corvid", 100)]);
}

async fn a_batch_cut_differently_counts_each_report_once<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let (one, other) = (somebody(), somebody());
    shop.click(some_reports(&one)).await;
    for cut in [vec![0], vec![0, 1], vec![1, 2], vec![0, 1, 2]] {
        let reports = some_reports(&other);
        // The second person's reports stand behind the first one's in the stream.
        let moved = |mut report: Report| {
            report.position.offset += 10;
            report
        };
        shop.click(cut.into_iter().map(|place| moved(reports[place].clone())).collect()).await;
    }
    let (one, other) =
        (shop.store.person(&one).await.expect("an answer"), shop.store.person(&other).await.expect("an answer"));
    let weights = |person: &personalization::domain::Person| {
        let profile = person.profile.as_ref().expect("a profile");
        profile
            .skus
            .iter()
            .map(|rating| (rating.key.clone(), (rating.weight * 100.0).round() as i64))
            .collect::<Vec<_>>()
    };
    assert_eq!(weights(&one), weights(&other));
}

async fn somebody_who_withdraws_is_forgotten<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let who = somebody();
    shop.click(some_reports(&who)).await;
    // With a click, and as the user service tells it when a consent changes: without one.
    for (offset, clicks) in [(4, vec![(View, "C2")]), (6, Vec::new())] {
        assert_ne!(shop.store.person(&who).await.expect("an answer"), personalization::domain::Person::default());
        shop.click(vec![Report { consent: false, ..report(&who, offset, &clicks) }]).await;
        assert_eq!(shop.store.person(&who).await.expect("an answer"), personalization::domain::Person::default());
        shop.click(vec![report(&who, offset + 1, &[(View, "C1")])]).await;
    }
}

async fn an_older_revision_never_replaces_a_newer_one<S: Store>(shop: Shop<S>) {
    assert_eq!(shop.learn(&[product("C1", 5, "fashion/coats", "Aurel")]).await, 1);
    assert_eq!(shop.learn(&[product("C1", 4, "gadgets/drones", "Corvid")]).await, 0);
    assert_eq!(shop.learn(&[product("C1", 5, "fashion/coats", "Aurel")]).await, 0);
    let known = shop.learner.features.features(&[sku("C1"), sku("C9")]).await.expect("an answer");
    assert_eq!(known.len(), 1);
    assert_eq!(known[&sku("C1")].category, "fashion/coats");
    assert_eq!(shop.learn(&[product("C1", 6, "gadgets/drones", "Corvid")]).await, 1);
    let lists = [Shelf::NewestOf("fashion/coats".to_owned()), Shelf::NewestOf("gadgets/drones".to_owned())];
    let lists = shop.store.lists(&lists, 10, NOW).await.expect("an answer");
    assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(shop.learner.features.features(&[sku("C1")]).await.expect("an answer")[&sku("C1")].brand, "Corvid");
}

/// In no batch it has as much as any of the others; over three it has more.
async fn a_launch_wins_though_five_hundred_products_begin_above_it<S: Store>(shop: Shop<S>) {
    let names: Vec<String> = (0..500).map(|number| format!("S{number:03}")).collect();
    let all = names.iter().map(String::as_str).chain(["NEW"]);
    shop.learn(&all.map(|name| product(name, 1, "fashion/coats", "Aurel")).collect::<Vec<_>>()).await;
    // Sixteen for each.
    let bought: Vec<_> = names.iter().flat_map(|name| [(Buy, name.as_str()); 2]).collect();
    shop.click(vec![report(&somebody(), 1, &bought)]).await;
    for batch in 0..3 {
        let views = (0..8).map(|view| report(&somebody(), 2 + 8 * batch + view, &[(View, "NEW")]));
        shop.click(views.collect()).await;
    }
    for list in popularity(&shop).await {
        assert_eq!(list.first().map(|(name, _)| name.as_str()), Some("NEW"), "{list:?}");
    }
}

async fn a_new_partner_wins_though_a_page_of_others_begins_above_it<S: Store>(shop: Shop<S>) {
    let names: Vec<String> = (0..60).map(|number| format!("S{number:03}")).collect();
    let all = names.iter().map(String::as_str).chain(["C1", "NEW"]);
    shop.learn(&all.map(|name| product(name, 1, "fashion/coats", "Aurel")).collect::<Vec<_>>()).await;
    let twice = names.iter().chain(&names);
    let visits = twice.map(|name| report(&somebody(), 1, &[(View, name.as_str()), (View, "C1")]));
    shop.click(visits.collect()).await;
    for offset in 2..5 {
        shop.click(vec![report(&somebody(), offset, &[(View, "NEW"), (View, "C1")])]).await;
    }
    let shelf = Shelf::Together(PairKind::Viewed, sku("C1"));
    let lists = shop.store.lists(&[shelf], 10, NOW).await.expect("the store answers");
    assert_eq!(lists[0].first().map(|popular| popular.sku.as_str()), Some("NEW"), "{:?}", lists[0]);
}

async fn a_product_that_is_gone_is_shown_nowhere<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    shop.click(some_reports(&somebody())).await;
    shop.learn(&[ProductRevision { feature: None, ..product("C1", 2, "", "") }]).await;
    shop.refresh().await;
    for kind in [Kind::Trending, Kind::ForYou] {
        let shown = shop.ask(kind, None, None).await;
        assert!(shown.iter().all(|(name, _)| name != "C1"), "{shown:?}");
    }
}

async fn interests_choose_what_is_shown_and_leave_out_what_was_seen<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let (crowd, who) = (somebody(), somebody());
    shop.click(vec![report(&crowd, 1, &[(Buy, "D1"), (View, "C3"), (View, "C4")])]).await;
    shop.click(vec![report(&who, 2, &[(View, "C1"), (Buy, "C1")])]).await;
    shop.refresh().await;
    let shown = shop.ask(Kind::ForYou, Some(&who), None).await;
    // Coats before the more popular drone, the liked brand before the other, and the coat that was bought not at all.
    let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(&names[..2], ["C3", "C4"], "{shown:?}");
    assert_eq!(shown[0].1, "your-brand");
    assert!(names.contains(&"D1") && !names.contains(&"C1"), "{shown:?}");
}

async fn a_stranger_gets_what_is_trending_and_an_empty_shop_nothing<S: Store>(shop: Shop<S>) {
    shop.refresh().await;
    assert!(shop.ask(Kind::Trending, None, None).await.is_empty());
    shop.learn(&products()).await;
    shop.click(vec![report(&somebody(), 1, &[(Buy, "D2"), (View, "C4")])]).await;
    shop.refresh().await;
    let shown = shop.ask(Kind::ForYou, Some(&somebody()), None).await;
    assert_eq!(shown[..2], [("D2".to_owned(), "trending"), ("C4".to_owned(), "trending")]);
    assert!(shown[2..].iter().all(|(_, reason)| *reason == "new") && shown.len() == 6, "{shown:?}");
}

async fn products_seen_in_one_visit_are_shown_together<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    shop.click(vec![report(&somebody(), 1, &[(View, "C1")]), report(&somebody(), 2, &[(View, "C2")])]).await;
    let who = somebody();
    shop.click(vec![report(&who, 3, &[(View, "C1")]), report(&who, 4, &[(View, "D1")])]).await;
    let shown = shop.ask(Kind::AlsoViewed, None, Some("C1")).await;
    assert_eq!(shown[0], ("D1".to_owned(), "viewed-together"), "{shown:?}");
    assert!(shown[1..].iter().all(|(name, reason)| name.starts_with('C') && reason.starts_with("same-")));
    let back = shop.ask(Kind::AlsoViewed, None, Some("D1")).await;
    assert_eq!(back[0], ("C1".to_owned(), "viewed-together"));
    assert!(shop.ask(Kind::AlsoBought, None, Some("D1")).await.iter().all(|(_, reason)| reason.starts_with("same-")));
}

async fn similar_products_share_the_shelf_and_the_brand_comes_first<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let shown = shop.ask(Kind::Similar, None, Some("C1")).await;
    assert_eq!(shown[0], ("C3".to_owned(), "same-brand"));
    assert_eq!(shown.len(), 3);
    assert!(shop.ask(Kind::Similar, None, Some("UNKNOWN")).await.is_empty());
}

async fn continuing_shows_what_was_seen_and_not_bought<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let who = somebody();
    shop.click(some_reports(&who)).await;
    let shown = shop.ask(Kind::Continue, Some(&who), None).await;
    assert_eq!(shown, [("D1".to_owned(), "recently-viewed"), ("C2".to_owned(), "recently-viewed")]);
    assert!(shop.ask(Kind::Continue, None, None).await.is_empty());
}

#[tokio::test]
async fn a_batch_costs_one_read_and_one_write() {
    let shop = support::memory();
    shop.learn(&products()).await;
    let before = shop.store.calls.load(std::sync::atomic::Ordering::Relaxed);
    let people: Vec<Report> =
        (0..500).map(|offset| report(&somebody(), offset, &[(View, "C1"), (Buy, "D1")])).collect();
    shop.click(people).await;
    assert_eq!(shop.store.calls.load(std::sync::atomic::Ordering::Relaxed) - before, 2);
}

/// A key of another type under one of our names costs that list and nothing else.
#[tokio::test]
async fn keys_of_another_type_do_not_stop_a_batch() {
    let url = testkit::servers().redis_url;
    let prefix = format!("t{}:", common::ids::random().simple());
    let store = personalization::outbound::redis::RedisStore::connect(&url, &prefix).expect("a well-formed URL");
    let shop = Shop::on(store);
    shop.learn(&products()).await;
    let client = redis::Client::open(url).expect("a well-formed URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test stack runs");
    let who = somebody();
    let (era, _) = personalization::domain::popularity::era_and_weight(
        NOW,
        personalization::domain::popularity::TRENDING_HALF_LIFE_MS,
    );
    for (command, key) in [
        ("SADD", format!("{prefix}{}", contracts::interest::profile_key(who.as_str()))),
        ("SADD", format!("{prefix}popular:{era}:all")),
        ("SADD", format!("{prefix}feature:C9")),
    ] {
        redis::cmd(command).arg(key).arg("nonsense").exec_async(&mut connection).await.expect("redis answers");
    }
    shop.click(vec![report(&who, 1, &[(View, "C1"), (View, "C9")])]).await;
    assert!(shop.store.person(&who).await.expect("an answer").profile.is_some());
    let list = shop.store.lists(&[Shelf::Category("fashion/coats".to_owned())], 10, NOW).await.expect("an answer");
    assert_eq!(list[0].len(), 1);
}

/// As one does that was started again, or a copy that has taken over.
#[tokio::test]
async fn a_server_that_has_forgotten_our_scripts_is_told_them_again() {
    let client = redis::Client::open(testkit::servers().redis_url).expect("a well-formed URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test stack runs");
    let who = somebody();
    let mut left = Vec::new();
    for forgets in [false, true] {
        let shop = support::redis();
        shop.learn(&products()).await;
        for offset in 1..=3 {
            if forgets {
                redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.expect("redis answers");
            }
            shop.click(vec![report(&who, offset, &[(View, "C1"), (View, "D1")])]).await;
        }
        let person = shop.store.person(&who).await.expect("the store answers");
        assert!(person.profile.is_some(), "what was clicked is counted");
        left.push((person, popularity(&shop).await));
    }
    assert_eq!(left[0], left[1]);
}

#[test]
fn an_empty_batch_is_empty() {
    assert!(Batch::gather([]).is_empty());
}
