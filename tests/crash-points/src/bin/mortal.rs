//! A service that can be told where to die: everything is the service's own but this `main`, which sees each crash point.

use std::process::ExitCode;

use crash_points::fate::{FOLDER, Folder, MEMBER, Mortal, SERVICE};
use messaging::crash::{Watch, watch};

fn main() -> ExitCode {
    let setting = |name| std::env::var(name).unwrap_or_default();
    let mortal = match Mortal::new(Folder::new(setting(FOLDER))) {
        Ok(mortal) => mortal,
        Err(error) => {
            eprintln!("{FOLDER}: {error}");
            return ExitCode::FAILURE;
        }
    };
    watch(Watch { passing: Box::new(move |point| mortal.pass(point)), member: setting(MEMBER) });
    match setting(SERVICE).as_str() {
        "catalog" => chassis::main::<catalog::Service>(),
        "order-payment" => chassis::main::<order_payment::Service>(),
        other => {
            eprintln!("{SERVICE}: there is no service {other:?}");
            ExitCode::FAILURE
        }
    }
}
