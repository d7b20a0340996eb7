//! The intake of clicks: who is believed, what is kept, what is refused, what is counted.

use common::{Explain as _, UserId, VisitorId, ids};
use contracts::interest::pseudonym;
use user::domain::click::{MOST_EVENTS, MOST_SAMPLES};
use user::domain::{ClickForm, Event};
use user::metrics;
use user::usecases::ports::ClickBatch;
use user::usecases::{ClickReport, Reporter, Signals, UserError, report_clicks};

use crate::support::{PSEUDONYM_KEY, SOURCE, World};

fn form(event_id: &str) -> ClickForm<'static> {
    ClickForm {
        event_id: event_id.to_owned().into(),
        kind: "view".into(),
        sku: Some("FA-1".into()),
        ..ClickForm::default()
    }
}

fn event(form: Result<ClickForm<'static>, &'static str>) -> Event<'static> {
    Event { form, sent: b"{\"as\":\"it was sent\"}" }
}

fn view(event_id: &str) -> Event<'static> {
    event(Ok(form(event_id)))
}

fn person(personalisation_consent: bool) -> Reporter {
    Reporter::Person { user: UserId::from_uuid(uuid::Uuid::from_u128(7)), personalisation_consent }
}

fn report(reporter: Reporter, events: Vec<Event<'static>>) -> ClickReport<'static> {
    ClickReport { reporter, signals: Signals::default(), events }
}

#[tokio::test]
async fn good_clicks_are_kept_under_a_pseudonym_and_bad_ones_refused_by_place() {
    let world = World::new();
    let events = vec![
        view("e1"),
        event(Err("unknown-field")),
        event(Ok(ClickForm { kind: "teleport".into(), ..form("e2") })),
        view("e3"),
    ];
    let reported = report_clicks(&world.app, report(person(true), events), SOURCE).await.expect("an answer");
    assert_eq!(reported.accepted, 2);
    assert_eq!(
        reported.refused.iter().map(|click| (click.index, click.code)).collect::<Vec<_>>(),
        [(1, "unknown-field"), (2, "invalid-field")]
    );
    let [batch] = world.clicks.batches().try_into().expect("one record per request");
    assert_eq!(batch.pseudonym, pseudonym(PSEUDONYM_KEY, common::UserId::from_uuid(uuid::Uuid::from_u128(7))));
    assert_eq!(batch.received_at, world.now());
    assert_eq!(batch.refused, reported.refused);
    assert!(batch.refused.iter().all(|refused| refused.sample == "{\"as\":\"it was sent\"}"));
    assert_eq!(batch.clicks.iter().map(|click| &*click.event_id).collect::<Vec<_>>(), ["e1", "e3"]);
}

#[tokio::test]
async fn an_empty_batch_sends_nothing_and_a_wholly_refused_one_its_reasons() {
    let world = World::new();
    let nothing = report_clicks(&world.app, report(person(true), Vec::new()), SOURCE).await.expect("an answer");
    assert_eq!((nothing.accepted, world.clicks.batches().len()), (0, 0));
    let wrong = (0..30).map(|_| event(Err("invalid-field"))).collect();
    let reported = report_clicks(&world.app, report(person(true), wrong), SOURCE).await.expect("an answer");
    assert_eq!((reported.accepted, reported.refused.len()), (0, 30));
    let [batch] = world.clicks.batches().try_into().expect("one batch");
    assert!(batch.clicks.is_empty());
    let samples = batch.refused.iter().filter(|refused| !refused.sample.is_empty()).count();
    assert_eq!((batch.refused.len(), samples), (30, MOST_SAMPLES), "each with its reason, the first with a sample");
}

#[tokio::test]
async fn a_program_is_answered_alike_and_marked() {
    let world = World::new();
    let visitor = Reporter::Visitor(Some(VisitorId::from_uuid(ids::random())));
    let bot = Signals { bot: true, ..Signals::default() };
    // Crawlers have no accounts, and people may write scripts.
    for (reporter, signals) in [(visitor, bot), (visitor, Signals::default()), (person(true), bot)] {
        let report = ClickReport { signals, ..report(reporter, vec![view("e1")]) };
        assert_eq!(report_clicks(&world.app, report, SOURCE).await.expect("an answer").accepted, 1);
    }
    assert_eq!(world.clicks.batches().iter().map(|batch| batch.bot).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test]
async fn clocks_that_are_wrong_are_counted_and_their_clicks_kept_within_the_window() {
    let world = World::new();
    let counted = |told: &str| metrics::CLICKS_WITH_A_WRONG_CLOCK.with_label_values(&[told]).get();
    let before = (counted("future"), counted("stale"));
    let events = vec![event(Ok(ClickForm { at: Some("1970-01-01T00:00:00Z".into()), ..form("old") }))];
    let future = (world.now() + chrono::Duration::days(300)).to_rfc3339();
    let events = events
        .into_iter()
        .chain([event(Ok(ClickForm { at: Some(future.into()), ..form("new") })), view("now")])
        .collect();
    assert_eq!(report_clicks(&world.app, report(person(true), events), SOURCE).await.expect("an answer").accepted, 3);
    assert_eq!((counted("future") - before.0, counted("stale") - before.1), (1, 1));
    let batch = &world.clicks.batches()[0];
    let day = chrono::Duration::days(1);
    assert_eq!(batch.clicks.iter().map(|click| world.now() - click.at).max(), Some(day));
    assert!(batch.clicks.iter().all(|click| click.at <= batch.received_at));
}

#[tokio::test]
async fn a_repeated_event_is_accepted_and_sent_once() {
    let world = World::new();
    let reported =
        report_clicks(&world.app, report(person(true), vec![view("e1"), view("e1")]), SOURCE).await.expect("an answer");
    assert_eq!((reported.accepted, world.clicks.batches()[0].clicks.len()), (2, 1));
}

#[tokio::test]
async fn who_does_not_want_to_be_watched_is_answered_and_not_kept() {
    let world = World::new();
    let id = VisitorId::from_uuid(ids::random());
    let visitor = Reporter::Visitor(Some(id));
    let dnt = Signals { do_not_track: true, ..Signals::default() };
    let gpc = Signals { global_privacy_control: true, ..Signals::default() };
    let no = Signals { refuses: true, ..Signals::default() };
    let agreed_elsewhere = [(person(false), Signals::default()), (person(true), gpc), (person(true), no)];
    let visits = [(visitor, dnt), (visitor, gpc), (visitor, no)];
    for (reporter, signals) in agreed_elsewhere.into_iter().chain(visits) {
        let report = ClickReport { signals, ..report(reporter, vec![view("e1"), event(Err("unknown-field"))]) };
        assert_eq!(report_clicks(&world.app, report, SOURCE).await.expect("an answer").accepted, 1);
    }
    // Of a visitor only that they object: whoever kept something of them forgets it. An account says so for itself.
    let refusal = ClickBatch::refusal(pseudonym(PSEUDONYM_KEY, id), world.now());
    assert_eq!(world.clicks.batches(), vec![refusal; visits.len()]);
    report_clicks(&world.app, report(visitor, vec![view("e1")]), SOURCE).await.expect("an answer");
    assert_eq!(world.clicks.batches().len(), visits.len() + 1);
}

#[tokio::test]
async fn an_objection_needs_no_click_costs_one_record_and_is_not_lost() {
    let world = World::new();
    let visitor = Reporter::Visitor(Some(VisitorId::from_uuid(ids::random())));
    let gpc = Signals { global_privacy_control: true, ..Signals::default() };
    let objects = |events| ClickReport { signals: gpc, ..report(visitor, events) };
    report_clicks(&world.app, objects(Vec::new()), SOURCE).await.expect("an answer");
    assert_eq!(world.clicks.batches().len(), 1, "without a click");
    let many = (0..MOST_EVENTS).map(|n| view(&format!("e{n}"))).collect();
    report_clicks(&world.app, objects(many), SOURCE).await.expect("an answer");
    assert_eq!(world.clicks.batches().len(), 2, "one, however many events");
    world.clicks.refuse();
    let refused = report_clicks(&world.app, objects(vec![view("e1")]), SOURCE).await.expect_err("a refusal");
    assert_eq!((refused.kind().status(), refused.code()), (503, "overloaded"));
    world.limits.refuse();
    let refused = report_clicks(&world.app, objects(vec![view("e1")]), SOURCE).await;
    assert!(matches!(refused, Err(UserError::TooMany { .. })), "and never more than the limits let through");
}

#[tokio::test]
async fn a_browser_without_login_gives_its_id() {
    let world = World::new();
    let refused = report_clicks(&world.app, report(Reporter::Visitor(None), vec![view("e1")]), SOURCE)
        .await
        .expect_err("a refusal");
    assert_eq!((refused.code(), refused.fields()[0].pointer.as_str()), ("invalid-field", "/visitor_id"));
}

#[tokio::test]
async fn too_many_events_or_requests_are_refused_whole() {
    let world = World::new();
    let at_the_limit = (0..MOST_EVENTS).map(|n| view(&format!("e{n}"))).collect();
    assert_eq!(
        report_clicks(&world.app, report(person(true), at_the_limit), SOURCE).await.expect("an answer").accepted,
        MOST_EVENTS
    );
    let above = (0..=MOST_EVENTS).map(|n| view(&format!("e{n}"))).collect();
    let refused = report_clicks(&world.app, report(person(true), above), SOURCE).await.expect_err("a refusal");
    assert_eq!((refused.kind().status(), refused.code()), (413, "body-too-large"));
    world.limits.refuse();
    let refused = report_clicks(&world.app, report(person(true), vec![view("e1")]), SOURCE).await;
    assert!(matches!(refused, Err(UserError::TooMany { .. })));
    assert_eq!(world.clicks.batches().len(), 1);
}

#[tokio::test]
async fn clicks_that_the_broker_does_not_take_are_not_called_accepted() {
    let world = World::new();
    world.clicks.refuse();
    let refused =
        report_clicks(&world.app, report(person(true), vec![view("e1")]), SOURCE).await.expect_err("a refusal");
    assert_eq!((refused.kind().status(), refused.code()), (503, "overloaded"));
    assert!(refused.retry_after().is_some());
}
