//! Stories of reservations: each step from each state, as tables.

use super::super::inventory::StockLevel;
use super::super::lines::Line;
use super::*;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn order() -> OrderId {
    OrderId::from_uuid("6f1c1f0e-6a4b-5d9c-9a53-1d2f6b9a7c10".parse().unwrap())
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn near() -> Centre {
    Centre::parse("near").unwrap()
}

fn some_of(text: &str, quantity: u32) -> Lines {
    Lines::new(vec![Line { sku: sku(text), quantity }]).unwrap()
}

fn lines() -> Lines {
    some_of("A", 2)
}

fn asked() -> Asked {
    Asked { order: order(), lines: lines(), options: BTreeMap::new() }
}

fn shelves(available: i64) -> Shelves {
    let level = StockLevel { available, received: available, ..StockLevel::empty(SupplyKind::Counted) };
    Shelves::new(BTreeMap::from([((sku("A"), near()), level)]), Vec::new())
}

fn reserving(current: Option<&Reservation>, available: i64) -> Decision {
    reserve(current, asked(), &mut shelves(available), &Centres::new(near(), []), NOW)
}

fn reservation(status: Status) -> Reservation {
    let version = if matches!(status, Status::Finalised) { 2 } else { 1 };
    let pieces = match status {
        Status::Held | Status::Finalised => vec![Piece::of((sku("A"), near()), 2, 0)],
        Status::Rejected | Status::Released => Vec::new(),
    };
    let held_until = NOW + USUAL_HOLD;
    let options = BTreeMap::new();
    Reservation { order: order(), status, version, lines: lines(), options, pieces, created_at: NOW, held_until }
}

fn sale(kind: SupplyKind) -> Sale {
    let user = UserId::from_uuid(order().uuid());
    let terms = BTreeMap::from([(sku("A"), Term::Months(1))]);
    Sale { user, kinds: BTreeMap::from([(sku("A"), kind)]), terms }
}

/// What a decision comes down to: new status and version, what moves, what is told.
fn summary(decision: Decision) -> Option<(Status, i64, Option<MovementKind>, Vec<&'static str>)> {
    let Decision::Step(step) = decision else { return None };
    let told = step.facts.iter().map(|fact| match fact {
        Fact::Reserved => "reserved",
        Fact::Rejected(_) => "rejected",
        Fact::Released => "released",
        Fact::Finalised => "finalised",
        Fact::Shipped(_) => "shipped",
    });
    Some((step.after.status, step.after.version, step.movements.map(|movements| movements.kind), told.collect()))
}

fn finalised(current: Option<Reservation>, kind: SupplyKind) -> Result<Decision, ReservationError> {
    finalise(current, &lines(), &sale(kind), NOW)
}

#[test]
fn an_order_is_reserved_once_and_never_after_its_tombstone() {
    assert_eq!(summary(reserving(None, 2)), Some((Status::Held, 1, Some(MovementKind::Held), vec!["reserved"])));
    for status in Status::ALL {
        assert_eq!(reserving(Some(&reservation(status)), 2), Decision::Nothing, "{status:?}");
    }
}

#[test]
fn a_rejection_holds_nothing_and_names_the_short_line() {
    assert_eq!(summary(reserving(None, 1)), Some((Status::Rejected, 1, None, vec!["rejected"])));
}

#[test]
fn a_compensation_gives_back_only_what_is_held() {
    let table = [
        (None, Ok(Some((Status::Released, 1, None, vec![])))),
        (Some(Status::Held), Ok(Some((Status::Released, 2, Some(MovementKind::Released), vec!["released"])))),
        (Some(Status::Rejected), Ok(None)),
        (Some(Status::Released), Ok(None)),
        (Some(Status::Finalised), Err(ReservationError::WrongState { from: Status::Finalised, to: Status::Released })),
    ];
    for (status, expected) in table {
        assert_eq!(release(status.map(reservation), order(), NOW).map(summary), expected, "{status:?}");
    }
}

#[test]
fn a_completion_takes_what_is_held_and_waits_for_a_late_order() {
    let sold = (Status::Finalised, 2, Some(MovementKind::Sold), vec!["finalised", "shipped"]);
    let refused = |from| Err(ReservationError::WrongState { from, to: Status::Finalised });
    let table = [
        (None, Err(ReservationError::NotSeenYet)),
        (Some(Status::Held), Ok(Some(sold))),
        (Some(Status::Rejected), refused(Status::Rejected)),
        (Some(Status::Released), refused(Status::Released)),
        (Some(Status::Finalised), Ok(None)),
    ];
    for (status, expected) in table {
        assert_eq!(finalised(status.map(reservation), SupplyKind::Counted).map(summary), expected, "{status:?}");
    }
}

#[test]
fn what_is_used_and_not_sent_is_an_entitlement_and_no_parcel() {
    let decision = finalised(Some(reservation(Status::Held)), SupplyKind::Unlimited).unwrap();
    let Decision::Step(step) = decision.clone() else { panic!("{decision:?}") };
    let granted: Vec<_> = step.granted.iter().map(|granted| (granted.quantity, granted.valid_until)).collect();
    assert_eq!(granted, [(2, "1970-02-01T00:00:00Z".parse().ok())]);
    assert_eq!(summary(decision), Some((Status::Finalised, 2, Some(MovementKind::Sold), vec!["finalised"])));
}

#[test]
fn each_parcel_of_an_order_is_told_with_a_version_of_its_own() {
    let mut current = reservation(Status::Held);
    let at = |name: &str| Centre::parse(name).unwrap();
    current.pieces = ["far", "near", "west"].map(|name| Piece::of((sku("A"), at(name)), 1, 0)).to_vec();
    current.pieces[2].waiting = 1;
    let Decision::Step(step) = finalised(Some(current), SupplyKind::Counted).unwrap() else { panic!("a step") };
    let versions: Vec<i64> = step.told().map(|(version, _)| version).collect();
    assert_eq!((versions, step.after.version, step.shipments.len()), (vec![2, 2, 3], 3, 3));
    // The third waits for its goods and is told when they are there.
    let mut current = step.after;
    let kinds = sale(SupplyKind::Counted).kinds;
    assert_eq!(send(current.clone(), &[at("west")], &kinds, NOW), Decision::Nothing);
    current.pieces[2].waiting = 0;
    assert_eq!(send(current.clone(), &[], &kinds, NOW), Decision::Nothing);
    let Decision::Step(step) = send(current, &[at("west")], &kinds, NOW) else { panic!("a step") };
    assert_eq!(step.told().map(|(version, _)| version).collect::<Vec<_>>(), [4]);
    assert_eq!(step.shipments.iter().map(|parcel| parcel.centre.as_str()).collect::<Vec<_>>(), ["west"]);
}

#[test]
fn a_completion_with_other_lines_is_refused() {
    assert_eq!(
        finalise(Some(reservation(Status::Held)), &some_of("A", 3), &sale(SupplyKind::Counted), NOW),
        Err(ReservationError::LinesDiffer)
    );
}

#[test]
fn a_hold_is_extended_forward_only_and_moves_nothing() {
    let later = NOW + USUAL_HOLD + TimeDelta::seconds(1);
    assert_eq!(extend(None, later, NOW), Err(ReservationError::NotSeenYet));
    assert_eq!(extend(Some(reservation(Status::Held)), NOW + USUAL_HOLD, NOW), Ok(Decision::Nothing));
    for status in [Status::Rejected, Status::Released, Status::Finalised] {
        assert_eq!(extend(Some(reservation(status)), later, NOW), Ok(Decision::Nothing), "{status:?}");
    }
    let decision = extend(Some(reservation(Status::Held)), later, NOW).unwrap();
    let Decision::Step(step) = decision.clone() else { panic!("{decision:?}") };
    assert_eq!(step.after.held_until, later);
    assert_eq!(summary(decision), Some((Status::Held, 2, None, vec![])));
}

#[test]
fn no_more_comes_back_than_was_sold() {
    let back = |current: Option<Reservation>, lines: Option<&Lines>| take_back(current, lines, NOW);
    assert_eq!(back(None, None), Err(ReservationError::NotSeenYet));
    assert_eq!(back(Some(reservation(Status::Held)), None), Err(ReservationError::NotSeenYet));
    assert_eq!(back(Some(reservation(Status::Released)), None), Ok(Decision::Nothing));
    let sold = || Some(reservation(Status::Finalised));
    for too_much in [some_of("A", 3), some_of("B", 1)] {
        assert!(matches!(back(sold(), Some(&too_much)), Err(ReservationError::ReturnsTooMuch(_))));
    }
    let Decision::Step(step) = back(sold(), Some(&some_of("A", 1))).unwrap() else { panic!("a step") };
    assert_eq!((step.after.version, step.revoked.clone()), (3, vec![(sku("A"), 1)]));
    let both = back(Some(step.after.clone()), Some(&some_of("A", 2)));
    assert!(matches!(both, Err(ReservationError::ReturnsTooMuch(_))), "one of the two came back before");
    // The rest comes back once, and then nothing is left.
    let Decision::Step(rest) = back(Some(step.after), None).unwrap() else { panic!("a step") };
    assert_eq!(rest.movements.map(|movements| movements.pieces[0].quantity), Some(1));
    assert_eq!(back(Some(rest.after), None), Ok(Decision::Nothing));
}

/// Two units of one line, each in a centre of its own: where they are decides what comes back, whatever was refunded.
#[test]
fn what_has_left_the_house_does_not_come_back_with_its_money() {
    use SupplyKind::{Counted, MadeToOrder, Serialised, Unlimited};
    let at = |name: &str| Centre::parse(name).unwrap();
    let back = |sold: &Reservation, units: Option<u32>| {
        let lines = units.map(|units| some_of("A", units));
        let pieces = |decision: Decision| match decision {
            Decision::Step(step) => step.movements.map(|moved| moved.pieces).unwrap_or_default(),
            Decision::Nothing => Vec::new(),
        };
        let places = |pieces: Vec<Piece>| pieces.iter().map(|piece| piece.centre.to_string()).collect::<Vec<_>>();
        take_back(Some(sold.clone()), lines.as_ref(), NOW).map(pieces).map(places)
    };
    // What the parcels of near and west wait for, and whose units come back.
    let table: [(SupplyKind, [u32; 2], &[&str]); 6] = [
        (Counted, [1, 1], &["near", "west"]),
        (Counted, [0, 0], &[]),
        (Counted, [0, 1], &["west"]),
        (Serialised, [1, 0], &["near"]),
        (MadeToOrder, [0, 0], &[]),
        (Unlimited, [0, 0], &["near", "west"]),
    ];
    for (kind, waiting, expected) in table {
        let pieces = ["near", "west"].into_iter().zip(waiting);
        let pieces = pieces.map(|(name, waiting)| Piece::of((sku("A"), at(name)), 1, waiting)).collect();
        let held = Reservation { pieces, ..reservation(Status::Held) };
        let Decision::Step(step) = finalised(Some(held), kind).unwrap() else { panic!("a step") };
        let mut sold = step.after;
        let told = format!("{kind:?}, waiting {waiting:?}");
        for units in [None, Some(2)] {
            assert_eq!(back(&sold, units).unwrap(), expected, "{told}, {units:?} asked: what left the house stays out");
        }
        assert_eq!(back(&sold, Some(1)).unwrap(), expected.get(..1).unwrap_or_default(), "{told}");
        assert_eq!(back(&sold, Some(3)), Err(ReservationError::ReturnsTooMuch(sku("A"))), "{told}");
        // Once their goods are there, the parcels that waited are out as well.
        if waiting != [0, 0] {
            for piece in &mut sold.pieces {
                piece.waiting = 0;
            }
            let centres: Vec<_> = expected.iter().copied().map(at).collect();
            let Decision::Step(step) = send(sold, &centres, &sale(kind).kinds, NOW) else { panic!("a step") };
            assert_eq!(back(&step.after, None).unwrap(), [""; 0], "{told}, then sent");
        }
    }
}

#[test]
fn no_decision_takes_a_step_that_is_not_legal() {
    let mut taken = std::collections::HashSet::new();
    for current in [None, Some(Status::Held), Some(Status::Rejected), Some(Status::Released), Some(Status::Finalised)] {
        let now = current.map(reservation);
        let decisions = [
            Ok(reserving(now.as_ref(), 2)),
            Ok(reserving(now.as_ref(), 1)),
            release(now.clone(), order(), NOW),
            finalised(now.clone(), SupplyKind::Counted),
            extend(now.clone(), NOW + USUAL_HOLD * 2, NOW),
            take_back(now, None, NOW),
        ];
        for decision in decisions.into_iter().flatten() {
            if let Decision::Step(step) = decision {
                assert!(step.is_legal(), "{step:?}");
                taken.insert((current, step.after.status));
            }
        }
    }
    assert_eq!(taken, LEGAL_STEPS.into_iter().collect(), "every legal step is taken by some decision");
    for status in Status::ALL {
        assert_eq!(status.code().parse(), Ok(status));
    }
}
