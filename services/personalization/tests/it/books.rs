//! Up to where a partition is counted, on each store: no hole before a batch, nothing from whoever was overtaken, and after a loss
//! everything that is counted again is counted once.

use personalization::domain::ClickKind::{Buy, View};
use personalization::domain::recommend::Popular;
use personalization::domain::{Batch, Person, Position, Pseudonym, Report, Span, VisitStep};
use personalization::outbound::redis::RedisStore;
use personalization::usecases::fold_clicks::COUNTED_AGAIN_MS;
use personalization::usecases::ports::{Saved, Shelf, Store};
use personalization::usecases::{Earlier, Folded, NotFolded, fold_clicks};

use crate::support::{Empty, GONE, NOW, Shop, both, products, report, somebody};

both! {
    a_batch_that_does_not_join_is_refused,
    without_a_mark_only_the_first_record_joins_unless_nothing_earlier_is_there,
    a_former_owners_save_is_refused_and_nothing_of_it_is_stored,
    what_was_decided_before_a_loss_is_not_written_after_it,
    after_a_loss_of_redis_the_clicks_of_the_last_hour_are_counted_again_exactly_once,
    after_a_loss_of_the_latest_writes_exactly_these_are_counted_again,
    who_withdrew_before_a_loss_is_not_counted_by_a_click_that_was_on_a_disk_meanwhile,
}

const MINUTE_MS: i64 = 60_000;

/// Records read and counted together.
pub const TOGETHER: usize = 4;

pub async fn fold<S: Store>(shop: &Shop<S>, reports: &[Report], earlier: Earlier) -> Result<Folded, NotFolded> {
    fold_clicks(&shop.learner, 0, &Batch::gather(reports.to_vec()), earlier, |_| ()).await
}

/// Up to where the partition is counted, if the error says that it does not reach up to the batch.
fn hole(outcome: Result<Folded, NotFolded>) -> Option<Position> {
    match outcome {
        Err(NotFolded::Hole { counted }) => counted,
        other => panic!("no hole: {other:?}"),
    }
}

/// Everything that clicks leave behind, of these people and of the shop.
#[derive(Debug, PartialEq)]
pub struct Left {
    pub people: Vec<Person>,
    popular: Vec<Vec<(String, i64)>>,
    steps: Vec<VisitStep>,
}

pub async fn left<S: Store>(shop: &Shop<S>, people: &[&Pseudonym]) -> Left {
    let mut known = Vec::new();
    for who in people {
        known.push(shop.store.person(who).await.expect("an answer"));
    }
    let shelves = [Shelf::Everything, Shelf::Category("fashion/coats".to_owned())];
    let lists = shop.store.lists(&shelves, 10, NOW).await.expect("an answer");
    let rounded = |list: Vec<Popular>| -> Vec<(String, i64)> {
        list.into_iter().map(|popular| (popular.sku.to_string(), (popular.weight * 1e3).round() as i64)).collect()
    };
    let entries = shop.store.after("0-0", 1_000).await.expect("an answer");
    Left {
        people: known,
        popular: lists.into_iter().map(rounded).collect(),
        steps: entries.into_iter().flat_map(|entry| entry.steps).collect(),
    }
}

async fn a_batch_that_does_not_join_is_refused<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let who = somebody();
    let topic: Vec<Report> = (0..8).map(|offset| report(&who, offset, &[(View, "C1")])).collect();
    fold(&shop, &topic[..3], Earlier::Readable).await.expect("the first records");
    let before = left(&shop, &[&who]).await;
    let counted = hole(fold(&shop, &topic[4..], Earlier::Readable).await).expect("a mark");
    assert_eq!((counted.offset, counted.received_at_ms), (2, topic[2].position.received_at_ms));
    assert_eq!(left(&shop, &[&who]).await, before, "nothing of it is stored");
    // With the missing record before it, and with some that are counted already, it joins.
    assert_eq!(fold(&shop, &topic[1..4], Earlier::Readable).await.expect("it joins").repeated, 2);
    assert_eq!(fold(&shop, &topic[4..], Earlier::Readable).await.expect("it joins").repeated, 0);
}

