//! What a shopper asks for, once it can only be right: lines merged and counted, an address of this region, a token instead
//! of a card. Not decided here: prices and stock, which are the catalog's.

use std::fmt;

use common::{FieldProblem, Money, Private, Region, Sku, TaxPlace};
use sha2::{Digest as _, Sha256};

use super::address::{ShippingAddress, unfit};
use super::card_data::looks_like_card_data;
use super::coupon::CouponCode;
use super::price_lock::LockText;

/// Lines of one order after merging: a large basket, and few enough to be reserved in one short transaction.
pub const MOST_LINES: usize = 50;
/// Units of one product in one order; more is wholesale.
pub const MOST_UNITS: u32 = 99;
/// Choices for one made-to-order product.
const MOST_OPTIONS: usize = 10;
const LONGEST_OPTION: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasketLine {
    pub sku: Sku,
    /// 1 to [`MOST_UNITS`].
    pub quantity: u32,
    /// Sorted by key.
    pub options: Vec<(String, String)>,
}

/// A reference to a card in the gateway's vault: `pm_` or `tok_` and 2 to 64 letters, digits or underscores.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentToken(String);

impl PaymentToken {
    /// `None` for anything else; a card number never is one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("tok_").or_else(|| text.strip_prefix("pm_"))?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        ((2..=64).contains(&rest.len()) && rest.bytes().all(known)).then(|| Self(text.to_owned()))
    }

    /// What stands where no card is charged. Nothing is ever sent with it.
    pub fn unused() -> Self {
        Self("tok_store_credit".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PaymentToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PaymentToken(***)")
    }
}

/// How much of an order its shopper wants to pay with store credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditWish {
    Nothing,
    /// As much as there is; a card pays the rest.
    AsMuchAsThereIs,
    /// This much; a card pays the rest.
    Amount(Money),
    /// All of it, without a card.
    Everything,
}

/// The command: everything the shopper decided, nothing the shop decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceOrder {
    /// 1 to [`MOST_LINES`], each SKU once, in the order of first mention.
    pub lines: Vec<BasketLine>,
    pub address: Private<ShippingAddress>,
    /// Where the tax is owed: told by the address.
    pub place: TaxPlace,
    /// Stands there unused when store credit pays everything.
    pub token: Private<PaymentToken>,
    pub credit: CreditWish,
    /// What the shopper saw; never the price.
    pub expected_total: Money,
    /// The prices the shopper was promised.
    pub price_lock: Option<LockText>,
    pub coupon: Option<CouponCode>,
}

/// A line as it came in.
#[derive(Clone, Debug)]
pub struct RawLine {
    pub sku: String,
    pub quantity: u32,
    pub options: Vec<(String, String)>,
}

/// A wish for store credit as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RawCredit {
    #[default]
    Nothing,
    AsMuchAsThereIs,
    /// Decimal text and currency code.
    Amount(String, String),
}

/// A whole request as it came in, typed but not yet judged.
#[derive(Clone, Debug)]
pub struct RawOrder {
    pub lines: Vec<RawLine>,
    pub address: Private<ShippingAddress>,
    pub method: String,
    pub token: Private<String>,
    pub credit: RawCredit,
    /// Decimal text and currency code.
    pub expected_total: (String, String),
    pub price_lock: Option<LockText>,
    pub coupon: Option<String>,
}

/// Why a basket is refused. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasketProblem {
    /// Where card data stands; the text itself is not repeated.
    CardData { pointer: String },
    /// All other fields at fault.
    Fields(Vec<FieldProblem>),
}

