//! Stories of `Database::commit`: whole or not at all, once per cause, only under the present reign.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::MessageId;
use messaging::{Cause, Change, CommitError, Committed, Database, DatabaseSettings, Epoch, WriteError};
use testkit::crash::survives_every_crash;

use crate::world::{Refused, answer, database, event, mark, request};

#[tokio::test]
async fn a_repeated_request_key_gets_the_first_answer() {
    let db = database().await;
    let cause = || Cause::Request(request("key-0123456789abcdef", 1));
    let first = mark(&db.database, cause(), "a", vec![event("o1", 1)], Some(answer("first"))).await;
    assert!(matches!(first, Ok(Committed::Applied)));
    let second = mark(&db.database, cause(), "a", vec![event("o1", 1)], Some(answer("second"))).await;
    assert_eq!(second.ok(), Some(Committed::Repeated(Some(answer("first")))));
    assert_eq!((db.count("marks").await, db.count("outbox").await), (1, 1));
}

#[tokio::test]
async fn a_key_used_with_another_request_is_refused_and_changes_nothing() {
    let db = database().await;
    mark(&db.database, Cause::Request(request("key-0123456789abcdef", 1)), "a", vec![], Some(answer("first")))
        .await
        .unwrap();
    let reused =
        mark(&db.database, Cause::Request(request("key-0123456789abcdef", 2)), "a", vec![], Some(answer("second")))
            .await;
    assert!(matches!(reused, Err(CommitError::KeyReused)), "{reused:?}");
    assert_eq!(db.count("marks").await, 1);
    let found = db.database.find_answer::<Refused>(&request("key-0123456789abcdef", 1)).await;
    assert_eq!(found.ok(), Some(Some(answer("first"))));
}

#[tokio::test]
async fn a_key_belongs_to_one_person_and_route() {
    let db = database().await;
    let mut other_person = request("key-0123456789abcdef", 2);
    other_person.subject = uuid::Uuid::from_u128(8);
    let mut other_route = request("key-0123456789abcdef", 3);
    other_route.route = "/v1/other";
    for scoped in [request("key-0123456789abcdef", 1), other_person, other_route] {
        let outcome = mark(&db.database, Cause::Request(scoped), "a", vec![], Some(answer("own"))).await;
        assert_eq!(outcome.ok(), Some(Committed::Applied));
    }
}

