use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::main::<order_payment::Service>()
}
