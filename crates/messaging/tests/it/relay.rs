//! Stories of the outbox relay: what is committed is published, what is rolled back is not, in the order of each key.

use std::collections::HashMap;
use std::sync::Arc;

use contracts::topics::STOCK_RESERVED;
use messaging::crash::{Boundary, Plan, under};
use messaging::{Cause, KafkaSettings, Relay};
use testkit::TestDatabase;
use testkit::kafka::{read_all, topics};
use tokio_util::sync::CancellationToken;

use crate::world::{database, event, mark};

async fn commit_versions(db: &TestDatabase, orders: &[&str], versions: std::ops::RangeInclusive<i64>) {
    for version in versions {
        for order in orders {
            mark(&db.database, Cause::Duty("write"), order, vec![event(order, version)], None).await.unwrap();
        }
    }
}

async fn unpublished(db: &TestDatabase) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM outbox WHERE published_at IS NULL").fetch_one(&db.owner).await.unwrap()
}

async fn drain(db: &TestDatabase, kafka: &KafkaSettings) {
    let shutdown = CancellationToken::new();
    let relay = tokio::spawn(Relay::new(db.database.clone(), kafka).unwrap().run(shutdown.clone()));
    testkit::wait::until("an empty outbox", std::time::Duration::from_secs(20), async || match unpublished(db).await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
    shutdown.cancel();
    relay.await.unwrap().unwrap();
}

/// Versions of each key in the order in which a consumer sees them first.
async fn first_seen(kafka: &KafkaSettings) -> HashMap<String, Vec<i64>> {
    let mut seen: HashMap<String, Vec<i64>> = HashMap::new();
    let mut ids = std::collections::HashSet::new();
    for record in read_all(kafka, &STOCK_RESERVED).await {
        if ids.insert(record.header("ce_id").unwrap().to_owned()) {
            seen.entry(record.key.clone())
                .or_default()
                .push(record.header("aggregate_version").unwrap().parse().unwrap());
        }
    }
    seen
}

#[tokio::test]
async fn committed_events_arrive_once_and_in_order_of_their_key() {
    let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
    commit_versions(&db, &["o1", "o2", "o3"], 1..=20).await;
    drain(&db, &kafka).await;
    let expected: Vec<i64> = (1..=20).collect();
    let seen = first_seen(&kafka).await;
    assert_eq!(seen.len(), 3);
    for (key, versions) in seen {
        assert_eq!(versions, expected, "{key}");
    }
    assert_eq!(read_all(&kafka, &STOCK_RESERVED).await.len(), 60, "a quiet run publishes each event once");
}

#[tokio::test]
async fn a_relay_may_stop_at_any_point_and_nothing_is_lost_or_out_of_order() {
    let kafka = topics(&[&STOCK_RESERVED]).await;
    let recording = Plan::recording();
    let db = database().await;
    commit_versions(&db, &["a0"], 1..=3).await;
    {
        let relay = Relay::new(db.database.clone(), &kafka).unwrap();
        let mut connection = db.database.pool().acquire().await.unwrap();
        under(Arc::clone(&recording), relay.publish_batch(&mut connection)).await.unwrap();
    }
    let points = recording.passed();
    let steps = [Boundary::RelayClaim, Boundary::RelayPublish, Boundary::RelayMark];
    let expected: Vec<&str> = steps.iter().flat_map(|step| [step.before(), step.after()]).collect();
    assert_eq!(points, expected);
    for n in 0..points.len() {
        let key = format!("stopped{n}");
        commit_versions(&db, &[&key], 1..=5).await;
        let relay = Relay::new(db.database.clone(), &kafka).unwrap();
        let mut connection = db.database.pool().acquire().await.unwrap();
        assert!(under(Plan::stopping_at(n), relay.publish_batch(&mut connection)).await.is_err());
        drop(connection);
        commit_versions(&db, &[&key], 6..=8).await;
        drain(&db, &kafka).await;
    }
    let seen = first_seen(&kafka).await;
    for (n, point) in points.iter().enumerate() {
        assert_eq!(seen.get(&format!("stopped{n}")), Some(&(1..=8).collect()), "stopped at {point}");
    }
}

#[tokio::test]
async fn two_relays_at_once_keep_the_order() {
    let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
    let shutdown = CancellationToken::new();
    let relays: Vec<_> = (0..2)
        .map(|_| tokio::spawn(Relay::new(db.another_process("inventory", 1), &kafka).unwrap().run(shutdown.clone())))
        .collect();
    commit_versions(&db, &["o1", "o2"], 1..=40).await;
    testkit::wait::until("an empty outbox", std::time::Duration::from_secs(20), async || {
        match unpublished(&db).await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    shutdown.cancel();
    for relay in relays {
        relay.await.unwrap().unwrap();
    }
    let seen = first_seen(&kafka).await;
    assert_eq!(seen.get("o1"), Some(&(1..=40).collect()));
    assert_eq!(seen.get("o2"), Some(&(1..=40).collect()));
}

#[tokio::test]
async fn a_relay_that_lost_its_claim_cannot_mark() {
    let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
    commit_versions(&db, &["o1"], 1..=1).await;
    // Another relay claims each row at once after the first one has: the trigger runs when the claim's answer is made.
    sqlx::raw_sql(
        "CREATE FUNCTION claim_again() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN UPDATE outbox SET claim_gen = claim_gen + 1 WHERE message_id = NEW.message_id; RETURN NULL; END $$;
         CREATE TRIGGER claimed_again AFTER UPDATE OF claimed_by ON outbox FOR EACH ROW EXECUTE FUNCTION claim_again()",
    )
    .execute(&db.owner)
    .await
    .unwrap();
    let late = Relay::new(db.another_process("inventory", 1), &kafka).unwrap();
    let mut connection = db.database.pool().acquire().await.unwrap();
    late.publish_batch(&mut connection).await.unwrap();
    assert_eq!(unpublished(&db).await, 1, "marked by a relay that had lost its claim");
}

#[tokio::test]
async fn what_was_rolled_back_is_never_published() {
    let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
    let change = messaging::Change { cause: Cause::Duty("refused"), events: vec![event("ghost", 1)], answer: None };
    let refused: Result<_, messaging::CommitError<crate::world::Refused>> = db
        .database
        .commit(change, |_| Box::pin(async { Err(messaging::WriteError::Refused(crate::world::Refused)) }))
        .await;
    assert!(refused.is_err());
    commit_versions(&db, &["real"], 1..=1).await;
    drain(&db, &kafka).await;
    assert_eq!(first_seen(&kafka).await.into_keys().collect::<Vec<_>>(), ["real"]);
}

#[tokio::test]
async fn events_of_another_release_wait_and_hold_up_nothing() {
    let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
    // More than a batch of them, older than everything else and about the same order.
    sqlx::query(
        "INSERT INTO outbox (message_id, topic, key, version, payload, epoch)
         SELECT gen_random_uuid(), 'order.of-tomorrow', 'o1', n, '', 1 FROM generate_series(1, 600) AS n",
    )
    .execute(&db.owner)
    .await
    .unwrap();
    commit_versions(&db, &["o1", "o2"], 1..=3).await;
    let relay = Relay::new(db.database.clone(), &kafka).unwrap();
    let mut connection = db.database.pool().acquire().await.unwrap();
    assert_eq!(relay.publish_batch(&mut connection).await.unwrap(), 6);
    assert_eq!(relay.publish_batch(&mut connection).await.unwrap(), 0);
    let seen = first_seen(&kafka).await;
    assert_eq!(seen.get("o1"), Some(&vec![1, 2, 3]));
    assert_eq!(seen.get("o2"), Some(&vec![1, 2, 3]));

    let untouched: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM outbox WHERE topic = 'order.of-tomorrow' AND claimed_by IS NULL AND published_at IS NULL",
    )
    .fetch_one(&db.owner)
    .await
    .unwrap();
    assert_eq!(untouched, 600, "kept for the relay that knows them");
    assert_eq!(relay.count_unknown(&mut connection).await.unwrap(), 600, "and told");

    // A relay that knows their topic takes them.
    sqlx::query("DELETE FROM outbox WHERE topic = 'order.of-tomorrow' AND version > 1")
        .execute(&db.owner)
        .await
        .unwrap();
    sqlx::query("UPDATE outbox SET topic = 'stock.reserved', key = 'o3' WHERE topic = 'order.of-tomorrow'")
        .execute(&db.owner)
        .await
        .unwrap();
    assert_eq!(relay.publish_batch(&mut connection).await.unwrap(), 1);
    assert_eq!(relay.count_unknown(&mut connection).await.unwrap(), 0);
}

#[tokio::test]
async fn what_was_kept_long_enough_goes_as_fast_as_a_busy_region_writes_it() {
    let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
    // Several batches of each, and a neighbour that is not old enough; one event is old and was never published.
    for fill in [
        "INSERT INTO outbox (message_id, topic, key, version, payload, epoch, occurred_at, published_at)
         SELECT gen_random_uuid(), 'stock.reserved', 'old', n, '', 1, at, at
         FROM generate_series(1, 5500) AS n, LATERAL (SELECT now() - interval '8 days' AS at) AS moment",
        "INSERT INTO outbox (message_id, topic, key, version, payload, epoch, published_at)
         VALUES (gen_random_uuid(), 'stock.reserved', 'young', 1, '', 1, now() - interval '6 days')",
        "INSERT INTO outbox (message_id, topic, key, version, payload, epoch, occurred_at)
         VALUES (gen_random_uuid(), 'order.of-tomorrow', 'waits', 1, '', 1, now() - interval '8 days')",
        "INSERT INTO requests (residency_region, subject, method, route, key, fingerprint, status, body, answered_at)
         SELECT region, gen_random_uuid(), 'POST', '/v1/marks', n::text, decode(repeat('00', 32), 'hex'), 201, '',
                now() - CASE n WHEN 3500 THEN interval '29 days' ELSE interval '31 days' END
         FROM region_fence, generate_series(1, 3500) AS n",
        "INSERT INTO inbox (consumer, message_id, applied_at)
         SELECT 'marks', gen_random_uuid(), now() - CASE n WHEN 3500 THEN interval '29 days' ELSE interval '31 days' END
         FROM generate_series(1, 3500) AS n",
    ] {
        sqlx::query(fill).execute(&db.owner).await.unwrap();
    }
    let shutdown = CancellationToken::new();
    let relay = tokio::spawn(Relay::new(db.database.clone(), &kafka).unwrap().run(shutdown.clone()));
    let kept = async || -> (Vec<String>, i64, i64) {
        let keys = sqlx::query_scalar("SELECT DISTINCT key FROM outbox ORDER BY key");
        let answers = sqlx::query_scalar("SELECT count(*) FROM requests");
        let handled = sqlx::query_scalar("SELECT count(*) FROM inbox");
        let handled = handled.fetch_one(&db.owner).await.unwrap();
        (keys.fetch_all(&db.owner).await.unwrap(), answers.fetch_one(&db.owner).await.unwrap(), handled)
    };
    let expected = (vec!["waits".to_owned(), "young".to_owned()], 1, 1);
    // At a batch a minute this would take five.
    testkit::wait::until("a pruned database", std::time::Duration::from_secs(20), async || match kept().await {
        left if left == expected => Ok(()),
        left => Err(left),
    })
    .await;
    shutdown.cancel();
    relay.await.unwrap().unwrap();
    assert_eq!(kept().await, expected, "and nothing else");
}

/// A database keeps a plan after five rounds on a connection; there is one.
const UNTIL_PLANNED: i64 = 10;
const PUBLISHED: i64 = 2_000;

/// One relay, from an empty outbox to one with thousands of published rows that no vacuum has seen: the same plans.
#[tokio::test]
async fn a_look_reads_what_waits_and_not_what_was_published_before() {
    let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
    let relay = Relay::new(db.database.clone(), &kafka).unwrap();
    let mut connection = relay.connection().await.unwrap();
    for version in 1..=UNTIL_PLANNED {
        commit_versions(&db, &["first"], version..=version).await;
        assert_eq!(relay.publish_batch(&mut connection).await.unwrap(), 1);
    }
    sqlx::query(
        "INSERT INTO outbox (message_id, topic, key, version, payload, epoch)
         SELECT gen_random_uuid(), topic, 'other-' || number, 1, payload, epoch
         FROM outbox, generate_series(1, $1) AS number WHERE version = 1",
    )
    .bind(PUBLISHED)
    .execute(&db.owner)
    .await
    .unwrap();
    while relay.publish_batch(&mut connection).await.unwrap() > 0 {}
    assert_eq!(unpublished(&db).await, 0);

    let flush = "SELECT pg_stat_force_next_flush()";
    sqlx::query(flush).execute(&mut connection).await.unwrap();
    let before = db.index_entries_read(&["outbox"]).await;
    for version in UNTIL_PLANNED + 1..=UNTIL_PLANNED * 2 {
        commit_versions(&db, &["first"], version..=version).await;
        assert_eq!(relay.publish_batch(&mut connection).await.unwrap(), 1);
        assert_eq!(relay.publish_batch(&mut connection).await.unwrap(), 0);
    }
    sqlx::query(flush).execute(&mut connection).await.unwrap();
    let read = db.index_entries_read(&["outbox"]).await - before;
    assert!(read >= UNTIL_PLANNED, "the database counts what is read: {read}");
    assert!(read <= PUBLISHED, "{} index entries for one event and a look that finds nothing", read / UNTIL_PLANNED);
}
