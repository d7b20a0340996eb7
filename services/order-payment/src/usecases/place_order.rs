//! `PlaceOrder`: takes a shopper's order. The synchronous answer means *accepted and durable*; everything after it is events.

use chrono::{DateTime, Utc};
use common::{FieldProblem, Money, OrderId};
use messaging::crash::{self, Boundary};
use messaging::{Cause, CommitError, Committed, RequestKey, StoredAnswer};
use tracing::Instrument as _;

use super::coupons::coupon_of;
use super::error::Conflict;
use super::ports::Quote;
use super::price_locks::{Requote, at_locked_price, honoured, issue};
use super::{App, Change, Failure, Shopper};
use crate::domain::basket::CreditWish;
use crate::domain::basket::RawOrder;
use crate::domain::order::Placing;
use crate::domain::price_lock::PriceLock;
use crate::domain::{CouponUse, LedgerKind, ListedLine, Order, PlaceOrder, Priced, QuoteProblem, quote};
use crate::metrics;

pub const ROUTE: &str = "/v1/orders";

/// An accepted order and the answer the shopper gets, now and at every repetition.
#[derive(Clone, Debug)]
pub struct Placed {
    pub order: OrderId,
    pub answer: StoredAnswer,
    pub replayed: bool,
}

/// Takes a shopper's order. Safe to repeat: the same request key gives the same order and the same bytes. `render` makes the
/// answer, which is stored with the order.
///
/// # Errors
/// [`Failure`]; whatever it is, nothing was ordered by this call, except after `outcome-unknown`.
pub async fn place_order(
    app: &App,
    shopper: Shopper,
    key: &str,
    raw: RawOrder,
    render: impl Fn(&Order) -> StoredAnswer + Send + Sync,
) -> Result<Placed, Failure> {
    let id = OrderId::derive(app.region, shopper.user, key);
    let span = tracing::info_span!("order.place", order.id = %id);
    place(app, shopper, key, raw, id, &render).instrument(span).await
}

async fn place(
    app: &App,
    shopper: Shopper,
    key: &str,
    raw: RawOrder,
    id: OrderId,
    render: &(dyn Fn(&Order) -> StoredAnswer + Send + Sync),
) -> Result<Placed, Failure> {
    if shopper.region != app.region {
        return Err(Failure::Misdirected(shopper.region));
    }
    let command = PlaceOrder::check(raw, app.region)?;
    let request = RequestKey {
        subject: shopper.user.uuid(),
        method: "POST",
        route: ROUTE,
        key: key.to_owned(),
        fingerprint: command.fingerprint(),
    };
    let now = app.clock.now();
    let (priced, coupon, credit) = match gather(app, shopper, &command, now).await {
        Ok(gathered) => gathered,
        Err(failure) if failure.is_crash() => return Err(failure),
        // A repetition gets what the first one got, whatever prices are now and whether or not there is a catalog. It is looked
        // for only where something is in the way: a new order has no answer yet, and the commit itself meets a twin.
        Err(failure) => {
            return match app.store.find_answer(&request).await? {
                Some(answer) => Ok(replayed(id, answer)),
                None => Err(failure),
            };
        }
    };
    let fingerprint = request.fingerprint;
    let placing = Placing {
        id,
        user: shopper.user,
        region: app.region,
        command,
        priced,
        credit,
        fingerprint,
        deadline: app.rules.stock_deadline,
    };
    let step = Order::place(placing, now);
    let answer = render(&step.order);
    let change = Change {
        // UserRegistered may still be on its way; the verified token says as much as the event would.
        person: Some((shopper.user, shopper.region)),
        // Set aside with the order, so that nobody spends it twice; the books refuse what is not there.
        ledger: step.order.credit_moves(LedgerKind::CreditHold, step.at),
        order: Some(step),
        coupon,
        answer: Some(answer.clone()),
        ..Change::default()
    };
    match app.store.commit(Cause::Request(request), change).await {
        Ok(Committed::Applied) => {
            metrics::transition(None, "CREATED", "placed");
            app.signals.orders.notify_waiters();
            Ok(Placed { order: id, answer, replayed: false })
        }
        Ok(Committed::Repeated(Some(answer))) => Ok(replayed(id, answer)),
        Ok(Committed::Repeated(None)) => Err(Failure::broken("a request was answered but its answer is gone")),
        Err(CommitError::Refused(Conflict::OrderExists)) => older(app, id, fingerprint, render).await,
        Err(error) => Err(error.into()),
    }
}

