//! The binary: which role it plays stands on the command line; everything else is in the library.

/// A hit clones headers and a body: many small allocations, which musl's own allocator makes one after the other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    chassis::main::<catalog::Service>()
}
