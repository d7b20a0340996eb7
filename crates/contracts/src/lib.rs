//! What crosses a process boundary: gRPC and event messages (generated from `/proto`), the table of topics, the envelope
//! that travels in Kafka headers, the layouts in Redis that two services share, and the trace context.
//!
//! Not decided here: how events are stored and sent (`messaging`), who may call what (`chassis`).

pub mod envelope;
pub mod event;
pub mod interest;
pub mod money;
pub mod places;
pub mod session;
pub mod topics;
pub mod trace;

pub use envelope::{Envelope, EnvelopeError};
pub use event::{Event, UndecodableEvent};
pub use topics::{DataClass, Topic};

/// Messages shared by all owners.
pub mod common {
    pub mod v1 {
        tonic::include_proto!("shopsphere.common.v1");
    }
}

pub mod user {
    pub mod v1 {
        tonic::include_proto!("shopsphere.user.v1");
    }
}

pub mod catalog {
    pub mod v1 {
        tonic::include_proto!("shopsphere.catalog.v1");
    }
}

pub mod order {
    pub mod v1 {
        tonic::include_proto!("shopsphere.order.v1");
    }
}

pub mod personalization {
    pub mod v1 {
        tonic::include_proto!("shopsphere.personalization.v1");
    }
}