/// What the order costs, the use of a coupon it takes, and the part of it that store credit pays.
async fn gather(
    app: &App,
    shopper: Shopper,
    command: &PlaceOrder,
    now: DateTime<Utc>,
) -> Result<(Priced, Option<CouponUse>, Money), Failure> {
    let lock = honoured(app, shopper, command, now)?;
    let asked = app.prices.quote(&command.lines, command.coupon.as_ref());
    let quote = crash::around(Boundary::QuotePrices, asked).await??;
    let listed = listed(command, &quote, lock.as_ref(), app)?;
    let coupon = coupon_of(command, quote.coupon.as_ref(), lock.as_ref())?;
    let priced = quote::price(listed.clone(), command.place, app.region).map_err(|problem| match problem {
        QuoteProblem::TooMuch => Failure::TooMuch,
        QuoteProblem::CrookedPrice(_) | QuoteProblem::CrookedReduction(_) => {
            super::error::PricesError::Crooked(problem.to_string()).into()
        }
    })?;
    in_stock(command, &quote)?;
    if priced.total() != command.expected_total {
        let promised = (priced.total(), coupon);
        let issue = || issue(app, Some(shopper.user), Some(command.place), &listed, promised, now);
        let lock = lock.is_none().then(issue);
        return Err(Failure::PriceChanged(Box::new(Requote { priced, lock })));
    }
    let credit = credit(app, shopper, command, priced.total()).await?;
    Ok((priced, coupon, credit))
}

fn replayed(order: OrderId, answer: StoredAnswer) -> Placed {
    metrics::replay(ROUTE);
    Placed { order, answer, replayed: true }
}

/// The key was used before and its row is pruned, but the order it placed is still here and knows the request.
async fn older(
    app: &App,
    id: OrderId,
    fingerprint: [u8; 32],
    render: &(dyn Fn(&Order) -> StoredAnswer + Send + Sync),
) -> Result<Placed, Failure> {
    let order = app.store.order(id).await?.ok_or_else(|| Failure::broken("an order exists and cannot be read"))?;
    if order.fingerprint != fingerprint {
        return Err(CommitError::KeyReused.into());
    }
    Ok(replayed(id, render(&order)))
}

/// The part of the total that store credit pays.
async fn credit(app: &App, shopper: Shopper, command: &PlaceOrder, total: Money) -> Result<Money, Failure> {
    match command.credit {
        CreditWish::Nothing => Ok(Money::zero(total.currency())),
        CreditWish::Everything => Ok(total),
        CreditWish::Amount(amount) if amount.minor() > total.minor() => Err(Failure::Fields(vec![FieldProblem::new(
            "/payment/store_credit",
            "invalid-field",
            "more than the order costs",
        )])),
        CreditWish::Amount(amount) => Ok(amount),
        CreditWish::AsMuchAsThereIs => {
            let free = app.store.credit_of(shopper.user, total.currency()).await?.free;
            Ok(if free.minor() < total.minor() { free } else { total })
        }
    }
}

/// The lines at their prices: the locked ones under a lock, else the catalog's. What is not sold is named at once; a lock does
/// not bring it back.
fn listed(
    command: &PlaceOrder,
    quote: &Quote,
    lock: Option<&PriceLock>,
    app: &App,
) -> Result<Vec<ListedLine>, Failure> {
    let (mut lines, mut unknown) = (Vec::new(), Vec::new());
    for (index, line) in command.lines.iter().enumerate() {
        let Some(quoted) = quote.known.get(&line.sku) else {
            unknown.push(FieldProblem::new(format!("/lines/{index}/sku"), "invalid-field", "not sold here"));
            continue;
        };
        let class = app.region.tax_class(&quoted.family);
        let listed = ListedLine {
            sku: line.sku.clone(),
            name: quoted.name.clone(),
            quantity: line.quantity,
            unit_price: quoted.unit_price,
            options: line.options.clone(),
            revision: quoted.revision,
            class,
            rate: command.place.rate(class),
            reductions: quoted.reductions.clone(),
        };
        lines.push(match lock {
            Some(lock) => at_locked_price(listed, lock, command.place),
            None => listed,
        });
    }
    if unknown.is_empty() { Ok(lines) } else { Err(Failure::Fields(unknown)) }
}

/// A hint that saves the shopper a wait; the reservation decides. All lines that are short are named at once.
fn in_stock(command: &PlaceOrder, quote: &Quote) -> Result<(), Failure> {
    let mut short = Vec::new();
    for (index, line) in command.lines.iter().enumerate() {
        if let Some(quoted) = quote.known.get(&line.sku).filter(|quoted| quoted.available < line.quantity) {
            let message = format!("{} available", quoted.available);
            short.push(FieldProblem::new(format!("/lines/{index}/quantity"), "out-of-stock", message));
        }
    }
    if short.is_empty() { Ok(()) } else { Err(Failure::OutOfStock(short)) }
}
