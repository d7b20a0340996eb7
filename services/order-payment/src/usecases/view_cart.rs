//! A basket as it stands now: each line at the catalog's present price, what it comes to, and the lock that holds these prices
//! for a while. Lines that cannot be bought are marked and stay.

use chrono::{DateTime, Utc};
use common::{ErrorKind, Explain, Money, Region};

use super::coupons::CouponState;
use super::error::PricesError;
use super::ports::{CouponWord, Quote, Quoted};
use super::price_locks::{Issued, issue};
use super::{App, Failure};
use crate::domain::cart::{Cart, CartLine, CartOwner};
use crate::domain::quote::{ListedLine, list_amount, price, reduced};
use crate::domain::{CouponUse, LineTax, OrderTax, QuoteProblem};

/// A basket with everything that is known about it now.
#[derive(Clone, Debug)]
pub struct CartView {
    pub cart: Cart,
    pub lines: Vec<CartLineView>,
    /// List prices of all lines that are sold, tax in them or not as the region shows prices.
    pub subtotal: Money,
    /// What promotions take off that.
    pub discount: Money,
    /// What became of the basket's coupon.
    pub coupon: Option<CouponState>,
    pub standing: Standing,
}

#[derive(Clone, Debug)]
pub struct CartLineView {
    pub line: CartLine,
    pub state: LineState,
    /// `None` for what is not sold any more.
    pub offer: Option<Quoted>,
    pub tax: Option<LineTax>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    Fine,
    /// There are fewer than wanted; a hint, the order decides.
    Short,
    NotSold,
}

