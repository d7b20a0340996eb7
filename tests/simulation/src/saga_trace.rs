//! What was published in a schedule, held against the saga's own model: our cores may do nothing that the table of steps
//! does not know.

use std::sync::LazyLock;

use saga::monitor::{Monitor, Seen};

use crate::world::{World, lock};

/// Explored once per process; `None` when the table itself is broken, which its own tests tell.
static MONITOR: LazyLock<Option<Monitor>> = LazyLock::new(|| Monitor::new().ok());

/// Complains about the first order whose records fit no history.
pub fn compare(world: &World) {
    let records: Vec<Seen> = {
        let bus = lock(&world.bus);
        let all = bus.logs.iter().flat_map(|log| {
            log.records.iter().enumerate().map(|(offset, record)| Seen {
                event: record.event.clone(),
                envelope: record.envelope.clone(),
                place: format!("{} {} {offset}", log.topic, log.partition),
            })
        });
        all.collect()
    };
    let Some(monitor) = &*MONITOR else {
        lock(&world.checks).break_off("the saga's table breaks its own promises".to_owned());
        return;
    };
    if let Some(outside) = monitor.look(&records, true).outside.first() {
        lock(&world.checks).break_off(format!(
            "the saga's table does not allow order {}: {}: {}",
            outside.order, outside.record, outside.reason
        ));
    }
}
