//! The order saga's events and the use case each one feeds. A message that cannot be read is parked with its reason; whether
//! trying again helps is said by the error of the use case.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{OrderId, Sku};
use contracts::topics::{ORDER_COMPENSATED, ORDER_COMPLETED, ORDER_CREATED, ORDER_PAYMENT_PENDING, ORDER_REFUNDED};
use contracts::{Event, Topic, order};
use messaging::{Delivery, Handler, Verdict};

use crate::domain::lines::{Line, Lines};
use crate::domain::reservation::{Asked, USUAL_HOLD};
use crate::domain::shipment::Options;
use crate::usecases::App;
use crate::usecases::extend_hold::extend_hold;
use crate::usecases::finalise_inventory::{FinaliseInventory, finalise_inventory};
use crate::usecases::ports::stock::Why;
use crate::usecases::release_inventory::release_inventory;
use crate::usecases::reserve_inventory::reserve_inventory;
use crate::usecases::return_inventory::{ReturnInventory, return_inventory};

/// What this consumer listens to.
pub static TOPICS: [&Topic; 5] =
    [&ORDER_CREATED, &ORDER_PAYMENT_PENDING, &ORDER_COMPLETED, &ORDER_COMPENSATED, &ORDER_REFUNDED];

pub struct SagaEvents {
    app: Arc<App>,
}

impl SagaEvents {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl Handler for SagaEvents {
    async fn handle(&self, delivery: &Delivery) -> Verdict {
        let (app, cause) = (&*self.app, delivery.envelope.id);
        match read(&delivery.event) {
            Ok(Command::Reserve(asked)) => Verdict::of(reserve_inventory(app, cause, asked).await),
            Ok(Command::Extend(order, until)) => {
                let until = until.unwrap_or_else(|| app.clock.now() + USUAL_HOLD);
                Verdict::of(extend_hold(app, Why::Message(cause), order, until).await)
            }
            Ok(Command::Finalise(command)) => Verdict::of(finalise_inventory(app, cause, command).await),
            Ok(Command::Release(order)) => Verdict::of(release_inventory(app, cause, order).await),
            Ok(Command::Return(command)) => Verdict::of(return_inventory(app, cause, command).await),
            Ok(Command::Nothing) => Verdict::Done,
            Err(reason) => Verdict::Park(reason),
        }
    }
}

enum Command {
    Reserve(Asked),
    /// A sender that does not know the deadline yet says nothing about it.
    Extend(OrderId, Option<DateTime<Utc>>),
    Finalise(FinaliseInventory),
    Release(OrderId),
    Return(ReturnInventory),
    Nothing,
}

fn read(event: &Event) -> Result<Command, String> {
    match event {
        Event::OrderCreated(created) => Ok(Command::Reserve(Asked {
            order: order_id(&created.order_id)?,
            lines: lines(&created.lines)?,
            options: options(&created.lines)?,
        })),
        Event::OrderPaymentPending(pending) => {
            let until =
                Some(pending.deadline_at_ms).filter(|at_ms| *at_ms > 0).and_then(DateTime::from_timestamp_millis);
            Ok(Command::Extend(order_id(&pending.order_id)?, until))
        }
        Event::OrderCompleted(completed) => Ok(Command::Finalise(FinaliseInventory {
            order: order_id(&completed.order_id)?,
            user: completed.user_id.parse().map_err(|error| format!("user_id: {error}"))?,
            lines: lines(&completed.lines)?,
        })),
        Event::OrderCompensated(compensated) => Ok(Command::Release(order_id(&compensated.order_id)?)),
        // Nothing of the money is left with us: the shopper gets nothing more of the goods.
        Event::OrderRefunded(refunded) if refunded.whole => {
            Ok(Command::Return(ReturnInventory { order: order_id(&refunded.order_id)?, lines: None }))
        }
        // Money for a nuisance: nothing comes back.
        Event::OrderRefunded(refunded) if refunded.lines.is_empty() => Ok(Command::Nothing),
        Event::OrderRefunded(refunded) => {
            let lines = Some(lines(&refunded.lines)?);
            Ok(Command::Return(ReturnInventory { order: order_id(&refunded.order_id)?, lines }))
        }
        other => Err(format!("nothing here listens to {}", other.kind())),
    }
}

/// Choices of one line, at most as many as an order may have; they are carried to the parcel and not understood here.
const MOST_OPTIONS: usize = 10;

fn options(lines: &[order::v1::OrderLine]) -> Result<BTreeMap<Sku, Options>, String> {
    let mut chosen = BTreeMap::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.options.is_empty()) {
        if line.options.len() > MOST_OPTIONS {
            return Err(format!("lines[{index}].options: at most {MOST_OPTIONS}"));
        }
        let sku = Sku::parse(&line.sku).map_err(|error| format!("lines[{index}].sku: {error}"))?;
        let mut options: Options =
            line.options.iter().map(|choice| (choice.key.clone(), choice.value.clone())).collect();
        options.sort();
        chosen.insert(sku, options);
    }
    Ok(chosen)
}