impl PlaceOrder {
    /// Judges the whole request, so that the shopper learns of all mistakes at once. Card data is looked for first and in
    /// every text: nothing else about such a request matters.
    ///
    /// # Errors
    /// [`BasketProblem`] with JSON pointers into the request.
    pub fn check(raw: RawOrder, region: Region) -> Result<Self, BasketProblem> {
        if let Some(pointer) = card_data_in(&raw) {
            return Err(BasketProblem::CardData { pointer });
        }
        let mut problems = Vec::new();
        let lines = merged(raw.lines, &mut problems);
        if lines.is_empty() && problems.is_empty() {
            problems.push(invalid("/lines", "must have at least one line"));
        }
        problems.extend(raw.address.open().problems(region));
        let place = raw.address.open().tax_place(region);
        let (token, credit) = payment(&raw.method, raw.token.open(), &raw.credit, region, &mut problems);
        let total = expected_total(&raw.expected_total, region, &mut problems);
        let coupon = raw.coupon.as_deref().and_then(|text| {
            let code = CouponCode::parse(text);
            if code.is_none() {
                problems.push(invalid("/coupon", "3 to 32 letters, digits or hyphens"));
            }
            code
        });
        match (token, total, place) {
            (Some(token), Some(expected_total), Some(place)) if problems.is_empty() => Ok(Self {
                lines,
                address: raw.address,
                place,
                token: Private::new(token),
                credit,
                expected_total,
                price_lock: raw.price_lock,
                coupon,
            }),
            _ => Err(BasketProblem::Fields(problems)),
        }
    }

    /// SHA-256 of everything the shopper decided: equal for two requests that mean the same, however they were written.
    /// Each part carries its length, so that no two lists of parts look alike.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by(|one, other| one.sku.cmp(&other.sku));
        add(&lines.len().to_string());
        for line in lines {
            add(line.sku.as_str());
            add(&line.quantity.to_string());
            add(&line.options.len().to_string());
            for (key, value) in &line.options {
                add(key);
                add(value);
            }
        }
        let address = self.address.open();
        for part in [&address.name, &address.line1, &address.city, &address.postal_code, &address.country] {
            add(part);
        }
        add(if address.line2.is_some() { "1" } else { "0" });
        add(address.line2.as_deref().unwrap_or_default());
        add(self.token.open().as_str());
        add(&self.expected_total.minor().to_string());
        add(self.expected_total.currency().code());
        // Nothing is added without a wish: an order placed before there was store credit keeps its fingerprint.
        match self.credit {
            CreditWish::Nothing => {}
            CreditWish::AsMuchAsThereIs => add("credit: as much as there is"),
            CreditWish::Amount(amount) => add(&format!("credit: {amount}")),
            CreditWish::Everything => add("credit: everything"),
        }
        // Requests from before there were locks keep their fingerprints.
        if let Some(lock) = &self.price_lock {
            add(lock.open());
        }
        if let Some(code) = &self.coupon {
            add(&format!("coupon: {code}"));
        }
        digest.finalize().into()
    }
}

/// The card and the wish for store credit. A card is needed unless store credit pays everything.
fn payment(
    method: &str,
    token: &str,
    credit: &RawCredit,
    region: Region,
    problems: &mut Vec<FieldProblem>,
) -> (Option<PaymentToken>, CreditWish) {
    if method == "store_credit" {
        if !token.is_empty() {
            problems.push(invalid("/payment/token", "store credit alone needs no card"));
        }
        if *credit != RawCredit::Nothing {
            problems.push(invalid("/payment/store_credit", "store credit alone pays everything"));
        }
        return (Some(PaymentToken::unused()), CreditWish::Everything);
    }
    if method != "card" {
        problems.push(invalid("/payment/method", "must be card or store_credit"));
    }
    let token = PaymentToken::parse(token);
    if token.is_none() {
        problems.push(invalid("/payment/token", "not a payment token"));
    }
    let credit = match credit {
        RawCredit::Nothing => CreditWish::Nothing,
        RawCredit::AsMuchAsThereIs => CreditWish::AsMuchAsThereIs,
        RawCredit::Amount(amount, currency) => {
            let amount = Money::parse(amount, region.currency()).ok().filter(|amount| amount.minor() > 0);
            match amount.filter(|amount| amount.currency().code() == currency) {
                Some(amount) => CreditWish::Amount(amount),
                None => {
                    problems
                        .push(invalid("/payment/store_credit", "true, or a positive amount in the region's currency"));
                    CreditWish::Nothing
                }
            }
        }
    };
    (token, credit)
}

