//! Stories of `Database::commit_many`: one commit for many, and each member answered as if it had been alone.

use std::sync::Arc;
use std::time::Duration;

use common::MessageId;
use messaging::{Cause, Change, CommitError, Committed, Database, Member, Outgoing, Written};
use sqlx::Row as _;
use testkit::TestDatabase;
use testkit::crash::survives_every_crash;

use crate::world::{Refused, answer, database, event, mark, request};

type Outcome = Result<Committed, CommitError<Refused>>;

/// A change that writes one mark.
#[derive(Clone)]
struct Marked {
    name: &'static str,
    member: Member,
}

fn marked(name: &'static str, cause: Cause, events: Vec<Outgoing>) -> Marked {
    let answer = Some(answer(name));
    Marked { name, member: Member { change: Change { cause, events, answer }, traceparent: None, kind: None } }
}

fn asked(name: &'static str, key: &str) -> Marked {
    marked(name, Cause::Request(request(key, 1)), vec![event(name, 1)])
}

fn told(name: &'static str) -> Marked {
    let id = MessageId::derive(name, 1, "order.created");
    marked(name, Cause::Message { consumer: "c", id }, vec![event(name, 1)])
}

/// Writes the marks of all fresh members with one statement. Refuses names that begin with `refused`; lets the database
/// refuse those that begin with `foreign`.
async fn commit(database: &Database, changes: &[Marked]) -> Vec<Outcome> {
    let names: Arc<[&'static str]> = changes.iter().map(|change| change.name).collect();
    let members = changes.iter().map(|change| change.member.clone()).collect();
    database
        .commit_many(members, move |tx, fresh| {
            let names = Arc::clone(&names);
            Box::pin(async move {
                let (refused, kept): (Vec<usize>, Vec<usize>) =
                    fresh.iter().partition(|member| names[**member].starts_with("refused"));
                let foreign: Vec<&str> =
                    kept.iter().map(|member| names[*member]).filter(|name| name.starts_with("foreign")).collect();
                sqlx::query("INSERT INTO people (name, residency_region) SELECT name, 'nowhere' FROM UNNEST($1::text[]) AS new (name)")
                    .bind(foreign)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("INSERT INTO marks (name, seen) SELECT name, 1 FROM UNNEST($1::text[]) AS new (name)")
                    .bind(kept.iter().map(|member| names[*member]).collect::<Vec<_>>())
                    .execute(tx)
                    .await?;
                let refused = refused.into_iter().map(|member| (member, Refused)).collect();
                Ok(Written { refused, ..Written::default() })
            })
        })
        .await
}

async fn marks(db: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM marks ORDER BY name").fetch_all(&db.owner).await.unwrap()
}

async fn keys_in_outbox(db: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar("SELECT key FROM outbox ORDER BY seq").fetch_all(&db.owner).await.unwrap()
}

fn applied(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(Committed::Applied))
}

#[tokio::test]
async fn many_changes_of_all_kinds_share_one_commit() {
    let db = database().await;
    let duty = marked("duty", Cause::Duty("test"), vec![]);
    let outcomes = commit(
        &db.database,
        &[told("z"), asked("b", "key-bbbbbbbbbbbbbbbb"), duty, told("a"), asked("a2", "key-aaaaaaaaaaaaaaaa")],
    )
    .await;
    assert!(outcomes.len() == 5 && outcomes.iter().all(applied), "{outcomes:?}");
    assert_eq!((db.count("marks").await, db.count("requests").await, db.count("inbox").await), (5, 2, 2));
    assert_eq!(keys_in_outbox(&db).await, ["z", "b", "a", "a2"], "events stand in the order of their members");
    let commits: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT xid) FROM (SELECT xmin::text FROM marks UNION SELECT xmin::text FROM outbox
                                          UNION SELECT xmin::text FROM requests UNION SELECT xmin::text FROM inbox) AS row (xid)",
    )
    .fetch_one(&db.owner)
    .await
    .unwrap();
    assert_eq!(commits, 1);
}

