//! The binary; see `personalization`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::main::<personalization::Service>()
}
