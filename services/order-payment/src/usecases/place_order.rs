//! `PlaceOrder`: takes a shopper's order. The synchronous answer means *accepted and durable*; everything after it is events.

use common::{FieldProblem, Money, OrderId};
use messaging::{Cause, CommitError, Committed, RequestKey, StoredAnswer};
use tracing::Instrument as _;

use super::error::Conflict;
use super::ports::Quote;
use super::{App, Change, Failure, Shopper};
use crate::domain::basket::CreditWish;
use crate::domain::basket::RawOrder;
use crate::domain::order::Placing;
use crate::domain::{LedgerKind, ListedLine, Order, PlaceOrder, Priced, QuoteProblem, quote};
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
    // A repetition needs no catalog: it gets what the first one got, whatever prices are now.
    if let Some(answer) = app.store.find_answer(&request).await? {
        return Ok(replayed(id, answer));
    }
    let quote = app.prices.quote(&command.lines).await?;
    let priced = priced(&command, &quote, app)?;
    if priced.total() != command.expected_total {
        return Err(Failure::PriceChanged(priced.total()));
    }
    let credit = credit(app, shopper, &command, priced.total()).await?;
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
    let step = Order::place(placing, app.clock.now());
    let answer = render(&step.order);
    let change = Change {
        // UserRegistered may still be on its way; the verified token says as much as the event would.
        person: Some((shopper.user, shopper.region)),
        // Set aside with the order, so that nobody spends it twice; the books refuse what is not there.
        ledger: step.order.credit_moves(LedgerKind::CreditHold, step.at),
        order: Some(step),
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

/// The lines at the catalog's prices. All lines at fault are named at once.
fn priced(command: &PlaceOrder, quote: &Quote, app: &App) -> Result<Priced, Failure> {
    let (mut lines, mut unknown, mut short) = (Vec::new(), Vec::new(), Vec::new());
    for (index, line) in command.lines.iter().enumerate() {
        let Some(quoted) = quote.known.get(&line.sku) else {
            unknown.push(FieldProblem::new(format!("/lines/{index}/sku"), "invalid-field", "not sold here"));
            continue;
        };
        if quoted.available < line.quantity {
            let message = format!("{} available", quoted.available);
            short.push(FieldProblem::new(format!("/lines/{index}/quantity"), "out-of-stock", message));
        }
        let class = app.region.tax_class(&quoted.family);
        lines.push(ListedLine {
            sku: line.sku.clone(),
            name: quoted.name.clone(),
            quantity: line.quantity,
            unit_price: quoted.unit_price,
            options: line.options.clone(),
            revision: quoted.revision,
            class,
            rate: command.place.rate(class),
        });
    }
    if !unknown.is_empty() {
        return Err(Failure::Fields(unknown));
    }
    let priced = quote::price(lines, command.place, app.region).map_err(|problem| match problem {
        QuoteProblem::TooMuch => Failure::TooMuch,
        QuoteProblem::CrookedPrice(_) => super::error::PricesError::Crooked(problem.to_string()).into(),
    })?;
    // A hint that saves the shopper a wait; the reservation decides.
    if short.is_empty() { Ok(priced) } else { Err(Failure::OutOfStock(short)) }
}
