//! The audit: a count that was changed behind the movements' back is found, told once, and not repaired; so is a movement that was changed or
//! taken away long after it was written. A row that moves while it is added up is no false alarm.

use catalog::domain::audit::{Audited, Most};
use catalog::domain::inventory::SupplyKind;
use catalog::usecases::audit_stock::audit_stock;
use messaging::Verdict;
use sqlx::AssertSqlSafe;

use super::world::{World, completed, created, new_order, receive, walk};

#[tokio::test]
async fn a_count_changed_by_hand_is_found_told_once_and_left_alone() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 5), ("B", SupplyKind::Counted, 5)]).await.unwrap();
    let order = new_order();
    for event in [created(order, &[("A", 2)]), completed(order, &[("A", 2)])] {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    assert_eq!(audit_stock(&world.app, None).await.unwrap(), None);
    assert_eq!(world.store.open_findings(10).await.unwrap(), []);
    // Balanced, so that no constraint of the row can see it.
    let theft = "UPDATE stock SET available = available - 1, sold = sold + 1 WHERE sku = 'B'";
    sqlx::query(theft).execute(&world.database.owner).await.unwrap();
    for _ in 0..2 {
        assert_eq!(audit_stock(&world.app, None).await.unwrap(), None);
    }
    let found: Vec<_> = world.store.open_findings(10).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|finding| (finding.place.0.as_str(), finding.counter, finding.expected, finding.found))
        .collect();
    assert_eq!(found, [("B", "available", 5, 4), ("B", "sold", 0, 1)]);
    assert_eq!(world.count("SELECT count(*) FROM stock_findings").await, 2, "told once, however often it is found");
    assert_eq!(world.count("SELECT sold FROM stock WHERE sku = 'B'").await, 1, "nothing is repaired silently");
    // A person put it right: the finding stays as history.
    let repair = "UPDATE stock SET available = available + 1, sold = sold - 1 WHERE sku = 'B'";
    sqlx::query(repair).execute(&world.database.owner).await.unwrap();
    audit_stock(&world.app, None).await.unwrap();
    assert_eq!(world.store.open_findings(10).await.unwrap(), []);
    assert_eq!(world.count("SELECT count(*) FROM stock_findings WHERE resolved_at IS NOT NULL").await, 2);
}

#[tokio::test]
async fn an_index_that_was_not_built_to_its_end_by_hand_stops_the_migration_that_wants_it() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 5), ("B", SupplyKind::Counted, 5)]).await.unwrap();
    let owner = &world.database.owner;
    let run = async |statement: &str| sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(owner).await;
    let migration = include_str!("../../../../../migrations/inventory/0114_movements_in_order.sql");
    run("DROP INDEX stock_movements_in_order").await.unwrap();
    // It meets the second receipt, and leaves what it has.
    let twice = "CREATE UNIQUE INDEX CONCURRENTLY stock_movements_in_order ON stock_movements (kind)";
    assert!(run(twice).await.is_err());
    let refused = run(migration).await.unwrap_err().to_string();
    assert!(refused.contains("was not built to its end"), "{refused}");
    run("DROP INDEX stock_movements_in_order").await.unwrap();
    // The second time it is there, as if it had been built by hand.
    for _ in 0..2 {
        run(migration).await.unwrap();
    }
}

#[tokio::test]
async fn movements_without_a_row_are_found() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 5)]).await.unwrap();
    sqlx::query("DELETE FROM stock").execute(&world.database.owner).await.unwrap();
    audit_stock(&world.app, None).await.unwrap();
    let found = world.store.open_findings(10).await.unwrap();
    assert_eq!((found.len(), found[0].counter, found[0].expected), (1, "row", 5));
}

#[tokio::test]
async fn a_movement_changed_or_taken_away_in_old_history_is_found() {
    let world = World::new().await;
    for n in 0..9 {
        receive(&*world.store, &format!("r{n}"), &[("A", SupplyKind::Counted, 5)]).await.unwrap();
    }
    audit_stock(&world.app, None).await.unwrap();
    assert_eq!(world.store.open_findings(10).await.unwrap(), []);
    let first = "WHERE movement_id = (SELECT min(movement_id) FROM stock_movements)";
    for (statement, expected) in [("UPDATE stock_movements SET quantity = 7", 47), ("DELETE FROM stock_movements", 40)]
    {
        // Only the owner can, and has to suspend what keeps history.
        let by_hand = format!(
            "ALTER TABLE stock_movements DISABLE TRIGGER USER; {statement} {first}; ALTER TABLE stock_movements ENABLE TRIGGER USER"
        );
        sqlx::raw_sql(AssertSqlSafe(by_hand)).execute(&world.database.owner).await.unwrap();
        audit_stock(&world.app, None).await.unwrap();
        let found = world.store.open_findings(10).await.unwrap();
        let found: Vec<_> = found.iter().map(|finding| (finding.counter, finding.expected, finding.found)).collect();
        assert_eq!(found, [("available", expected, 45), ("received", expected, 45)], "{statement}");
        // However few movements one look reads.
        let (audited, _) = walk(&*world.store, Most { rows: 10, movements: 4 }).await;
        let found: Vec<_> = audited.iter().flat_map(Audited::findings).map(|finding| finding.expected).collect();
        assert_eq!(found, [expected, expected], "{statement}");
    }
}

/// Numbers of movements are drawn in the order in which their row is locked, so a part that was read stays whole.
#[tokio::test]
async fn a_row_that_many_change_while_it_is_added_up_in_parts_is_no_false_alarm() {
    let world = World::new().await;
    receive(&*world.store, "first", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    let store = world.store.clone();
    let moving = tokio::spawn(async move {
        let receipts = (0..60).map(|n| {
            let store = store.clone();
            async move { receive(&*store, &format!("r{n}"), &[("A", SupplyKind::Counted, 1)]).await.unwrap() }
        });
        futures::future::join_all(receipts).await.len()
    });
    let most = Most { rows: 5, movements: 7 };
    while !moving.is_finished() {
        let (audited, _) = walk(&*world.store, most).await;
        let findings: Vec<_> = audited.iter().flat_map(Audited::findings).collect();
        assert_eq!(findings, []);
    }
    assert_eq!(moving.await.unwrap(), 60);
    let (audited, read) = walk(&*world.store, most).await;
    assert_eq!((audited.len(), audited[0].findings(), read.iter().sum::<u64>()), (1, vec![], 61));
}