#[tokio::test]
async fn of_many_simultaneous_twins_one_has_the_effect() {
    let db = database().await;
    let twins = (0..50).map(|_| {
        let database = db.database.clone();
        tokio::spawn(async move {
            mark(
                &database,
                Cause::Request(request("key-0123456789abcdef", 1)),
                "a",
                vec![event("o1", 1)],
                Some(answer("one")),
            )
            .await
        })
    });
    let mut applied = 0;
    for twin in twins.collect::<Vec<_>>() {
        match twin.await.unwrap() {
            Ok(Committed::Applied) => applied += 1,
            Ok(Committed::Repeated(stored)) => assert_eq!(stored, Some(answer("one"))),
            Err(CommitError::InProgress | CommitError::Unavailable(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(applied, 1);
    assert_eq!((db.count("marks").await, db.count("requests").await, db.count("outbox").await), (1, 1, 1));
}

#[tokio::test]
async fn a_message_has_its_effect_once_per_consumer() {
    let db = database().await;
    let id = MessageId::derive("o1", 1, "order.created");
    for (consumer, expected) in
        [("one", Committed::Applied), ("one", Committed::Repeated(None)), ("two", Committed::Applied)]
    {
        let outcome = mark(&db.database, Cause::Message { consumer, id }, "a", vec![], None).await;
        assert_eq!(outcome.ok(), Some(expected));
    }
    assert_eq!(db.count("marks").await, 2);
}

#[tokio::test]
async fn a_refusal_leaves_no_trace_and_the_key_free() {
    let db = database().await;
    let change = Change {
        cause: Cause::Request(request("key-0123456789abcdef", 1)),
        events: vec![event("o1", 1)],
        answer: Some(answer("x")),
    };
    let refused = db
        .database
        .commit(change, |tx| {
            Box::pin(async move {
                sqlx::query("INSERT INTO marks (name, seen) VALUES ('half', 1)").execute(tx).await?;
                Err(WriteError::Refused(Refused))
            })
        })
        .await;
    assert!(matches!(refused, Err(CommitError::Refused(Refused))));
    for table in ["marks", "outbox", "requests"] {
        assert_eq!(db.count(table).await, 0, "{table}");
    }
    let again =
        mark(&db.database, Cause::Request(request("key-0123456789abcdef", 9)), "a", vec![], Some(answer("x"))).await;
    assert_eq!(again.ok(), Some(Committed::Applied));
}

#[tokio::test]
async fn a_panicking_change_leaves_no_trace_and_no_open_transaction() {
    let db = database().await;
    for _ in 0..30 {
        let change = Change { cause: Cause::Duty("panic"), events: vec![], answer: None };
        let outcome: Result<_, CommitError<Refused>> = db
            .database
            .commit(change, |tx| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO marks (name, seen) VALUES ('half', 1)").execute(tx).await?;
                    panic!("a bug in a use case")
                })
            })
            .await;
        assert!(matches!(outcome, Err(CommitError::OutcomeUnknown)));
    }
    // More panics than connections: none may be stuck in a transaction.
    assert_eq!(mark(&db.database, Cause::Duty("after"), "a", vec![], None).await.ok(), Some(Committed::Applied));
    assert_eq!(db.count("marks").await, 1);
}

#[tokio::test]
async fn a_serialisation_failure_runs_the_whole_change_again() {
    let db = database().await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let change = Change {
        cause: Cause::Request(request("key-0123456789abcdef", 1)),
        events: vec![event("o1", 1)],
        answer: Some(answer("x")),
    };
    let outcome: Result<_, CommitError<Refused>> = db
        .database
        .commit(change, move |tx| {
            let counted = Arc::clone(&counted);
            Box::pin(async move {
                sqlx::query("INSERT INTO marks (name, seen) VALUES ('a', 1)").execute(&mut *tx).await?;
                if counted.fetch_add(1, Ordering::Relaxed) < 2 {
                    sqlx::raw_sql("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$")
                        .execute(tx)
                        .await?;
                }
                Ok(())
            })
        })
        .await;
    assert_eq!(outcome.ok(), Some(Committed::Applied));
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert_eq!((db.count("marks").await, db.count("requests").await), (1, 1));
}

/// What follows a primary has its fence too, region and epoch included.
#[tokio::test]
async fn a_database_that_only_follows_is_not_writable_although_its_fence_is_ours() {
    let db = database().await;
    assert_eq!(db.database.writable().await, Ok(()));
    let settings = DatabaseSettings {
        url: format!(
            "{}?options[default_transaction_read_only]=on",
            testkit::servers().postgres_url(&db.name, "inventory_app")
        ),
        owner_url: None,
        max_connections: 1,
    };
    let follower = Database::connect(&settings, db.database.region(), Epoch::new(1)).unwrap();
    let refused = follower.writable().await.unwrap_err();
    assert!(refused.contains("read only"), "{refused}");
    let outcome = mark(&follower, Cause::Duty("standby"), "new", vec![], None).await;
    assert!(matches!(outcome, Err(CommitError::NotWritable)), "{outcome:?}");
    assert_eq!(db.count("marks").await, 0);
}

#[tokio::test]
async fn a_process_of_an_old_reign_cannot_write() {
    let db = database().await;
    sqlx::query("UPDATE region_fence SET epoch = 2, holder = 'standby'").execute(&db.owner).await.unwrap();
    for cause in [
        Cause::Duty("old"),
        Cause::Request(request("key-0123456789abcdef", 1)),
        Cause::Message { consumer: "c", id: MessageId::derive("a", 1, "b") },
    ] {
        let outcome = mark(&db.database, cause, "old", vec![event("o1", 1)], Some(answer("x"))).await;
        assert!(matches!(outcome, Err(CommitError::NotWritable)), "{outcome:?}");
    }
    assert!(db.database.writable().await.is_err());
    for table in ["marks", "outbox", "requests", "inbox"] {
        assert_eq!(db.count(table).await, 0, "{table}");
    }
    db.database.epoch().advance(2);
    assert_eq!(mark(&db.database, Cause::Duty("new"), "new", vec![], None).await.ok(), Some(Committed::Applied));
}

#[tokio::test]
async fn a_change_of_reign_waits_for_writes_of_the_old_one() {
    let db = database().await;
    let (entered, inside) = tokio::sync::oneshot::channel();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let gates = Arc::new(tokio::sync::Mutex::new(Some((entered, released))));
    let old_write = tokio::spawn({
        let database = db.database.clone();
        async move {
            let change = Change { cause: Cause::Duty("slow"), events: vec![], answer: None };
            let outcome: Result<_, CommitError<Refused>> = database
                .commit(change, move |tx| {
                    let gates = Arc::clone(&gates);
                    Box::pin(async move {
                        if let Some((entered, released)) = gates.lock().await.take() {
                            entered.send(()).ok();
                            released.await.ok();
                        }
                        sqlx::query("INSERT INTO marks (name, seen) SELECT 'old', epoch FROM region_fence")
                            .execute(tx)
                            .await?;
                        Ok(())
                    })
                })
                .await;
            outcome
        }
    });
    inside.await.unwrap();
    let owner = db.owner.clone();
    let promotion = tokio::spawn(async move {
        sqlx::query("UPDATE region_fence SET epoch = 2, holder = 'standby'").execute(&owner).await
    });
    // The promotion is waiting for the fence's lock; nothing of the new reign may pass before the old write has ended.
    testkit::wait::until("the promotion to wait for the lock", std::time::Duration::from_secs(5), async || {
        let waiting: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                .fetch_one(&db.owner)
                .await
                .unwrap();
        if waiting > 0 { Ok(()) } else { Err(waiting) }
    })
    .await;
    release.send(()).unwrap();
    assert_eq!(old_write.await.unwrap().ok(), Some(Committed::Applied));
    promotion.await.unwrap().unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT seen FROM marks").fetch_one(&db.owner).await.unwrap();
    assert_eq!(seen, 1, "the old write ended under its own epoch");
    assert!(matches!(
        mark(&db.database, Cause::Duty("late"), "late", vec![], None).await,
        Err(CommitError::NotWritable)
    ));
}

#[tokio::test]
async fn a_request_may_stop_at_any_point() {
    let survived = survives_every_crash(
        database,
        async |db| {
            let _ = mark(
                &db.database,
                Cause::Request(request("key-0123456789abcdef", 1)),
                "a",
                vec![event("o1", 1)],
                Some(answer("one")),
            )
            .await;
        },
        async |db, when| {
            assert_eq!(
                (db.count("marks").await, db.count("outbox").await, db.count("requests").await),
                (1, 1, 1),
                "{when}"
            );
        },
    )
    .await;
    assert_eq!(
        survived.points,
        ["commit.before", "commit.after_cause", "commit.after_state", "commit.after_outbox", "commit.after_commit"]
    );
}

#[tokio::test]
async fn a_delivery_may_stop_at_any_point() {
    let id = MessageId::derive("o1", 1, "order.created");
    survives_every_crash(
        database,
        async |db| {
            let _ = mark(&db.database, Cause::Message { consumer: "c", id }, "a", vec![event("o1", 1)], None).await;
        },
        async |db, when| {
            assert_eq!(
                (db.count("marks").await, db.count("outbox").await, db.count("inbox").await),
                (1, 1, 1),
                "{when}"
            );
        },
    )
    .await;
}
