//! Staff: gives part of the money of a paid order back, once or twice at the same moment, and asks again with the same key until it is
//! answered. What staff was told is held against the books at the end.

use std::sync::Arc;

use common::{OrderId, RefundId, UserId};
use messaging::StoredAnswer;
use order_payment::domain::{OrderStatus, Refund};
use order_payment::usecases::Shopper;
use order_payment::usecases::refund_order::{Asker, RawRefund, refund_order};
use uuid::Uuid;

use crate::coverage::Rare;
use crate::extras::Spend;
use crate::gateway::REGION;
use crate::shoppers::{MOST_TRIES, ask, is_final, pause};
use crate::world::{OUTSIDE, World, lock};

/// Looks at an order until it has ended: an hour, longer than any order may take.
const MOST_LOOKS: i64 = 240;
const LOOK_US: i64 = 15_000_000;

/// A clerk who gave somebody credit or money back.
pub fn clerk() -> UserId {
    UserId::from_uuid(Uuid::from_u128(u128::MAX))
}

fn render(refund: &Refund) -> StoredAnswer {
    StoredAnswer { status: 201, body: format!("{} {} {}", refund.id, refund.amount, refund.target.code()).into_bytes() }
}

/// Does what the schedule has staff do about the order of shopper `index`, when it is paid.
pub async fn give_back(world: &Arc<World>, index: usize, order: OrderId) {
    let Some(plan) = world.setup.extras.give_back.iter().find(|plan| plan.of == index).cloned() else { return };
    let Some(total_minor) = paid(world, order).await else { return };
    world.sleep(plan.after_us).await;
    let paid_by_card = world.setup.extras.spend(index) == Spend::Nothing;
    let fits = plan.percents.iter().sum::<i64>() <= 100 && (paid_by_card || plan.to != Some("card"));
    let each = plan.percents.iter().enumerate().map(|(number, percent)| {
        let minor = total_minor * percent / 100;
        ask_back(world, (order, number), (minor, plan.to), fits)
    });
    futures::future::join_all(each).await;
}

/// The total of an order that is paid; [`None`] when it ended without a sale.
async fn paid(world: &Arc<World>, order: OrderId) -> Option<i64> {
    for look in 1..=MOST_LOOKS {
        let now = world.orders.books().orders.get(&order).map(|order| (order.status, order.total.minor()));
        match now {
            Some((OrderStatus::Completed, total)) => return Some(total),
            Some((OrderStatus::Compensated, _)) => return None,
            _ => world.sleep((look * 500_000).min(LOOK_US)).await,
        }
    }
    None
}

/// `fits`: all that staff asks for can go back where staff wants it.
async fn ask_back(
    world: &Arc<World>,
    (order, number): (OrderId, usize),
    (minor, to): (i64, Option<&'static str>),
    fits: bool,
) {
    // One clerk for all orders: a key is theirs and not the order's.
    let key = format!("back-{order}-{number}");
    let asker = Asker { shopper: Shopper { user: clerk(), region: REGION }, staff: true };
    for attempt in 1..=MOST_TRIES {
        let (key_now, raw) = (key.clone(), raw(minor, to));
        let told = ask(world, move |app| {
            Box::pin(async move { refund_order(&app, asker, &key_now, order, raw, render).await })
        })
        .await;
        match told {
            Some(Ok(_)) => {
                let refund = RefundId::derive(order, &format!("{}/{key}", asker.shopper.user));
                world.note(OUTSIDE, || format!("staff was told of the refund {refund} over {minor}"));
                lock(&world.clients).refunds.push((order, refund, minor));
                return;
            }
            Some(Err(failure)) if is_final(world, "refund", &failure) => {
                world.note(OUTSIDE, || format!("staff was refused a refund over {minor}: {failure}"));
                if fits {
                    let complaint = format!("REFUND staff was refused {minor} of order {order}, which fits: {failure}");
                    lock(&world.checks).break_off(complaint);
                }
                world.count(Rare::RefundBeyond);
                return;
            }
            _ => world.sleep(pause(attempt)).await,
        }
    }
}

fn raw(minor: i64, to: Option<&str>) -> RawRefund {
    RawRefund {
        amount: Some((format!("{}.{:02}", minor / 100, minor % 100), REGION.currency().code().to_owned())),
        lines: None,
        reason: "a scratch".to_owned(),
        target: to.map(str::to_owned),
    }
}