#[derive(Clone, Debug)]
pub enum Standing {
    /// It can be ordered as it is, at this total, until the lock is over.
    Payable {
        total: Money,
        tax: Option<OrderTax>,
        lock: Issued,
    },
    NotPayable(NotPayable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPayable {
    Empty,
    NotSold,
    Short,
    /// The tax depends on where it goes.
    PlaceNeeded,
    TooMuch,
}

/// The basket of `owner`, priced now. One that was never written is empty.
///
/// # Errors
/// [`Failure`] when the basket or the prices cannot be read.
pub async fn view_cart(app: &App, owner: CartOwner) -> Result<CartView, Failure> {
    let now = app.clock.now();
    let cart = app.carts.find(owner, now).await?.unwrap_or_else(|| Cart::empty(owner));
    let offered = quote(app, &cart).await?;
    priced(app, cart, &offered, now)
}

/// What the catalog says about a basket, and what became of its coupon.
#[derive(Clone, Debug, Default)]
pub(super) struct Offered {
    pub quote: Quote,
    pub coupon: Option<CouponState>,
}

/// The catalog is not asked about no lines. A coupon that is used up reduces nothing, so then it is asked again without.
pub(super) async fn quote(app: &App, cart: &Cart) -> Result<Offered, Failure> {
    if cart.lines.is_empty() {
        let coupon = cart.coupon.as_ref().map(|_| CouponState::ReducesNothing);
        return Ok(Offered { quote: Quote::default(), coupon });
    }
    let lines: Vec<_> = cart.lines.iter().map(|line| line.line.clone()).collect();
    let quote = app.prices.quote(&lines, cart.coupon.as_ref()).await?;
    let Some(code) = &cart.coupon else { return Ok(Offered { quote, coupon: None }) };
    let state = match &quote.coupon {
        Some(CouponWord::Good(coupon)) => {
            if coupon.is_used_up(app.store.coupon_count(code, cart.owner.user()).await?) {
                let quote = app.prices.quote(&lines, None).await?;
                return Ok(Offered { quote, coupon: Some(CouponState::UsedUp) });
            }
            CouponState::Good
        }
        Some(CouponWord::NotNow) => CouponState::NotNow,
        Some(CouponWord::ReducesNothing) => CouponState::ReducesNothing,
        Some(CouponWord::Unknown) | None => CouponState::Unknown,
    };
    Ok(Offered { quote, coupon: Some(state) })
}

/// `cart` at the prices of `quote`, with a lock on them when it can be ordered.
pub(super) fn priced(app: &App, cart: Cart, offered: &Offered, now: DateTime<Utc>) -> Result<CartView, Failure> {
    let (region, quote) = (app.region, &offered.quote);
    let mut subtotal = Money::zero(region.currency());
    let mut left = subtotal;
    let (mut lines, mut listed, mut too_much) = (Vec::new(), Vec::new(), false);
    for line in &cart.lines {
        let offer = quote.known.get(&line.line.sku).cloned();
        if let Some(offer) = &offer {
            match list_amount(offer.unit_price, line.line.quantity, region.currency()) {
                Ok(amount) => {
                    let rest = reduced(amount, &offer.reductions).map_err(crooked)?;
                    match (subtotal.checked_add(amount), left.checked_add(rest)) {
                        (Ok(sum), Ok(rest)) => (subtotal, left) = (sum, rest),
                        _ => too_much = true,
                    }
                }
                Err(QuoteProblem::TooMuch) => too_much = true,
                Err(problem) => return Err(crooked(problem)),
            }
            listed.push(listed_line(line, offer, cart.place, region));
        }
        lines.push(CartLineView { line: line.clone(), state: state(line, offer.as_ref()), offer, tax: None });
    }
    let standing = if too_much {
        Standing::NotPayable(NotPayable::TooMuch)
    } else {
        let used = match &quote.coupon {
            Some(CouponWord::Good(coupon)) => Some(coupon.clone()),
            _ => None,
        };
        standing(app, &cart, &mut lines, listed, (left, used), now)?
    };
    let discount = subtotal.checked_sub(left).unwrap_or(Money::zero(region.currency()));
    Ok(CartView { cart, lines, subtotal, discount, coupon: offered.coupon, standing })
}

/// A fault of the catalog, not of the shopper.
fn crooked(problem: QuoteProblem) -> Failure {
    PricesError::Crooked(problem.to_string()).into()
}

fn state(line: &CartLine, offer: Option<&Quoted>) -> LineState {
    match offer {
        None => LineState::NotSold,
        Some(offer) if offer.available < line.line.quantity => LineState::Short,
        Some(_) => LineState::Fine,
    }
}

fn listed_line(line: &CartLine, offer: &Quoted, place: Option<common::TaxPlace>, region: Region) -> ListedLine {
    let class = region.tax_class(&offer.family);
    ListedLine {
        sku: line.line.sku.clone(),
        name: offer.name.clone(),
        quantity: line.line.quantity,
        unit_price: offer.unit_price,
        options: line.line.options.clone(),
        revision: offer.revision,
        class,
        reductions: offer.reductions.clone(),
        rate: place.map_or(common::TaxRate::ZERO, |place| place.rate(class)),
    }
}

/// Whether the basket can be ordered, and at which total. The tax of each line is written beside it where it is known.
fn standing(
    app: &App,
    cart: &Cart,
    lines: &mut [CartLineView],
    listed: Vec<ListedLine>,
    (left, coupon): (Money, Option<CouponUse>),
    now: DateTime<Utc>,
) -> Result<Standing, Failure> {
    if lines.is_empty() {
        return Ok(Standing::NotPayable(NotPayable::Empty));
    }
    let (total, tax) = match (cart.place, app.region.prices()) {
        (Some(place), _) => match price(listed.clone(), place, app.region) {
            Ok(priced) => {
                // Lines that are not sold have no price; the others stand in the same order.
                let sold = lines.iter_mut().filter(|line| line.offer.is_some());
                for (line, taxed) in sold.zip(&priced.lines) {
                    line.tax = taxed.tax;
                }
                (priced.total(), Some(priced.tax))
            }
            Err(QuoteProblem::TooMuch) => return Ok(Standing::NotPayable(NotPayable::TooMuch)),
            Err(problem) => return Err(crooked(problem)),
        },
        // Wherever it goes, this is what is charged; only how much of it is tax is open.
        (None, common::Prices::Inclusive) if left.minor() <= crate::domain::quote::LARGEST_CHARGE_MINOR => (left, None),
        (None, common::Prices::Inclusive) => return Ok(Standing::NotPayable(NotPayable::TooMuch)),
        (None, common::Prices::Exclusive) => return Ok(Standing::NotPayable(NotPayable::PlaceNeeded)),
    };
    if lines.iter().any(|line| line.state == LineState::NotSold) {
        return Ok(Standing::NotPayable(NotPayable::NotSold));
    }
    if lines.iter().any(|line| line.state == LineState::Short) {
        return Ok(Standing::NotPayable(NotPayable::Short));
    }
    let lock = issue(app, cart.owner.user(), cart.place, &listed, (total, coupon), now);
    Ok(Standing::Payable { total, tax, lock })
}

impl NotPayable {
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotSold => "line-not-sold",
            Self::Short => "line-short",
            Self::PlaceNeeded => "ship-to-needed",
            Self::TooMuch => "limit-exceeded",
        }
    }
}

impl LineState {
    pub fn code(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Short => "short",
            Self::NotSold => "not-sold",
        }
    }
}

/// Why a basket was not changed.
#[derive(Debug, thiserror::Error)]
pub enum CartRefusal {
    #[error("say which version of the basket you saw")]
    VersionNeeded,
    #[error("the basket was changed in the meantime; nothing was changed by this request")]
    OtherVersion,
    #[error("{sku} costs {now} now; nothing was changed")]
    PriceChanged { sku: String, now: Money },
}

impl Explain for CartRefusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::VersionNeeded => ErrorKind::PreconditionRequired,
            Self::OtherVersion => ErrorKind::PreconditionFailed,
            Self::PriceChanged { .. } => ErrorKind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::VersionNeeded => "precondition-required",
            Self::OtherVersion => "precondition-failed",
            Self::PriceChanged { .. } => "price-changed",
        }
    }
}
