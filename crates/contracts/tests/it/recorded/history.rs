//! The shapes each message has had under its topic's version, oldest first. A field is added and never taken away or given
//! another number; each time, the message has a new shape, and records of the old ones are still on their way.

/// What one message has been.
pub struct History {
    /// Kind of the topic.
    pub kind: &'static str,
    /// What each shape after the first said anew; what lies within a new field is new with it.
    pub added: &'static [&'static [&'static str]],
}

impl History {
    /// Number of the newest shape.
    pub fn newest(&self) -> u32 {
        u32::try_from(self.added.len()).map_or(u32::MAX, |added| added + 1)
    }
}

pub const HISTORY: &[History] = &[
    History { kind: "user.registered", added: &[] },
    History { kind: "order.created", added: &[&["lines[].options"]] },
    History { kind: "order.payment-pending", added: &[&["deadline_at_ms"]] },
    History { kind: "order.completed", added: &[&["lines[].options"]] },
    History { kind: "order.compensated", added: &[] },
    History { kind: "order.refunded", added: &[] },
    History { kind: "stock.reserved", added: &[] },
    History { kind: "stock.rejected", added: &[] },
    History { kind: "stock.released", added: &[] },
    History { kind: "stock.finalised", added: &[] },
    History { kind: "shipment.created", added: &[&["lines"]] },
    History {
        kind: "product.changed",
        added: &[&["offered", "schema", "special_prices", "variants"], &["former_category"]],
    },
    History { kind: "clickstream.raw", added: &[&["bot"]] },
    History { kind: "clickstream.refused", added: &[&["record_id"]] },
    History { kind: "clickstream.parked", added: &[] },
];
