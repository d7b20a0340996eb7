//! The audit: a count that was changed behind the movements' back is found, told once, and not repaired.

use catalog::domain::inventory::SupplyKind;
use catalog::usecases::audit_stock::audit_stock;
use messaging::Verdict;

use super::world::{World, completed, created, new_order, receive};

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
async fn movements_without_a_row_are_found() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 5)]).await.unwrap();
    sqlx::query("DELETE FROM stock").execute(&world.database.owner).await.unwrap();
    audit_stock(&world.app, None).await.unwrap();
    let found = world.store.open_findings(10).await.unwrap();
    assert_eq!((found.len(), found[0].counter, found[0].expected), (1, "row", 5));
}
