//! The books under their seals: sealed once, in order, and whoever changes them is found out.

use order_payment::domain::ledger_seal::{leaf, proof, proves};
use order_payment::domain::{LedgerKind, Transaction};
use order_payment::usecases::seal_ledger::{Verdict, seal_ledger, verify_ledger};
use order_payment::usecases::{Change, Failure};

use crate::world::{REGION, World, a_database, worlds};

async fn paid(world: &World, orders: usize) {
    for _ in 0..orders {
        world.an_order_to_pay().await;
    }
    world.pay().await;
}

#[tokio::test]
async fn what_is_committed_is_sealed_once_and_the_seals_agree_with_the_books() {
    for world in worlds().await {
        assert_eq!(seal_ledger(&world.app).await.unwrap(), None);
        paid(&world, 3).await;
        let first = seal_ledger(&world.app).await.unwrap().unwrap();
        paid(&world, 2).await;
        let second = seal_ledger(&world.app).await.unwrap().unwrap();
        assert_eq!((first.number, first.first, first.last), (1, 1, 3));
        assert_eq!((second.number, second.first, second.last, second.previous), (2, 4, 5, first.root));
        assert_eq!(seal_ledger(&world.app).await.unwrap(), None);
        assert_eq!(verify_ledger(&world.app).await.unwrap(), Verdict::Sound { seals: 2, root: second.root });
        // One transaction is proven with the hashes of its neighbours alone.
        let leaves = world.app.store.leaves(1).await.unwrap();
        let hashes: Vec<_> = leaves.iter().map(|(leaf, _)| leaf.hash).collect();
        let known = leaf(leaves[1].1.as_ref().unwrap());
        assert!(proves(REGION, &first, known, &proof(&hashes, 1).unwrap()));
        assert!(!proves(REGION, &first, hashes[2], &proof(&hashes, 1).unwrap()));
    }
}

#[tokio::test]
async fn sealing_survives_every_crash() {
    for database in [None, Some(a_database().await)] {
        testkit::crash::survives_every_crash(
            async || {
                let world = database.as_ref().map_or_else(World::in_memory, World::on);
                paid(&world, 2).await;
                world
            },
            async |world: &World| drop(seal_ledger(&world.app).await),
            async |world: &World, when: &str| {
                assert!(matches!(verify_ledger(&world.app).await, Ok(Verdict::Sound { .. })), "{when}");
                assert_eq!(seal_ledger(&world.app).await.unwrap(), None, "something was left {when}");
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_commit_that_comes_late_comes_into_a_later_seal() {
    let database = a_database().await;
    let world = World::on(&database);
    paid(&world, 2).await;
    // A transaction that has written to the books and is not committed yet.
    let mut slow = database.owner.begin().await.unwrap();
    let open = world.an_order_to_pay().await;
    let attempt = world.charge(open).await;
    for statement in [
        format!(
            "INSERT INTO ledger_transactions (attempt_id, order_id, kind, currency, recorded_at) VALUES ('{}', '{open}', 'CAPTURE', 'EUR', now() - interval '1 hour')",
            attempt.id
        ),
        format!(
            "INSERT INTO ledger_entries (attempt_id, entry_no, account, amount_minor, currency) VALUES ('{0}', 1, 'gateway_receivable', 4990, 'EUR'), ('{0}', 2, 'sales', -4990, 'EUR')",
            attempt.id
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *slow).await.unwrap();
    }
    assert_eq!(seal_ledger(&world.app).await.unwrap().map(|seal| (seal.number, seal.last)), Some((1, 2)));
    slow.commit().await.unwrap();
    assert_eq!(seal_ledger(&world.app).await.unwrap().map(|seal| (seal.number, seal.last)), Some((2, 3)));
    assert!(matches!(verify_ledger(&world.app).await, Ok(Verdict::Sound { seals: 2, .. })));
}

#[tokio::test]
async fn a_changed_entry_is_found_and_its_seal_is_named() {
    let table = [
        (
            "UPDATE ledger_entries SET amount_minor = amount_minor * 2 WHERE transaction_id = (SELECT transaction_id FROM ledger_leaves WHERE position = 4)",
            2,
            "a transaction was changed",
        ),
        (
            "UPDATE ledger_transactions SET recorded_at = recorded_at + interval '1 second' WHERE transaction_id = (SELECT transaction_id FROM ledger_leaves WHERE position = 2)",
            1,
            "a transaction was changed",
        ),
        ("DELETE FROM ledger_leaves WHERE position = 5", 2, "a transaction is missing"),
        ("UPDATE ledger_seals SET root = sha256('x') WHERE seal_no = 1", 1, "its root is another"),
        (
            "UPDATE ledger_leaves SET position = -position; UPDATE ledger_leaves SET position = CASE position WHEN -4 THEN 5 WHEN -5 THEN 4 ELSE -position END",
            2,
            "its root is another",
        ),
    ];
    for (statement, seal, why) in table {
        let world = World::in_postgres().await;
        for orders in [3, 2, 2] {
            paid(&world, orders).await;
            seal_ledger(&world.app).await.unwrap();
        }
        let owner = &world.database.as_ref().unwrap().owner;
        let tables = ["ledger_entries", "ledger_transactions", "ledger_leaves", "ledger_seals"];
        let switch = |what: &str| tables.map(|table| format!("ALTER TABLE {table} {what} TRIGGER USER;")).concat();
        let forced = format!("{}{statement};{}", switch("DISABLE"), switch("ENABLE"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(forced)).execute(owner).await.unwrap();
        assert_eq!(verify_ledger(&world.app).await.unwrap(), Verdict::Broken { seal, why }, "{statement}");
    }
    // Taken out of the queue before it could be sealed.
    let world = World::in_postgres().await;
    paid(&world, 1).await;
    sqlx::query("DELETE FROM ledger_unsealed").execute(&world.database.as_ref().unwrap().owner).await.unwrap();
    assert_eq!(verify_ledger(&world.app).await.unwrap(), Verdict::Unsealed(1));
}

#[tokio::test]
async fn a_mistake_is_corrected_by_its_mirror_once_and_by_nothing_less() {
    let world = World::in_postgres().await;
    let id = world.an_order_to_pay().await;
    let attempt = world.charge(id).await;
    let now = world.app.clock.now();
    let wrong = Transaction::capture(id, attempt.id, attempt.amount, now);
    let commit = async |transaction: Transaction| {
        let change = Change { ledger: vec![transaction], ..Change::default() };
        world.app.store.commit(messaging::Cause::Duty("test"), change).await.map_err(Failure::from)
    };
    commit(wrong.clone()).await.unwrap();
    let mirror = wrong.reversed(now);
    assert_eq!(mirror.kind, LedgerKind::Reversal);
    let mut half = mirror.clone();
    for entry in &mut half.entries {
        entry.amount_minor /= 2;
    }
    let refused = commit(half).await.unwrap_err().to_string();
    assert!(refused.contains("refused"), "{refused}");
    commit(mirror.clone()).await.unwrap();
    assert_eq!(world.ledger(id).await, 0);
    assert!(commit(mirror).await.unwrap_err().is_lost(), "once");
}