fn card_data_in(raw: &RawOrder) -> Option<String> {
    if let Some((pointer, _)) = raw.address.open().texts().find(|(_, text)| looks_like_card_data(text)) {
        return Some(pointer.to_owned());
    }
    if looks_like_card_data(raw.token.open()) {
        return Some("/payment/token".to_owned());
    }
    if raw.coupon.as_deref().is_some_and(looks_like_card_data) {
        return Some("/coupon".to_owned());
    }
    raw.lines.iter().position(suspicious).map(|index| format!("/lines/{index}"))
}

fn suspicious(line: &RawLine) -> bool {
    looks_like_card_data(&line.sku)
        || line.options.iter().any(|(key, value)| looks_like_card_data(key) || looks_like_card_data(value))
}

fn merged(raw: Vec<RawLine>, problems: &mut Vec<FieldProblem>) -> Vec<BasketLine> {
    let mut lines: Vec<BasketLine> = Vec::new();
    for (index, line) in raw.into_iter().enumerate() {
        let Some(line) = checked(line, index, problems) else { continue };
        let full = lines.len() == MOST_LINES;
        match lines.iter_mut().find(|known| known.sku == line.sku) {
            Some(known) if known.options != line.options => {
                problems.push(invalid(
                    &format!("/lines/{index}/options"),
                    "one product can be ordered with one choice of options at a time",
                ));
            }
            Some(known) => {
                known.quantity = known.quantity.saturating_add(line.quantity);
                if known.quantity > MOST_UNITS {
                    problems.push(invalid(
                        &format!("/lines/{index}/quantity"),
                        &format!("at most {MOST_UNITS} units of one product"),
                    ));
                }
            }
            None if full => {
                problems.push(invalid("/lines", &format!("at most {MOST_LINES} different products")));
                return lines;
            }
            None => lines.push(line),
        }
    }
    lines
}

/// The lines of a basket: the same rules as for an order, but there may be none.
///
/// # Errors
/// [`BasketProblem`] with JSON pointers below `/lines`.
pub fn basket_lines(raw: Vec<RawLine>) -> Result<Vec<BasketLine>, BasketProblem> {
    if let Some(index) = raw.iter().position(suspicious) {
        return Err(BasketProblem::CardData { pointer: format!("/lines/{index}") });
    }
    let mut problems = Vec::new();
    let lines = merged(raw, &mut problems);
    if problems.is_empty() { Ok(lines) } else { Err(BasketProblem::Fields(problems)) }
}

