//! Stories of shelves: tables of who is served from where, and random stories that keep every row exact.

use common::ids;
use proptest::prelude::*;

use super::super::lines::Line;
use super::*;

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn centre(text: &str) -> Centre {
    Centre::parse(text).unwrap()
}

fn centres(names: &[&str]) -> Centres {
    Centres::new(centre(names[0]), names[1..].iter().map(|name| centre(name)))
}

fn order() -> OrderId {
    OrderId::from_uuid(ids::random())
}

fn lines(list: &[(&str, u32)]) -> Lines {
    Lines::new(list.iter().map(|(text, quantity)| Line { sku: sku(text), quantity: *quantity }).collect()).unwrap()
}

/// Rows as `(sku, centre, available, limit)`.
fn shelves(rows: &[(&str, &str, i64, i64)]) -> Shelves {
    let row = |(text, at, available, limit): &(&str, &str, i64, i64)| {
        let level = StockLevel {
            available: *available,
            received: *available,
            back_order_limit: *limit,
            ..StockLevel::empty(SupplyKind::Counted)
        };
        ((sku(text), centre(at)), level)
    };
    Shelves::new(rows.iter().map(row).collect(), Vec::new())
}

fn taken(pieces: &[Piece]) -> Vec<(&str, &str, u32, u32)> {
    pieces.iter().map(|piece| (piece.sku.as_str(), piece.centre.as_str(), piece.quantity, piece.waiting)).collect()
}

