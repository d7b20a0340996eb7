//! gRPC between our services: the port, the channel to others, and how an error crosses.
//!
//! Not decided here: the services and their messages (`contracts`), who may call which method.

mod client;
mod server;
mod status;

pub use client::{Channel, Outgoing, channel};
pub use server::serve;
pub use status::{RemoteError, is_fault, status};

/// Largest message in bytes. Give it to each generated server: `.max_decoding_message_size(MAX_MESSAGE)`; the port refuses
/// larger calls as well.
pub const MAX_MESSAGE: usize = 1024 * 1024;