async fn without_a_mark_only_the_first_record_joins_unless_nothing_earlier_is_there<S: Empty>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let who = somebody();
    let topic: Vec<Report> = (0..8).map(|offset| report(&who, offset, &[(View, "C1")])).collect();
    assert_eq!(hole(fold(&shop, &topic[5..], Earlier::Readable).await), None);
    fold(&shop, &topic[5..7], GONE).await.expect("whoever has asked for earlier ones goes on here");
    fold(&shop, &topic[7..], Earlier::Readable).await.expect("it joins what was counted so");
    // A new shop begins with the first record there is, which may be no report; nobody asks for anything.
    let new = Shop::on(shop.store.empty());
    let none = Batch::default().covering(Span { partition: 0, first: 0, last: 4 });
    fold_clicks(&new.learner, 0, &none, Earlier::Readable, |_| ()).await.expect("nothing came before");
    fold(&new, &topic[5..], Earlier::Readable).await.expect("it joins");
}

async fn a_former_owners_save_is_refused_and_nothing_of_it_is_stored<S: Empty>(shop: Shop<S>) {
    let (ada, bob) = (somebody(), somebody());
    let stopped =
        [report(&ada, 0, &[(View, "C1"), (View, "C2")]), Report { consent: false, ..report(&bob, 1, &[(View, "D1")]) }];
    let further =
        [report(&ada, 2, &[(Buy, "C1"), (View, "D1"), (View, "C3")]), report(&bob, 3, &[(View, "C4"), (View, "D2")])];
    let newest = stopped[1].position.received_at_ms;
    let batch = Batch::gather(stopped.to_vec());
    // With nobody in between the same outcome is written, so it is the other owner that makes the difference below.
    let alone = Shop::on(shop.store.empty());
    alone.learn(&products()).await;
    let outcome = batch.decide(&alone.store.stored(0, &batch).await.expect("an answer"));
    assert_eq!(alone.store.save(0, &outcome, newest).await.expect("an answer"), Saved::Written);
    assert!(!left(&alone, &[&ada]).await.popular[0].is_empty());

    shop.learn(&products()).await;
    // The former owner has decided and stands still. The next one counts the same records, and more.
    let outcome = batch.decide(&shop.store.stored(0, &batch).await.expect("an answer"));
    fold(&shop, &[&stopped[..], &further[..]].concat(), Earlier::Readable).await.expect("it joins");
    let before = left(&shop, &[&ada, &bob]).await;
    assert_eq!(shop.store.save(0, &outcome, newest).await.expect("an answer"), Saved::Overtaken);
    assert_eq!(left(&shop, &[&ada, &bob]).await, before);
    // When it looks again it finds that all of it is counted.
    let again = fold(&shop, &stopped, Earlier::Readable).await.expect("it joins");
    assert_eq!((again.repeated, again.products), (2, 0));
    assert_eq!(left(&shop, &[&ada, &bob]).await, before);
    // Another partition is another matter.
    let mut elsewhere = report(&somebody(), 0, &[(View, "C2")]);
    elsewhere.position.partition = 1;
    let batch = Batch::gather([elsewhere]);
    let outcome = batch.decide(&shop.store.stored(1, &batch).await.expect("an answer"));
    assert_eq!(shop.store.save(1, &outcome, newest).await.expect("an answer"), Saved::Written);
}

async fn what_was_decided_before_a_loss_is_not_written_after_it<S: Empty>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let who = somebody();
    fold(&shop, &[report(&who, 0, &[(View, "C1")])], Earlier::Readable).await.expect("the first record");
    let next = [report(&who, 1, &[(View, "C2")])];
    let batch = Batch::gather(next.clone());
    let outcome = batch.decide(&shop.store.stored(0, &batch).await.expect("an answer"));
    let emptied = Shop::on(shop.store.empty());
    assert_eq!(emptied.store.save(0, &outcome, NOW).await.expect("an answer"), Saved::Overtaken);
    assert_eq!(emptied.store.person(&who).await.expect("an answer"), Person::default());
    assert_eq!(hole(fold(&emptied, &next, Earlier::Readable).await), None);
}