#[tokio::test]
async fn a_batch_of_nothing_does_nothing() {
    let db = database().await;
    assert!(commit(&db.database, &[]).await.is_empty());
}

#[tokio::test]
async fn more_than_fit_into_one_transaction_are_all_answered() {
    let db = database().await;
    let many: Vec<Marked> = (0..messaging::commit_many::MOST_MEMBERS + 7)
        .map(|n| {
            let id = MessageId::derive(&n.to_string(), 1, "order.created");
            marked("m", Cause::Message { consumer: "c", id }, vec![])
        })
        .collect();
    let outcomes = commit(&db.database, &many).await;
    assert!(outcomes.len() == many.len() && outcomes.iter().all(applied));
    assert_eq!(db.count("marks").await, i64::try_from(many.len()).unwrap());
}

#[tokio::test]
async fn a_repeated_member_gets_its_first_answer_and_the_fresh_ones_are_applied() {
    let db = database().await;
    let first = Cause::Request(request("key-0123456789abcdef", 1));
    mark(&db.database, first, "first", vec![event("first", 1)], Some(answer("first"))).await.unwrap();
    let id = MessageId::derive("old", 1, "order.created");
    mark(&db.database, Cause::Message { consumer: "c", id }, "old", vec![], None).await.unwrap();

    let reused = marked("reused", Cause::Request(request("key-0123456789abcdef", 2)), vec![]);
    let batch =
        [asked("again", "key-0123456789abcdef"), told("new"), told("old"), asked("other", "key-oooooooooooooooo")];
    let outcomes = commit(&db.database, &batch).await;
    assert_eq!(outcomes[0].as_ref().ok(), Some(&Committed::Repeated(Some(answer("first")))));
    assert!(applied(&outcomes[1]) && applied(&outcomes[3]), "{outcomes:?}");
    assert_eq!(outcomes[2].as_ref().ok(), Some(&Committed::Repeated(None)));
    let outcomes = commit(&db.database, &[reused]).await;
    assert!(matches!(outcomes[..], [Err(CommitError::KeyReused)]), "{outcomes:?}");
    assert_eq!(marks(&db).await, ["first", "new", "old", "other"]);
    assert_eq!(keys_in_outbox(&db).await, ["first", "new", "other"]);
}

#[tokio::test]
async fn of_twins_in_one_batch_the_first_has_the_effect() {
    let db = database().await;
    let reused = marked("reused", Cause::Request(request("key-0123456789abcdef", 2)), vec![]);
    let batch =
        [asked("one", "key-0123456789abcdef"), told("m"), asked("two", "key-0123456789abcdef"), told("m"), reused];
    let outcomes = commit(&db.database, &batch).await;
    assert!(applied(&outcomes[0]) && applied(&outcomes[1]), "{outcomes:?}");
    assert_eq!(outcomes[2].as_ref().ok(), Some(&Committed::Repeated(Some(answer("one")))));
    assert_eq!(outcomes[3].as_ref().ok(), Some(&Committed::Repeated(None)));
    assert!(matches!(outcomes[4], Err(CommitError::KeyReused)), "{outcomes:?}");
    assert_eq!(marks(&db).await, ["m", "one"]);
}

#[tokio::test]
async fn a_twin_of_a_refused_member_is_tried_for_itself() {
    let db = database().await;
    let batch = [asked("refused", "key-0123456789abcdef"), asked("second", "key-0123456789abcdef")];
    let outcomes = commit(&db.database, &batch).await;
    assert!(matches!(outcomes[..], [Err(CommitError::Refused(Refused)), Ok(Committed::Applied)]), "{outcomes:?}");
    assert_eq!(marks(&db).await, ["second"]);
}