fn order_id(text: &str) -> Result<OrderId, String> {
    text.parse().map_err(|error| format!("order_id: {error}"))
}

fn lines(lines: &[order::v1::OrderLine]) -> Result<Lines, String> {
    let line = |(index, line): (usize, &order::v1::OrderLine)| {
        let sku = Sku::parse(&line.sku).map_err(|error| format!("lines[{index}].sku: {error}"))?;
        Ok(Line { sku, quantity: line.quantity })
    };
    let lines = lines.iter().enumerate().map(line).collect::<Result<Vec<_>, String>>()?;
    Lines::new(lines).map_err(|error| format!("lines: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(order_id: &str, lines: &[(&str, u32)]) -> Event {
        let lines = lines
            .iter()
            .map(|(sku, quantity)| order::v1::OrderLine {
                sku: (*sku).to_owned(),
                quantity: *quantity,
                options: Vec::new(),
            })
            .collect();
        Event::from(order::v1::OrderCreated { order_id: order_id.to_owned(), lines, ..Default::default() })
    }

    #[test]
    fn a_message_that_cannot_be_read_says_why() {
        let id = "6f1c1f0e-6a4b-5d9c-9a53-1d2f6b9a7c10";
        let table = [
            (created("x", &[("A", 1)]), "order_id: not a lower-case hyphenated UUID"),
            (created(id, &[]), "lines: an order has 1 to 100 lines"),
            (created(id, &[("A", 1), ("../", 1)]), "lines[1].sku: a SKU has"),
            (created(id, &[("A", 0)]), "lines: a quantity is between"),
            (created(id, &[("A", 1), ("A", 1)]), "lines: a SKU stands on one line only"),
            (Event::from(contracts::catalog::v1::StockReserved::default()), "nothing here listens to stock.reserved"),
        ];
        for (event, expected) in table {
            let reason = read(&event).err().unwrap_or_default();
            assert!(reason.starts_with(expected), "{reason}");
        }
        assert!(read(&created(id, &[("A", 1)])).is_ok());
    }

    /// Records as they were sent once, of a kind and version; `newer` are such that nobody has written yet.
    fn recorded(folder: &str, topic: &Topic) -> Vec<(String, Vec<u8>)> {
        let shelf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/contracts/tests/recorded");
        let files = std::fs::read_dir(format!("{shelf}/{folder}/{}", topic.kind)).into_iter().flatten().flatten();
        let files = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|ending| ending == "hex"));
        let bytes = |path: &std::path::Path| {
            let digits: String = std::fs::read_to_string(path).unwrap_or_default().split_whitespace().collect();
            hex::decode(digits).expect("digits")
        };
        files.map(|path| (path.display().to_string(), bytes(&path))).collect()
    }

    #[test]
    fn every_version_of_our_events_is_a_command_and_a_newer_one_is_one_or_is_parked_whole() {
        for topic in TOPICS {
            let all = recorded(contracts::topics::VERSION, topic);
            assert!(!all.is_empty(), "{topic} has no recording");
            for (name, payload) in all {
                let event = Event::decode(topic, &payload).expect("an event");
                assert!(read(&event).is_ok(), "{name}: {:?}", read(&event).err());
            }
            for (name, payload) in recorded("newer", topic) {
                match Event::decode(topic, &payload) {
                    Ok(event) => assert!(read(&event).is_ok(), "{name}: {:?}", read(&event).err()),
                    // The consumer parks what does not decode, before any of it is looked at.
                    Err(_) => assert!(name.contains("changed-type"), "{name} does not decode"),
                }
            }
        }
        // Why an order ended is nobody's business here: a reason that we do not know gives the stock back all the same.
        let ended = Event::from(order::v1::OrderCompensated {
            order_id: "6f1c1f0e-6a4b-5d9c-9a53-1d2f6b9a7c10".to_owned(),
            reason: 9,
            compensated_at_ms: 1,
        });
        assert!(matches!(read(&ended), Ok(Command::Release(_))));
    }
}