/// A hundred minutes, a click a minute, of two people in turn. The last was received now.
pub fn a_hundred_minutes(one: &Pseudonym, other: &Pseudonym) -> Vec<Report> {
    let names = ["C1", "C2", "D1", "C3", "C4"];
    let at = |offset: i64| {
        let who = if offset % 2 == 0 { one } else { other };
        let name = names[usize::try_from(offset).expect("a small number") % names.len()];
        let mut report = report(who, offset, &[(View, name)]);
        let at_ms = NOW - (99 - offset) * MINUTE_MS;
        report.position.received_at_ms = at_ms;
        report.clicks.iter_mut().for_each(|click| click.at_ms = at_ms);
        report
    };
    (0..100).map(at).collect()
}

/// Reads a topic from `at` on, as the consumer does: batch by batch, further back when it is asked to, and to the end. Tells how often it
/// went back.
pub async fn read<S: Store>(shop: &Shop<S>, topic: &[Report], mut at: usize) -> usize {
    let (mut earlier, mut moves) = (Earlier::Readable, 0);
    while at < topic.len() {
        let end = (at + TOGETHER).min(topic.len());
        match fold(shop, &topic[at..end], earlier).await {
            Ok(_) => (at, earlier) = (end, Earlier::Readable),
            Err(NotFolded::Hole { counted }) => {
                let is_late = |report: &Report| report.position.received_at_ms >= NOW - COUNTED_AGAIN_MS;
                let wanted = match counted {
                    Some(counted) => usize::try_from(counted.offset + 1).expect("an offset"),
                    None => topic.iter().position(is_late).unwrap_or(topic.len()),
                };
                if wanted < at {
                    (at, moves) = (wanted, moves + 1);
                } else {
                    earlier = Earlier::Gone { since_ms: NOW - COUNTED_AGAIN_MS };
                }
            }
            Err(error) => panic!("{error:?}"),
        }
        assert!(moves < 3, "it goes back again and again");
    }
    moves
}

async fn after_a_loss_of_redis_the_clicks_of_the_last_hour_are_counted_again_exactly_once<S: Empty>(shop: Shop<S>) {
    let (ada, bob) = (somebody(), somebody());
    let topic = a_hundred_minutes(&ada, &bob);
    // The shop that has lost everything; its group has committed that ninety records are done.
    shop.learn(&products()).await;
    assert_eq!(read(&shop, &topic, 90).await, 1);
    let found = left(&shop, &[&ada, &bob]).await;
    // One that was opened an hour ago.
    let hour = Shop::on(shop.store.empty());
    hour.learn(&products()).await;
    let since = 99 - 60;
    for batch in topic[since..].chunks(TOGETHER) {
        fold(&hour, batch, GONE).await.expect("the store answers");
    }
    let expected = left(&hour, &[&ada, &bob]).await;
    assert_eq!(found, expected);
    assert_eq!(found.steps.len(), 61, "a click a minute, with both ends of the hour");
    // And whatever is delivered once more changes nothing.
    for again in [90, 40, since] {
        assert_eq!(read(&shop, &topic, again).await, 0);
        assert_eq!(left(&shop, &[&ada, &bob]).await, expected);
    }
}

async fn after_a_loss_of_the_latest_writes_exactly_these_are_counted_again<S: Empty>(shop: Shop<S>) {
    let (ada, bob) = (somebody(), somebody());
    let topic = a_hundred_minutes(&ada, &bob);
    // An older copy of the store took over: it has counted fifty-two records of the ninety that are done, profiles and mark alike.
    shop.learn(&products()).await;
    assert_eq!(read(&shop, &topic[..52], 0).await, 0);
    assert_eq!(read(&shop, &topic, 90).await, 1);
    let whole = Shop::on(shop.store.empty());
    whole.learn(&products()).await;
    assert_eq!(read(&whole, &topic, 0).await, 0);
    let expected = left(&whole, &[&ada, &bob]).await;
    assert_eq!(left(&shop, &[&ada, &bob]).await, expected);
    assert_eq!(expected.steps.len(), 100);
}