#[tokio::test]
async fn a_refused_member_leaves_no_trace_and_its_neighbours_stay() {
    let db = database().await;
    let batch =
        [told("a"), asked("refused", "key-0123456789abcdef"), told("refused too"), asked("b", "key-bbbbbbbbbbbbbbbb")];
    let outcomes = commit(&db.database, &batch).await;
    assert!(applied(&outcomes[0]) && applied(&outcomes[3]), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(CommitError::Refused(Refused))), "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(CommitError::Refused(Refused))), "{outcomes:?}");
    assert_eq!(marks(&db).await, ["a", "b"]);
    assert_eq!(keys_in_outbox(&db).await, ["a", "b"]);
    assert_eq!((db.count("requests").await, db.count("inbox").await), (1, 1));
    // The key is free for another request.
    let outcomes = commit(&db.database, &[asked("later", "key-0123456789abcdef")]).await;
    assert!(applied(&outcomes[0]), "{outcomes:?}");
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_changes_nothing() {
    let db = database().await;
    let outcomes = commit(&db.database, &[told("refused"), told("refused too")]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(CommitError::Refused(Refused)))), "{outcomes:?}");
    for table in ["marks", "outbox", "inbox"] {
        assert_eq!(db.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn what_belongs_to_no_member_stays_though_all_of_them_are_refused() {
    let db = database().await;
    let batch = [told("refused"), asked("refused too", "key-0123456789abcdef")];
    let members = batch.iter().map(|change| change.member.clone()).collect();
    let outcomes: Vec<Outcome> = db
        .database
        .commit_many(members, |tx, fresh| {
            Box::pin(async move {
                sqlx::query("INSERT INTO marks (name, seen) VALUES ('heard', 1)").execute(tx).await?;
                let refused = fresh.iter().map(|member| (*member, Refused)).collect();
                Ok(Written { refused, stays: true, ..Written::default() })
            })
        })
        .await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(CommitError::Refused(Refused)))), "{outcomes:?}");
    assert_eq!(marks(&db).await, ["heard"]);
    for table in ["outbox", "inbox", "requests"] {
        assert_eq!(db.count(table).await, 0, "{table}");
    }
    // The key is free, and the message may come again.
    let outcomes = commit(&db.database, &[asked("later", "key-0123456789abcdef"), told("again")]).await;
    assert!(outcomes.iter().all(applied), "{outcomes:?}");
}

#[tokio::test]
async fn a_member_that_the_database_refuses_fails_alone() {
    let db = database().await;
    for bad in ["foreign", "undone"] {
        let batch = [told("a"), told(bad), asked("b", "key-bbbbbbbbbbbbbbbb")];
        let outcomes = commit(&db.database, &batch).await;
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
        assert!(matches!(outcomes[1], Err(CommitError::Database(_))), "{outcomes:?}");
    }
    assert_eq!(marks(&db).await, ["a", "b"]);
    assert_eq!((db.count("requests").await, db.count("inbox").await, db.count("outbox").await), (1, 1, 2));
}

#[tokio::test]
async fn a_member_whose_twin_is_under_way_elsewhere_waits_alone() {
    let db = database().await;
    let mut elsewhere = db.owner.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO requests (residency_region, subject, method, route, key, fingerprint, status, body)
                 VALUES ($1, $2, 'POST', '/v1/marks', 'key-0123456789abcdef', $3, 201, '')",
    )
    .bind(db.database.region().code())
    .bind(request("", 1).subject)
    .bind([1_u8; 32].as_slice())
    .execute(&mut *elsewhere)
    .await
    .unwrap();
    let batch = [asked("twin", "key-0123456789abcdef"), asked("free", "key-ffffffffffffffff")];
    let outcomes = commit(&db.database, &batch).await;
    assert!(matches!(outcomes[..], [Err(CommitError::InProgress), Ok(Committed::Applied)]), "{outcomes:?}");
    elsewhere.rollback().await.unwrap();
    let outcomes = commit(&db.database, &batch).await;
    assert!(matches!(outcomes[..], [Ok(Committed::Applied), Ok(Committed::Repeated(Some(_)))]), "{outcomes:?}");
}

