//! The book of promotions: what is offered when, and whose a code is.

use chrono::Duration;
use common::UserId;

use super::super::promotion::{Coupon, Off, Target};
use super::*;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::minutes(minutes)
}

fn promotion(id: &str, priority: i32, code: Option<&str>) -> Promotion {
    let coupon =
        code.map(|code| Coupon { code: CouponCode::parse(code).unwrap(), most_uses: Some(100), most_per_person: None });
    Promotion {
        id: PromotionId::parse(id).unwrap(),
        title: id.to_owned(),
        off: Off::Percent(1_000),
        target: Target::Basket,
        regions: Vec::new(),
        from: Some(at(10)),
        until: Some(at(20)),
        priority,
        stacks: true,
        coupon,
    }
}

fn ended(id: &str) -> PromotionState {
    PromotionState::Ended(PromotionId::parse(id).unwrap())
}

fn change(number: i64, state: PromotionState) -> PromotionRevision {
    let changed_by = UserId::from_uuid(common::ids::random());
    PromotionRevision { number, state, changed_at: at(0), changed_by }
}

fn book(changes: Vec<PromotionState>) -> PromotionBook {
    let mut book = PromotionBook::default();
    for (number, state) in (1..).zip(changes) {
        book.follow(change(number, state)).unwrap();
    }
    book
}

fn offered(book: &PromotionBook, minutes: i64, code: Option<&str>) -> Vec<String> {
    let code = code.map(|code| CouponCode::parse(code).unwrap());
    let offers = book.offers(Region::Eu, at(minutes), code.as_ref());
    offers.into_iter().map(|standing| standing.promotion.id.to_string()).collect()
}

#[test]
fn offers_come_by_priority_while_they_are_in_force_and_a_coupon_brings_its_own() {
    let live = |id, priority, code| PromotionState::Live(promotion(id, priority, code));
    let abroad = Promotion { regions: vec![Region::Us], ..promotion("abroad", 9, None) };
    let book = book(vec![
        live("b", 1, None),
        live("a", 1, None),
        live("first", 2, Some("FIRST")),
        PromotionState::Live(abroad),
        live("gone", 5, None),
        ended("gone"),
    ]);
    assert_eq!(offered(&book, 10, None), ["a", "b"]);
    assert_eq!(offered(&book, 19, Some("first")), ["first", "a", "b"]);
    assert_eq!(offered(&book, 19, Some("other")), ["a", "b"]);
    assert_eq!(offered(&book, 9, Some("first")), [""; 0]);
    assert_eq!(offered(&book, 20, Some("first")), [""; 0], "the end is not in it");
    let coupon = |code: &str, minutes| {
        let standing = book.coupon(&CouponCode::parse(code).unwrap(), Region::Eu, at(minutes));
        match standing {
            CouponStanding::Good(standing) => format!("{}", standing.revision),
            other => format!("{other:?}"),
        }
    };
    assert_eq!([coupon("first", 15), coupon("first", 20), coupon("none", 15)], ["3", "NotNow", "Unknown"]);
}

#[test]
fn changes_follow_each_other_without_a_gap() {
    let mut book = book(vec![PromotionState::Live(promotion("a", 0, None))]);
    for number in [0, 1, 3] {
        assert!(book.follow(change(number, ended("a"))).is_err());
    }
    assert_eq!((book.number(), book.all().count()), (1, 1));
    book.follow(change(2, ended("a"))).unwrap();
    assert_eq!((book.number(), book.all().count()), (2, 0));
}

#[test]
fn a_code_belongs_to_one_promotion_at_a_time() {
    let live = |id, code| PromotionState::Live(promotion(id, 0, code));
    let mut book = book(vec![live("a", Some("CODE"))]);
    assert_eq!(book.step_to(&live("b", Some("code"))), Err(StepProblem::CodeTaken));
    assert_eq!(book.step_to(&live("a", Some("CODE"))), Ok(Step::Unchanged { revision: 1 }));
    assert_eq!(book.step_to(&live("a", Some("OTHER"))), Ok(Step::Next { number: 2, created: false }));
    assert_eq!(book.step_to(&ended("b")), Err(StepProblem::NotThere));
    book.follow(change(2, live("a", Some("OTHER")))).unwrap();
    assert_eq!(book.step_to(&live("b", Some("CODE"))), Ok(Step::Next { number: 3, created: true }));
    book.follow(change(3, ended("a"))).unwrap();
    assert_eq!(book.step_to(&live("b", Some("OTHER"))), Ok(Step::Next { number: 4, created: true }));
}
