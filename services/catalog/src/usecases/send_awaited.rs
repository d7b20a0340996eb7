//! SendAwaited: parcels of paid orders whose goods were promised before they came in leave as soon as these are there, and
//! never before.

use super::App;
use super::decide_again::decide_again;
use super::finalise_inventory::kinds;
use super::ports::stock::{Committed, Why};
use super::stock_error::StockError;
use crate::domain::reservation::{self, Decision};

/// Orders of one round: a delivery that serves more is worked off in several.
pub const MOST_ORDERS: u16 = 100;

/// Lets go what can leave. Says how many orders had something.
///
/// # Errors
/// From the store; orders before the one at fault were dealt with.
pub async fn send_awaited(app: &App) -> Result<usize, StockError> {
    let mut sent = 0;
    for (order, centres) in app.stock.sendable(MOST_ORDERS).await? {
        let Some(reservation) = app.stock.reservation(order).await? else { continue };
        let kinds = kinds(app, &reservation.lines.skus()).await?;
        let committed = decide_again(app, Why::Duty("send_awaited"), order, ("send", "goods_arrived"), |current| {
            Ok(current
                .map_or(Decision::Nothing, |current| reservation::send(current, &centres, &kinds, app.clock.now())))
        })
        .await?;
        sent += usize::from(committed == Committed::Applied);
    }
    Ok(sent)
}