#[tokio::test]
async fn no_member_of_an_old_reign_can_write() {
    let db = database().await;
    sqlx::query("UPDATE region_fence SET epoch = 2, holder = 'standby'").execute(&db.owner).await.unwrap();
    let outcomes = commit(&db.database, &[told("a"), asked("b", "key-bbbbbbbbbbbbbbbb")]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(CommitError::NotWritable))), "{outcomes:?}");
    for table in ["marks", "outbox", "requests", "inbox"] {
        assert_eq!(db.count(table).await, 0, "{table}");
    }
    db.database.epoch().advance(2);
    assert!(commit(&db.database, &[told("a")]).await.iter().all(applied));
}

#[tokio::test]
async fn events_known_late_follow_the_members_own_and_carry_its_trace() {
    let db = database().await;
    let trace = |n: u8| Some(format!("00-{n:032x}-{n:016x}-01"));
    let mut batch = [told("a"), told("b")];
    batch[0].member.traceparent = trace(1);
    batch[1].member.traceparent = trace(2);
    let outcomes: Vec<Outcome> = db
        .database
        .commit_many(batch.iter().map(|change| change.member.clone()).collect(), |_, fresh| {
            Box::pin(async move {
                let events = fresh.iter().map(|member| (*member, event(["a", "b"][*member], 2))).collect();
                Ok(Written { events, ..Written::default() })
            })
        })
        .await;
    assert!(outcomes.iter().all(applied), "{outcomes:?}");
    let rows =
        sqlx::query("SELECT key, version, traceparent FROM outbox ORDER BY seq").fetch_all(&db.owner).await.unwrap();
    let rows: Vec<(String, i64, Option<String>)> =
        rows.iter().map(|row| (row.get("key"), row.get("version"), row.get("traceparent"))).collect();
    let wanted = |key: &str, version, n| (key.to_owned(), version, trace(n));
    assert_eq!(rows, [wanted("a", 1, 1), wanted("a", 2, 1), wanted("b", 1, 2), wanted("b", 2, 2)]);
}

#[tokio::test]
async fn a_cut_commit_is_unknown_and_done_once_when_repeated() {
    let db = database().await;
    let batch = [told("cut"), asked("b", "key-bbbbbbbbbbbbbbbb")];
    let outcomes = commit(&db.database, &batch).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(CommitError::OutcomeUnknown))), "{outcomes:?}");
    assert_eq!(db.count("marks").await, 0);
    sqlx::query("ALTER TABLE marks DISABLE TRIGGER at_commit").execute(&db.owner).await.unwrap();
    assert!(commit(&db.database, &batch).await.iter().all(applied));
    assert_eq!(marks(&db).await, ["b", "cut"]);
}

#[tokio::test]
async fn a_warning_during_a_commit_makes_it_unknown_until_a_later_write_confirms_it() {
    let db = database().await;
    let confirmed = async || db.count("confirmations").await;
    assert!(commit(&db.database, &[told("calm")]).await.iter().all(applied));
    assert_eq!(confirmed().await, 0);
    // Each member is looked up by its own cause; a duty has none that could tell.
    let duty = marked("duty", Cause::Duty("test"), vec![]);
    let outcomes = commit(&db.database, &[told("warned"), duty, asked("b", "key-bbbbbbbbbbbbbbbb")]).await;
    assert!(
        matches!(outcomes[..], [Ok(Committed::Applied), Err(CommitError::OutcomeUnknown), Ok(Committed::Applied)]),
        "{outcomes:?}"
    );
    assert_eq!(confirmed().await, 1);
    // The same for a change by itself.
    let alone = mark(&db.database, Cause::Duty("test"), "warned", vec![], None).await;
    assert!(matches!(alone, Err(CommitError::OutcomeUnknown)), "{alone:?}");
    let id = MessageId::derive("alone", 1, "order.created");
    let alone = mark(&db.database, Cause::Message { consumer: "c", id }, "warned", vec![], None).await;
    assert!(matches!(alone, Ok(Committed::Applied)), "{alone:?}");
    assert_eq!(confirmed().await, 1, "one row, rewritten");
}

