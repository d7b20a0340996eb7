//! On `ShipmentCreated`: the view of an order shows its shipment. A shipment of an order that is not completed is an
//! incident: the database refuses it and the message is parked.

use messaging::Cause;

use super::ports::Shipment;
use super::{App, Failure};

/// Safe to repeat.
///
/// # Errors
/// [`Failure`]; the message is delivered again or parked.
pub async fn record_shipment(app: &App, cause: Cause, shipment: Shipment) -> Result<(), Failure> {
    app.store.record_shipment(cause, shipment).await?;
    Ok(())
}
