//! The binary: which role it plays stands on the command line; everything else is in the library.

fn main() -> std::process::ExitCode {
    chassis::main::<catalog::Service>()
}
