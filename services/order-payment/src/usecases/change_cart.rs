//! Changes of a basket: the whole of it, one line, none of it, two made one. Each but the last names the version that was seen, so
//! that two tabs do not lose each other's changes.
//!
//! Prices are asked before anything is written: what is not sold here does not get in, and the answer shows what was written.

use common::{FieldProblem, Money, TaxPlace, UserId, VisitorId};

use super::coupons::accepted;
use super::ports::Quoted;
use super::view_cart::{CartRefusal, CartView, NotPayable, Offered, Standing, priced, quote, view_cart};
use super::{App, Failure, MOST_MEETINGS};
use crate::domain::CouponCode;
use crate::domain::basket::{RawLine, basket_lines};
use crate::domain::cart::{Cart, CartFull, CartLine, CartOwner, Carted};

/// A destination as it came in.
#[derive(Clone, Debug)]
pub struct RawPlace {
    pub country: String,
    pub postal_code: String,
}

/// Visitors' baskets that are forgotten at a time: a few milliseconds of deleting.
const SWEPT_AT_ONCE: u16 = 200;

/// Puts these lines in place of all that are there.
///
/// # Errors
/// [`Failure`]; whatever it is, nothing was changed, except after `outcome-unknown`.
pub async fn replace_cart(
    app: &App,
    owner: CartOwner,
    seen: Option<i64>,
    lines: Vec<RawLine>,
    ship_to: Option<RawPlace>,
) -> Result<CartView, Failure> {
    let wanted = basket_lines(lines)?;
    let place = ship_to.map(|raw| place(app, &raw)).transpose()?;
    let known = load(app, owner, seen).await?;
    let mut cart = Cart { place, lines: Vec::new(), ..known.clone() };
    let unpriced = Carted { unit_price: Money::zero(app.region.currency()), revision: 0 };
    cart.lines = wanted.into_iter().map(|line| CartLine { line, carted: unpriced }).collect();
    let offered = quote(app, &cart).await?;
    let mut unknown = Vec::new();
    for (index, line) in cart.lines.iter_mut().enumerate() {
        let before = known.lines.iter().find(|before| before.line.sku == line.line.sku);
        match (offered.quote.known.get(&line.line.sku), before) {
            // Nothing new was decided about it, so it was put in when it was.
            (_, Some(before)) if before.line == line.line => line.carted = before.carted,
            (Some(offer), _) => line.carted = carted(offer),
            // What was in the basket before it was taken off sale may stay, and is marked.
            (None, Some(before)) => line.carted = before.carted,
            (None, None) => unknown.push(not_sold(format!("/lines/{index}/sku"))),
        }
    }
    if !unknown.is_empty() {
        return Err(Failure::Fields(unknown));
    }
    write(app, known.version, cart, &offered).await
}

/// Puts one line in, in place of the one of the same product; a quantity of zero takes it out. `shown` is the unit price that the
/// shopper saw, if the caller says so.
///
/// # Errors
/// As [`replace_cart`]; [`CartRefusal::PriceChanged`] when the price is not the one that was shown.
pub async fn put_line(
    app: &App,
    owner: CartOwner,
    seen: Option<i64>,
    raw: RawLine,
    shown: Option<(String, String)>,
) -> Result<CartView, Failure> {
    let removed = raw.quantity == 0;
    let wanted = basket_lines(vec![RawLine { quantity: raw.quantity.max(1), ..raw }]).map_err(Failure::from);
    let line = wanted.map_err(at_one_line)?.pop().ok_or_else(|| Failure::broken("a line that fits is gone"))?;
    let shown = shown.map(|shown| shown_price(app, &shown)).transpose()?;
    let known = load(app, owner, seen).await?;
    let mut cart = known.clone();
    if removed {
        cart.lines.retain(|known| known.line.sku != line.sku);
        let offered = quote(app, &cart).await?;
        return write(app, known.version, cart, &offered).await;
    }
    let sku = line.sku.clone();
    let unpriced = Carted { unit_price: Money::zero(app.region.currency()), revision: 0 };
    cart.put(CartLine { line, carted: unpriced }).map_err(full)?;
    let offered = quote(app, &cart).await?;
    let offer = offered.quote.known.get(&sku).ok_or_else(|| Failure::Fields(vec![not_sold(String::new())]))?;
    if shown.is_some_and(|shown| shown != offer.unit_price) {
        return Err(CartRefusal::PriceChanged { sku: sku.to_string(), now: offer.unit_price }.into());
    }
    for line in cart.lines.iter_mut().filter(|line| line.line.sku == sku) {
        line.carted = carted(offer);
    }
    write(app, known.version, cart, &offered).await
}

/// Gives the basket a coupon, in place of the one it has; without one it takes it away. What is wrong, over or used up is refused;
/// one that reduces nothing yet may wait for what it reduces.
///
/// # Errors
/// As [`replace_cart`]; [`Failure::Coupon`].
pub async fn put_coupon(
    app: &App,
    owner: CartOwner,
    seen: Option<i64>,
    code: Option<&str>,
) -> Result<CartView, Failure> {
    let parse = |text| CouponCode::parse(text).ok_or_else(|| field("/code", "3 to 32 letters, digits or hyphens"));
    let coupon = code.map(parse).transpose()?;
    let known = load(app, owner, seen).await?;
    let cart = Cart { coupon, ..known.clone() };
    let offered = quote(app, &cart).await?;
    accepted(offered.coupon)?;
    write(app, known.version, cart, &offered).await
}

