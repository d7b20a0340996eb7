//! A promotion as somebody wants it, before it is one. Decided here: every rule a text from outside must keep to become part of
//! a [`Promotion`]. All faults are told at once, each with a pointer to its place.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use common::{FieldProblem, Region, Sku};

use super::price::PriceList;
use super::product::CategoryPath;
use super::promotion::{Coupon, CouponCode, Off, Promotion, PromotionId, Target};

const MAX_TITLE: usize = 200;
/// Products or categories of one promotion: each basket compares its lines with them.
const MAX_TARGETS: usize = 500;
/// Priorities to either side of zero.
const MOST_PRIORITY: i32 = 1_000;
/// More uses than any shop has orders; below it, nothing overflows.
const MOST_USES: u32 = 1_000_000_000;

/// Texts as they came.
#[derive(Clone, Debug, Default)]
pub struct PromotionDraft {
    pub id: String,
    pub title: String,
    /// Such as `15` or `12.5`.
    pub percent: Option<String>,
    /// Currency code and amount.
    pub amount: Option<Vec<(String, String)>>,
    pub target: TargetDraft,
    pub regions: Vec<String>,
    pub from: Option<String>,
    pub until: Option<String>,
    pub priority: i32,
    pub stacks: bool,
    pub coupon: Option<CouponDraft>,
}

#[derive(Clone, Debug, Default)]
pub struct TargetDraft {
    pub basket: bool,
    pub categories: Vec<String>,
    pub skus: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct CouponDraft {
    pub code: String,
    pub most_uses: Option<u32>,
    pub most_per_person: Option<u32>,
}

impl PromotionDraft {
    /// The promotion, if every field is acceptable.
    ///
    /// # Errors
    /// All faults.
    pub fn check(self) -> Result<Promotion, Vec<FieldProblem>> {
        let mut faults = Faults(Vec::new());
        let id = faults.keep("/id", PromotionId::parse(&self.id));
        let letters = self.title.chars().count();
        if !(1..=MAX_TITLE).contains(&letters) || self.title.chars().any(char::is_control) {
            faults.add("/title", format!("1 to {MAX_TITLE} characters on one line"));
        }
        let off = faults.off(self.percent.as_deref(), self.amount.as_deref());
        let target = faults.target(&self.target);
        let regions = faults.regions(&self.regions);
        let from = self.from.as_deref().and_then(|text| faults.instant("/from", text));
        let until = self.until.as_deref().and_then(|text| faults.instant("/until", text));
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            faults.add("/until", "is after from");
        }
        if self.priority.abs() > MOST_PRIORITY {
            faults.add("/priority", format!("is -{MOST_PRIORITY} to {MOST_PRIORITY}"));
        }
        let coupon = self.coupon.and_then(|coupon| faults.coupon(&coupon));
        match (id, off, target) {
            (Some(id), Some(off), Some(target)) if faults.0.is_empty() => Ok(Promotion {
                id,
                title: self.title,
                off,
                target,
                regions,
                from,
                until,
                priority: self.priority,
                stacks: self.stacks,
                coupon,
            }),
            _ => Err(faults.0),
        }
    }
}

/// Hundredths of a percent, of at most two digits after the point. `None` for anything that is not above 0 and below 100.
pub fn percent(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 2) || !digits(part, 2) {
        return None;
    }
    let hundredths = whole.parse::<u32>().ok()? * 100 + format!("{part:0<2}").parse::<u32>().ok()?;
    (1..=Off::MOST_PERCENT).contains(&hundredths).then_some(hundredths)
}

/// Hundredths of a percent as text: `12.50`.
pub fn percent_text(hundredths: u32) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

struct Faults(Vec<FieldProblem>);