fn checked(line: RawLine, index: usize, problems: &mut Vec<FieldProblem>) -> Option<BasketLine> {
    let known = problems.len();
    let sku = Sku::parse(&line.sku)
        .map_err(|error| problems.push(invalid(&format!("/lines/{index}/sku"), &error.to_string())));
    if !(1..=MOST_UNITS).contains(&line.quantity) {
        problems.push(invalid(&format!("/lines/{index}/quantity"), &format!("must be between 1 and {MOST_UNITS}")));
    }
    let mut options = line.options;
    options.sort();
    let key_fits = |key: &str| {
        (1..=32).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if options.len() > MOST_OPTIONS
        || options.iter().any(|(key, value)| !key_fits(key) || unfit(value, LONGEST_OPTION).is_some())
    {
        let rule = format!(
            "at most {MOST_OPTIONS} options; keys of lower-case letters, digits, underscores; values up to {LONGEST_OPTION} characters"
        );
        problems.push(invalid(&format!("/lines/{index}/options"), &rule));
    }
    match sku {
        Ok(sku) if problems.len() == known => Some(BasketLine { sku, quantity: line.quantity, options }),
        _ => None,
    }
}

fn expected_total(
    (amount, currency): &(String, String),
    region: Region,
    problems: &mut Vec<FieldProblem>,
) -> Option<Money> {
    if currency != region.currency().code() {
        problems
            .push(invalid("/expected_total/currency", &format!("prices of this region are in {}", region.currency())));
        return None;
    }
    match Money::parse(amount, region.currency()) {
        Ok(total) if total.minor() > 0 => Some(total),
        Ok(_) => {
            problems.push(invalid("/expected_total/amount", "must be more than zero"));
            None
        }
        Err(error) => {
            problems.push(invalid("/expected_total/amount", &error.to_string()));
            None
        }
    }
}

fn invalid(pointer: &str, message: &str) -> FieldProblem {
    FieldProblem::new(pointer, "invalid-field", message)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn a_raw_order() -> RawOrder {
        let address = ShippingAddress {
            name: "Ada Lovelace".to_owned(),
            line1: "Zeil 1".to_owned(),
            line2: None,
            city: "Frankfurt".to_owned(),
            postal_code: "60313".to_owned(),
            country: "DE".to_owned(),
        };
        RawOrder {
            lines: vec![line("LAMP-1", 1)],
            address: Private::new(address),
            method: "card".to_owned(),
            token: Private::new("tok_ok".to_owned()),
            credit: RawCredit::Nothing,
            expected_total: ("49.90".to_owned(), "EUR".to_owned()),
            price_lock: None,
            coupon: None,
        }
    }

    pub fn a_command() -> PlaceOrder {
        PlaceOrder::check(a_raw_order(), Region::Eu).unwrap()
    }

    fn line(sku: &str, quantity: u32) -> RawLine {
        RawLine { sku: sku.to_owned(), quantity, options: Vec::new() }
    }

    fn pointers(raw: RawOrder) -> Vec<String> {
        match PlaceOrder::check(raw, Region::Eu) {
            Ok(_) => Vec::new(),
            Err(BasketProblem::CardData { pointer }) => vec![format!("card {pointer}")],
            Err(BasketProblem::Fields(problems)) => problems.into_iter().map(|problem| problem.pointer).collect(),
        }
    }

    #[test]
    fn one_product_named_twice_is_one_line() {
        let raw = RawOrder { lines: vec![line("B", 1), line("A", 2), line("B", 3)], ..a_raw_order() };
        let command = PlaceOrder::check(raw, Region::Eu).unwrap();
        let lines: Vec<_> = command.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        assert_eq!(lines, [("B", 4), ("A", 2)]);
    }

    #[test]
    fn every_broken_rule_is_named_by_its_place() {
        let many = |count: usize| (0..count).map(|index| line(&format!("S{index}"), 1)).collect::<Vec<_>>();
        let table = [
            (RawOrder { lines: Vec::new(), ..a_raw_order() }, vec!["/lines"]),
            (RawOrder { lines: many(50), ..a_raw_order() }, vec![]),
            (RawOrder { lines: many(1000), ..a_raw_order() }, vec!["/lines"]),
            (
                RawOrder { lines: vec![line("A", 0), line("$where", 100)], ..a_raw_order() },
                vec!["/lines/0/quantity", "/lines/1/sku", "/lines/1/quantity"],
            ),
            (RawOrder { lines: vec![line("A", 60), line("A", 60)], ..a_raw_order() }, vec!["/lines/1/quantity"]),
            (
                RawOrder { method: "cash".to_owned(), token: Private::new("card".to_owned()), ..a_raw_order() },
                vec!["/payment/method", "/payment/token"],
            ),
            (RawOrder { method: "store_credit".to_owned(), ..a_raw_order() }, vec!["/payment/token"]),
            (
                RawOrder {
                    method: "store_credit".to_owned(),
                    token: Private::new(String::new()),
                    credit: RawCredit::AsMuchAsThereIs,
                    ..a_raw_order()
                },
                vec!["/payment/store_credit"],
            ),
            (
                RawOrder { method: "store_credit".to_owned(), token: Private::new(String::new()), ..a_raw_order() },
                vec![],
            ),
            (
                RawOrder { credit: RawCredit::Amount("0.00".to_owned(), "EUR".to_owned()), ..a_raw_order() },
                vec!["/payment/store_credit"],
            ),
            (
                RawOrder { credit: RawCredit::Amount("1.00".to_owned(), "USD".to_owned()), ..a_raw_order() },
                vec!["/payment/store_credit"],
            ),
            (RawOrder { credit: RawCredit::AsMuchAsThereIs, ..a_raw_order() }, vec![]),
            (
                RawOrder { expected_total: ("49.90".to_owned(), "USD".to_owned()), ..a_raw_order() },
                vec!["/expected_total/currency"],
            ),
            (
                RawOrder { expected_total: ("-1".to_owned(), "EUR".to_owned()), ..a_raw_order() },
                vec!["/expected_total/amount"],
            ),
            (
                RawOrder { expected_total: ("1e3".to_owned(), "EUR".to_owned()), ..a_raw_order() },
                vec!["/expected_total/amount"],
            ),
            (
                RawOrder { token: Private::new("4242424242424242".to_owned()), ..a_raw_order() },
                vec!["card /payment/token"],
            ),
            (
                RawOrder { token: Private::new("tok_4242424242424242".to_owned()), ..a_raw_order() },
                vec!["card /payment/token"],
            ),
        ];
        for (raw, expected) in table {
            assert_eq!(pointers(raw.clone()), expected, "{raw:?}");
        }
    }

    #[test]
    fn requests_that_mean_the_same_have_one_fingerprint() {
        let of = |raw: RawOrder| PlaceOrder::check(raw, Region::Eu).unwrap().fingerprint();
        let first = of(RawOrder { lines: vec![line("A", 2), line("B", 1)], ..a_raw_order() });
        let same = [
            RawOrder { lines: vec![line("B", 1), line("A", 1), line("A", 1)], ..a_raw_order() },
            RawOrder {
                lines: vec![line("A", 2), line("B", 1)],
                expected_total: ("49.9".to_owned(), "EUR".to_owned()),
                ..a_raw_order()
            },
        ];
        for raw in same {
            assert_eq!(of(raw), first);
        }
        let other = [
            RawOrder { lines: vec![line("A", 1), line("B", 2)], ..a_raw_order() },
            RawOrder {
                lines: vec![line("A", 2), line("B", 1)],
                token: Private::new("tok_visa".to_owned()),
                ..a_raw_order()
            },
            RawOrder {
                lines: vec![line("A", 2), line("B", 1)],
                expected_total: ("49.91".to_owned(), "EUR".to_owned()),
                ..a_raw_order()
            },
            RawOrder {
                lines: vec![line("A", 2), line("B", 1)],
                price_lock: Some(LockText::new("pl1.AAAA".to_owned())),
                ..a_raw_order()
            },
        ];
        for raw in other {
            assert_ne!(of(raw), first);
        }
    }

    #[test]
    fn one_product_with_two_choices_is_refused() {
        let with = |value: &str| RawLine { options: vec![("size".to_owned(), value.to_owned())], ..line("A", 1) };
        assert_eq!(pointers(RawOrder { lines: vec![with("m"), with("m")], ..a_raw_order() }), Vec::<String>::new());
        assert_eq!(pointers(RawOrder { lines: vec![with("m"), with("l")], ..a_raw_order() }), ["/lines/1/options"]);
        assert_eq!(pointers(RawOrder { lines: vec![with("4242 4242 4242 4242")], ..a_raw_order() }), ["card /lines/0"]);
    }
}
