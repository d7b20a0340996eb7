//! What we use: Redis, and the same in memory for tests.

pub mod codec;
pub mod list_codec;
pub mod memory;
pub mod redis;
pub mod visit_file;
