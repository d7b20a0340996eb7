//! The binary; see `personalization`.

use std::process::ExitCode;

/// A fold makes and drops small things by the million, which musl's own allocator hands out one after the other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chassis::main::<personalization::Service>()
}