async fn who_withdrew_before_a_loss_is_not_counted_by_a_click_that_was_on_a_disk_meanwhile<S: Empty>(shop: Shop<S>) {
    let received = |report: Report, minutes_ago: i64| {
        let position = Position { received_at_ms: NOW - minutes_ago * MINUTE_MS, ..report.position };
        Report { position, ..report }
    };
    let (ada, bob) = (somebody(), somebody());
    // Two hours ago Ada clicked, which the intake wrote to its disk; a little later she withdrew, which was counted.
    let withdrawal = received(Report { consent: false, ..report(&ada, 0, &[]) }, 110);
    let click = received(report(&ada, 200, &[(View, "C1")]), 120);
    let whole = Shop::on(shop.store.empty());
    whole.learn(&products()).await;
    fold(&whole, &[withdrawal], Earlier::Readable).await.expect("the first record");
    fold(&whole, std::slice::from_ref(&click), GONE).await.expect("the store answers");
    assert_eq!(whole.store.person(&ada).await.expect("an answer"), Person::default(), "nothing was lost");
    // The store that has lost everything, that she withdrew with it; the withdrawal is written longer than an hour ago.
    shop.learn(&products()).await;
    let since = Earlier::Gone { since_ms: NOW - COUNTED_AGAIN_MS };
    fold(&shop, &[received(report(&bob, 198, &[(View, "C2")]), 60)], since).await.expect("the first of the hour");
    fold(&shop, &[received(report(&bob, 199, &[(View, "C3")]), 1)], Earlier::Readable).await.expect("it joins");
    fold(&shop, &[click], Earlier::Readable).await.expect("it joins");
    assert_eq!(shop.store.person(&ada).await.expect("an answer"), Person::default());
    assert_eq!(shop.store.person(&bob).await.expect("an answer").recent.len(), 2, "others are counted");
    // It may as well come in the first batch. And what she agrees to later counts.
    let emptied = Shop::on(shop.store.empty());
    emptied.learn(&products()).await;
    let first = [received(report(&ada, 200, &[(View, "C1")]), 61), received(report(&bob, 201, &[(View, "C2")]), 60)];
    fold(&emptied, &first, since).await.expect("the first of the hour");
    assert_eq!(emptied.store.person(&ada).await.expect("an answer"), Person::default());
    fold(&emptied, &[received(report(&ada, 202, &[(View, "C4")]), 5)], Earlier::Readable).await.expect("it joins");
    assert_eq!(emptied.store.person(&ada).await.expect("an answer").recent.len(), 1);
}

/// What stands where the mark should be, and is none, must not keep a partition from being counted for ever.
#[tokio::test]
async fn a_mark_that_cannot_be_read_is_none() {
    let url = testkit::servers().redis_url;
    let prefix = format!("t{}:", common::ids::random().simple());
    let shop = Shop::on(RedisStore::connect(&url, &prefix).expect("a well-formed URL"));
    let client = redis::Client::open(url).expect("a well-formed URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test stack runs");
    let (who, mark) = (somebody(), format!("{prefix}clicks-counted:0"));
    for (offset, command, nonsense) in [(5, "SET", "nonsense"), (6, "SET", "007;5"), (7, "SADD", "another type")] {
        redis::cmd("DEL").arg(&mark).exec_async(&mut connection).await.expect("redis answers");
        redis::cmd(command).arg(&mark).arg(nonsense).exec_async(&mut connection).await.expect("redis answers");
        let reports = [report(&who, offset, &[(View, "C1")])];
        assert_eq!(hole(fold(&shop, &reports, Earlier::Readable).await), None, "{nonsense}");
        fold(&shop, &reports, GONE).await.expect("it is counted");
        let text: String = redis::cmd("GET").arg(&mark).query_async(&mut connection).await.expect("a mark");
        assert_eq!(text, format!("{offset};{}", reports[0].position.received_at_ms));
    }
}