#[tokio::test]
async fn a_connection_whose_commit_was_warned_is_not_used_again() {
    let db = database().await;
    let backend_of = async |name: &'static str| -> i64 {
        let members = vec![told(name).member];
        let outcomes: Vec<Outcome> = db
            .database
            .commit_many(members, move |tx, _| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO marks (name, seen) VALUES ($1, pg_backend_pid())")
                        .bind(name)
                        .execute(tx)
                        .await?;
                    Ok(Written::default())
                })
            })
            .await;
        assert!(outcomes.iter().all(applied), "{outcomes:?}");
        sqlx::query_scalar("SELECT seen FROM marks WHERE name = $1").bind(name).fetch_one(&db.owner).await.unwrap()
    };
    let alive = async |backend: i64| -> bool {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)")
            .bind(i32::try_from(backend).unwrap())
            .fetch_one(&db.owner)
            .await
            .unwrap()
    };
    let (calm, warned) = (backend_of("calm").await, backend_of("warned").await);
    testkit::wait::until("the warned connection to be gone", Duration::from_secs(10), async || {
        if alive(warned).await { Err("still there") } else { Ok(()) }
    })
    .await;
    assert!(calm == warned || alive(calm).await, "a plain commit gives its connection back");
}

#[tokio::test]
async fn a_constraint_that_speaks_at_commit_is_a_failure_and_no_riddle() {
    let db = database().await;
    let outcome = mark(&db.database, Cause::Duty("test"), "undone", vec![], None).await;
    assert!(matches!(outcome, Err(CommitError::Database(_))), "{outcome:?}");
    assert_eq!(db.count("marks").await, 0);
}

#[tokio::test]
async fn a_panic_leaves_no_trace_of_any_member() {
    let db = database().await;
    let members = vec![told("a").member, asked("b", "key-bbbbbbbbbbbbbbbb").member];
    let outcomes: Vec<Outcome> = db
        .database
        .commit_many(members, |tx, _| {
            Box::pin(async move {
                sqlx::query("INSERT INTO marks (name, seen) VALUES ('half', 1)").execute(tx).await?;
                panic!("a bug in a use case")
            })
        })
        .await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(CommitError::OutcomeUnknown))), "{outcomes:?}");
    assert!(commit(&db.database, &[told("a")]).await.iter().all(applied));
    assert_eq!(marks(&db).await, ["a"]);
}

#[tokio::test]
async fn batches_that_share_members_in_any_order_give_each_its_effect_once() {
    let db = database().await;
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let running: Vec<_> = (0..8)
        .map(|turn| {
            let database = db.database.clone();
            let mut batch: Vec<Marked> = names.map(told).to_vec();
            batch.rotate_left(turn);
            tokio::spawn(async move { commit(&database, &batch).await })
        })
        .collect();
    let mut first = 0;
    for batch in running {
        for outcome in batch.await.unwrap() {
            match outcome {
                Ok(Committed::Applied) => first += 1,
                Ok(Committed::Repeated(None)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(first, names.len());
    assert_eq!(marks(&db).await, names);
}

#[tokio::test]
async fn a_batch_may_stop_at_any_point() {
    let survived = survives_every_crash(
        database,
        async |db| {
            let batch = [told("a"), asked("b", "key-bbbbbbbbbbbbbbbb"), told("refused"), told("c")];
            let _ = commit(&db.database, &batch).await;
        },
        async |db, when| {
            assert_eq!(marks(db).await, ["a", "b", "c"], "{when}");
            assert_eq!(keys_in_outbox(db).await, ["a", "b", "c"], "{when}");
            assert_eq!((db.count("requests").await, db.count("inbox").await), (1, 2), "{when}");
        },
    )
    .await;
    assert_eq!(
        survived.points,
        [
            "commit_many.before",
            "commit_many.after_causes",
            "commit_many.after_state",
            "commit_many.after_outbox",
            "commit_many.after_commit"
        ]
    );
}