#[test]
fn an_order_is_served_from_one_centre_if_one_has_all_of_it() {
    let near_and_far = centres(&["near", "far"]);
    type Rows = &'static [(&'static str, &'static str, i64, i64)];
    type Taken = &'static [(&'static str, &'static str, u32, u32)];
    type Case = (Rows, &'static [(&'static str, u32)], Result<Taken, &'static str>);
    let table: [Case; 8] = [
        // Both have it: the preferred one serves.
        (&[("A", "near", 5, 0), ("A", "far", 9, 0)], &[("A", 5)], Ok(&[("A", "near", 5, 0)])),
        // Only the second has all lines.
        (
            &[("A", "near", 5, 0), ("A", "far", 2, 0), ("B", "far", 1, 0)],
            &[("A", 2), ("B", 1)],
            Ok(&[("A", "far", 2, 0), ("B", "far", 1, 0)]),
        ),
        // None has: from one to the next in order of preference.
        (
            &[("A", "near", 5, 0), ("A", "far", 2, 0), ("B", "far", 1, 0)],
            &[("A", 6), ("B", 1)],
            Ok(&[("A", "near", 5, 0), ("A", "far", 1, 0), ("B", "far", 1, 0)]),
        ),
        // What is missing everywhere is promised where the limit has room, beside what is there.
        (&[("A", "near", 1, 3), ("A", "far", 2, 0)], &[("A", 6)], Ok(&[("A", "near", 4, 3), ("A", "far", 2, 0)])),
        (&[("A", "near", 1, 0), ("A", "far", 2, 3)], &[("A", 6)], Ok(&[("A", "near", 1, 0), ("A", "far", 5, 3)])),
        (&[("A", "near", 1, 2), ("A", "far", 2, 0)], &[("A", 6)], Err("A")),
        (&[("A", "near", 9, 0)], &[("A", 1), ("B", 1)], Err("B")),
        // A centre that is not of the region serves nobody.
        (&[("A", "closed", 9, 9)], &[("A", 1)], Err("A")),
    ];
    for (rows, wanted, expected) in table {
        let mut shelves = shelves(rows);
        match (shelves.hold(order(), &lines(wanted), &near_and_far), expected) {
            (Ok(pieces), Ok(expected)) => assert_eq!(taken(&pieces), expected, "{rows:?} {wanted:?}"),
            (Err(Short(short)), Err(expected)) => {
                assert_eq!(short.as_str(), expected);
                assert_eq!((shelves.changes().count(), shelves.moves().len()), (0, 0), "a refusal changes nothing");
            }
            (found, expected) => panic!("{rows:?} {wanted:?}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn what_is_not_counted_never_splits_an_order() {
    let mut shelves = shelves(&[("A", "far", 1, 0)]);
    for kind in [SupplyKind::MadeToOrder, SupplyKind::Unlimited] {
        shelves.rows.insert((sku(kind.code()), centre("near")), StockLevel::empty(kind));
    }
    let wanted = lines(&[("A", 1), ("made_to_order", 2), ("unlimited", 1)]);
    let pieces = shelves.hold(order(), &wanted, &centres(&["near", "far"])).unwrap();
    assert_eq!(taken(&pieces), [("A", "far", 1, 0), ("made_to_order", "near", 2, 0), ("unlimited", "near", 1, 0)]);
}

#[test]
fn goods_go_to_the_oldest_promise_first_wherever_they_come_in() {
    let region = centres(&["near", "far"]);
    let mut shelves = shelves(&[("A", "near", 0, 10), ("A", "far", 0, 0)]);
    let (first, second) = (order(), order());
    shelves.hold(first, &lines(&[("A", 3)]), &region).unwrap();
    shelves.hold(second, &lines(&[("A", 2)]), &region).unwrap();
    let waiting = |shelves: &Shelves| shelves.waiting().iter().map(|waiting| waiting.units).collect::<Vec<_>>();
    assert_eq!(waiting(&shelves), [3, 2]);
    shelves.receive(&sku("A"), &centre("near"), 1).unwrap();
    assert_eq!(waiting(&shelves), [2, 2]);
    // They came in elsewhere and are booked where they are owed; only the rest is for sale.
    shelves.receive(&sku("A"), &centre("far"), 6).unwrap();
    assert_eq!(waiting(&shelves), [0, 0]);
    let counts = |at: &str| {
        let row = &shelves.rows[&(sku("A"), centre(at))];
        (row.available, row.held, row.received, row.back_ordered)
    };
    assert_eq!((counts("near"), counts("far")), ((0, 5, 5, 0), (2, 0, 2, 0)));
}

#[test]
fn what_is_given_back_ends_its_own_promise_and_then_the_oldest() {
    let region = centres(&["near"]);
    let mut shelves = shelves(&[("A", "near", 2, 10)]);
    let (early, late) = (order(), order());
    let pieces = shelves.hold(early, &lines(&[("A", 3)]), &region).unwrap();
    shelves.hold(late, &lines(&[("A", 4)]), &region).unwrap();
    shelves.release(early, &pieces).unwrap();
    // One unit was never there; the two that were go to whoever waits.
    assert_eq!(shelves.waiting().iter().map(|waiting| waiting.units).collect::<Vec<_>>(), [0, 2]);
    let row = &shelves.rows[&(sku("A"), centre("near"))];
    assert_eq!((row.available, row.held, row.back_ordered), (0, 4, 2));
    let covered: Vec<_> = shelves.moves().iter().filter(|moved| moved.kind == MovementKind::Covered).collect();
    assert_eq!((covered.len(), covered[0].units), (1, 3));
}

#[test]
fn serial_numbers_follow_each_other_over_all_centres() {
    let region = centres(&["near", "far"]);
    let mut shelves = shelves(&[("A", "near", 2, 0), ("A", "far", 3, 0)]);
    for row in shelves.rows.values_mut() {
        row.kind = SupplyKind::Serialised;
    }
    let mut numbers = Vec::new();
    for quantity in [1, 3, 1] {
        let order = order();
        let pieces = shelves.hold(order, &lines(&[("A", quantity)]), &region).unwrap();
        numbers.extend(shelves.sell(order, &pieces).unwrap().into_iter().map(|(_, number)| number));
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[derive(Clone, Debug)]
enum Scene {
    Hold(Vec<(usize, u32)>),
    Release(usize),
    Sell(usize),
    TakeBack(usize),
    Receive { sku: usize, at: usize, units: u32 },
}

const SKUS: [&str; 3] = ["A", "B", "M"];
const PLACES: [&str; 3] = ["one", "three", "two"];

fn scenes() -> impl Strategy<Value = Vec<Scene>> {
    let basket = prop::collection::btree_map(0..SKUS.len(), 1_u32..8, 1..=3);
    prop::collection::vec(
        prop_oneof![
            4 => basket.prop_map(|basket| Scene::Hold(basket.into_iter().collect())),
            2 => (0_usize..40).prop_map(Scene::Release),
            2 => (0_usize..40).prop_map(Scene::Sell),
            1 => (0_usize..40).prop_map(Scene::TakeBack),
            3 => (0_usize..2, 0..PLACES.len(), 0_u32..12).prop_map(|(sku, at, units)| Scene::Receive { sku, at, units }),
        ],
        1..60,
    )
}

proptest! {
    /// Whatever happens: rows balance, no row has goods for sale and debts, promises add up to debts and stay below the
    /// limit, an order has exactly what it asked for, and nothing is short while there is enough.
    #[test]
    fn allocation_is_exact_after_any_story(scenes in scenes(), limit in 0_i64..12) {
        let region = centres(&["one", "two", "three"]);
        let mut shelves = shelves(&[("A", "one", 0, limit), ("A", "two", 0, 0), ("A", "three", 0, 0), ("B", "two", 0, 0), ("B", "one", 0, limit), ("B", "three", 0, 0)]);
        shelves.rows.insert((sku("M"), centre("one")), StockLevel::empty(SupplyKind::MadeToOrder));
        // An order, its pieces, and whether it was sold.
        let mut held: Vec<(OrderId, Vec<Piece>, bool)> = Vec::new();
        for scene in scenes {
            match scene {
                Scene::Hold(basket) => {
                    let wanted: Vec<_> = basket.iter().map(|(at, units)| (SKUS[*at], *units)).collect();
                    let wanted = lines(&wanted);
                    let possible = wanted.iter().all(|line| {
                        line.sku == sku("M") || {
                            let there: i64 = shelves.rows_of(&line.sku).map(|(_, row)| row.available).sum();
                            let owed: i64 = shelves.rows_of(&line.sku).map(|(_, row)| row.back_ordered).sum();
                            (i64::from(line.quantity) - there).max(0) <= limit - owed
                        }
                    });
                    let id = order();
                    let outcome = shelves.hold(id, &wanted, &region);
                    prop_assert_eq!(outcome.is_ok(), possible);
                    if let Ok(pieces) = outcome {
                        for line in wanted.iter() {
                            let got: u32 = pieces.iter().filter(|piece| piece.sku == line.sku).map(|piece| piece.quantity).sum();
                            prop_assert_eq!(got, line.quantity);
                        }
                        held.push((id, pieces, false));
                    }
                }
                Scene::Release(n) if n < held.len() && !held[n].2 => {
                    let (id, pieces, _) = held.remove(n);
                    shelves.release(id, &pieces).unwrap();
                }
                Scene::Sell(n) if n < held.len() && !held[n].2 => {
                    let (id, pieces) = (held[n].0, held[n].1.clone());
                    shelves.sell(id, &pieces).unwrap();
                    held[n].2 = true;
                }
                Scene::TakeBack(n) if n < held.len() && held[n].2 => {
                    let (id, pieces, _) = held.remove(n);
                    shelves.take_back(id, &pieces).unwrap();
                }
                Scene::Receive { sku: of, at, units } => shelves.receive(&sku(SKUS[of]), &centre(PLACES[at]), units).unwrap(),
                _ => {}
            }
            for (place, row) in &shelves.rows {
                prop_assert!(row.balances(), "{:?} {:?}", place, row);
                prop_assert!(row.available == 0 || row.back_ordered == 0, "{:?} {:?}", place, row);
                prop_assert!(row.back_ordered <= limit);
                let promised: u32 = shelves.waiting.iter().filter(|waiting| waiting.place == *place).map(|waiting| waiting.units).sum();
                prop_assert_eq!(i64::from(promised), row.back_ordered);
                let sum = |kind| -> i64 { shelves.moves.iter().filter(|moved| moved.place == *place && moved.kind == kind).map(|moved| i64::from(moved.units)).sum() };
                prop_assert_eq!(row.held, sum(MovementKind::Held) - sum(MovementKind::Released) - sum(MovementKind::Sold));
                prop_assert_eq!(row.back_ordered, sum(MovementKind::BackOrdered) - sum(MovementKind::Covered));
            }
        }
    }
}