/// Takes everything out, its coupon too.
///
/// # Errors
/// As [`replace_cart`].
pub async fn empty_cart(app: &App, owner: CartOwner, seen: Option<i64>) -> Result<CartView, Failure> {
    let known = load(app, owner, seen).await?;
    let cart = Cart { lines: Vec::new(), coupon: None, ..known.clone() };
    write(app, known.version, cart, &Offered::default()).await
}

/// Takes a visitor's basket into the one of the person who logged in there; the visitor's is gone afterwards. Safe to repeat: then
/// there is nothing to take.
///
/// # Errors
/// [`Failure`], as for [`replace_cart`]; both baskets are then as they were.
pub async fn merge_cart(app: &App, user: UserId, visitor: VisitorId) -> Result<CartView, Failure> {
    let owner = CartOwner::User(user);
    for _ in 0..MOST_MEETINGS {
        let now = app.clock.now();
        let Some(taken) = app.carts.find(CartOwner::Visitor(visitor), now).await? else { break };
        let known = app.carts.find(owner, now).await?.unwrap_or_else(|| Cart::empty(owner));
        let mut cart = known.clone();
        cart.take_in(&taken).map_err(full)?;
        let offered = quote(app, &cart).await?;
        let cart = cart.changed(now);
        match app.carts.merge(known.version, &cart, &taken, now).await.map_err(Failure::from) {
            Ok(()) => return priced(app, cart, &offered, now),
            Err(failure) if failure.is_lost() => {}
            Err(failure) => return Err(failure),
        }
    }
    view_cart(app, owner).await
}

/// Forgets visitors' baskets that are over. Returns how many; there may be more.
///
/// # Errors
/// [`Failure`] when the books cannot be written.
pub async fn sweep_carts(app: &App) -> Result<u64, Failure> {
    Ok(app.carts.sweep(app.clock.now(), SWEPT_AT_ONCE).await?)
}

/// The basket as it is, if that is what the caller has seen.
async fn load(app: &App, owner: CartOwner, seen: Option<i64>) -> Result<Cart, Failure> {
    let seen = seen.ok_or(CartRefusal::VersionNeeded)?;
    let cart = app.carts.find(owner, app.clock.now()).await?.unwrap_or_else(|| Cart::empty(owner));
    if cart.version == seen { Ok(cart) } else { Err(CartRefusal::OtherVersion.into()) }
}

async fn write(app: &App, from: i64, cart: Cart, offered: &Offered) -> Result<CartView, Failure> {
    let now = app.clock.now();
    let view = priced(app, cart.changed(now), offered, now)?;
    if matches!(view.standing, Standing::NotPayable(NotPayable::TooMuch)) {
        return Err(Failure::TooMuch);
    }
    match app.carts.write(from, &view.cart, now).await.map_err(Failure::from) {
        Ok(()) => Ok(view),
        Err(failure) if failure.is_lost() => Err(CartRefusal::OtherVersion.into()),
        Err(failure) => Err(failure),
    }
}

fn carted(offer: &Quoted) -> Carted {
    Carted { unit_price: offer.unit_price, revision: offer.revision }
}

fn place(app: &App, raw: &RawPlace) -> Result<TaxPlace, Failure> {
    if !app.region.countries().contains(&raw.country.as_str()) {
        return Err(field("/ship_to/country", "not a country this region ships to"));
    }
    app.region
        .tax_place(&raw.country, &raw.postal_code)
        .ok_or_else(|| field("/ship_to/postal_code", "not a postal code of a state this region ships to"))
}

fn shown_price(app: &App, (amount, currency): &(String, String)) -> Result<Money, Failure> {
    if currency != app.region.currency().code() {
        let message = format!("prices of this region are in {}", app.region.currency());
        return Err(field("/expected_unit_price/currency", &message));
    }
    Money::parse(amount, app.region.currency())
        .map_err(|error| field("/expected_unit_price/amount", &error.to_string()))
}

/// The line stands alone in its request, so its pointers do not name a place in a list.
fn at_one_line(failure: Failure) -> Failure {
    let alone = |pointer: &str| pointer.strip_prefix("/lines/0").unwrap_or(pointer).to_owned();
    match failure {
        Failure::CardData { pointer } => Failure::CardData { pointer: alone(&pointer) },
        Failure::Fields(fields) => Failure::Fields(
            fields.into_iter().map(|field| FieldProblem { pointer: alone(&field.pointer), ..field }).collect(),
        ),
        other => other,
    }
}

fn not_sold(pointer: String) -> FieldProblem {
    FieldProblem::new(pointer, "invalid-field", "not sold here")
}

fn field(pointer: &str, message: &str) -> Failure {
    Failure::Fields(vec![FieldProblem::new(pointer, "invalid-field", message)])
}

fn full(error: CartFull) -> Failure {
    field("/lines", &error.to_string())
}