impl Faults {
    fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.0.push(FieldProblem::new(pointer, "invalid", message));
    }

    fn keep<T, E: std::fmt::Display>(&mut self, pointer: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(pointer, error.to_string())).ok()
    }

    fn off(&mut self, wanted: Option<&str>, amount: Option<&[(String, String)]>) -> Option<Off> {
        match (wanted, amount) {
            (Some(text), None) => {
                let hundredths = percent(text).ok_or("above 0 and below 100, with at most two digits after the point");
                self.keep("/percent", hundredths).map(Off::Percent)
            }
            (None, Some(amounts)) if !amounts.is_empty() => {
                let mut prices = Vec::new();
                for (currency, amount) in amounts {
                    prices.extend(self.keep(&format!("/amount/{currency}"), PriceList::parse_one(currency, amount)));
                }
                self.keep("/amount", PriceList::new(prices)).map(Off::Amount)
            }
            _ => {
                self.add("/percent", "a promotion has either a percentage or an amount");
                None
            }
        }
    }

    fn target(&mut self, target: &TargetDraft) -> Option<Target> {
        let kinds = usize::from(target.basket)
            + usize::from(!target.categories.is_empty())
            + usize::from(!target.skus.is_empty());
        if kinds != 1 || target.categories.len().max(target.skus.len()) > MAX_TARGETS {
            self.add("/target", format!("either the basket, or 1 to {MAX_TARGETS} categories, or as many products"));
            return None;
        }
        let (mut categories, mut skus) = (BTreeSet::new(), BTreeSet::new());
        for (place, text) in target.categories.iter().enumerate() {
            categories.extend(self.keep(&format!("/target/categories/{place}"), CategoryPath::parse(text)));
        }
        for (place, text) in target.skus.iter().enumerate() {
            skus.extend(self.keep(&format!("/target/skus/{place}"), Sku::parse(text)));
        }
        Some(match target {
            TargetDraft { basket: true, .. } => Target::Basket,
            _ if !skus.is_empty() => Target::Products(skus.into_iter().collect()),
            _ => Target::Categories(categories.into_iter().collect()),
        })
    }

    fn regions(&mut self, texts: &[String]) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            match text.parse() {
                Ok(region) if !regions.contains(&region) => regions.push(region),
                Ok(_) => self.add(&format!("/regions/{place}"), "is named twice"),
                Err(_) => self.add(&format!("/regions/{place}"), "is not a region"),
            }
        }
        regions
    }

    /// Kept to the millisecond, as the store keeps it.
    fn instant(&mut self, pointer: &str, text: &str) -> Option<DateTime<Utc>> {
        let instant = DateTime::parse_from_rfc3339(text).ok();
        let instant = instant.and_then(|at| DateTime::from_timestamp_millis(at.timestamp_millis()));
        self.keep(pointer, instant.ok_or("is a time as RFC 3339 writes it"))
    }

    fn coupon(&mut self, draft: &CouponDraft) -> Option<Coupon> {
        for (pointer, most) in
            [("/coupon/most_uses", draft.most_uses), ("/coupon/most_per_person", draft.most_per_person)]
        {
            if most.is_some_and(|most| !(1..=MOST_USES).contains(&most)) {
                self.add(pointer, format!("is 1 to {MOST_USES}; leave it out for no limit"));
            }
        }
        let code = self.keep("/coupon/code", CouponCode::parse(&draft.code))?;
        Some(Coupon { code, most_uses: draft.most_uses, most_per_person: draft.most_per_person })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> PromotionDraft {
        PromotionDraft {
            id: "autumn".to_owned(),
            title: "Autumn".to_owned(),
            percent: Some("12.5".to_owned()),
            target: TargetDraft { basket: true, ..TargetDraft::default() },
            ..PromotionDraft::default()
        }
    }

    fn faults(draft: PromotionDraft) -> Vec<String> {
        draft.check().err().unwrap_or_default().into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn a_percentage_is_above_nothing_and_below_everything() {
        let table = [
            ("12.5", Some(1250)),
            ("0.01", Some(1)),
            ("99.99", Some(9_999)),
            ("7", Some(700)),
            ("05.50", Some(550)),
            ("0", None),
            ("0.00", None),
            ("100", None),
            ("1.234", None),
            ("-5", None),
            ("1e1", None),
            (".5", None),
            ("5.", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(percent(text), expected, "{text:?}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once_and_what_is_right_is_kept() {
        assert_eq!(faults(draft()), [""; 0]);
        let wrong = PromotionDraft {
            id: "No Good".to_owned(),
            title: String::new(),
            amount: Some(vec![("EUR".to_owned(), "5.00".to_owned())]),
            target: TargetDraft { basket: true, categories: vec!["a".to_owned()], ..TargetDraft::default() },
            regions: vec!["mars".to_owned()],
            from: Some("2026-02-01T00:00:00Z".to_owned()),
            until: Some("2026-01-01T00:00:00Z".to_owned()),
            priority: 1_001,
            coupon: Some(CouponDraft { code: "a b".to_owned(), most_uses: Some(0), most_per_person: None }),
            ..draft()
        };
        let expected = [
            "/id",
            "/title",
            "/percent",
            "/target",
            "/regions/0",
            "/until",
            "/priority",
            "/coupon/most_uses",
            "/coupon/code",
        ];
        assert_eq!(faults(wrong), expected);
        let neither = PromotionDraft { percent: None, ..draft() };
        assert_eq!(faults(neither), ["/percent"]);
        let free = PromotionDraft {
            percent: None,
            amount: Some(vec![("EUR".to_owned(), "0.00".to_owned()), ("XXX".to_owned(), "1".to_owned())]),
            ..draft()
        };
        assert_eq!(faults(free), ["/amount/EUR", "/amount/XXX"]);
    }

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = |text: &str| CouponCode::parse(text).map(|code| code.to_string()).ok();
        assert_eq!(code(" autumn-10 ").as_deref(), Some("AUTUMN-10"));
        for wrong in ["", "ab", "a b c", "ä10", "x_y", &"A".repeat(33)] {
            assert_eq!(code(wrong), None, "{wrong:?}");
        }
    }
}
