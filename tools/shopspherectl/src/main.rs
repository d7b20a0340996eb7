//! The binary `shopspherectl`, also `kubectl shopsphere` when its file is named `kubectl-shopsphere`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider for the process; a second call would find it there, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shopspherectl: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(shopspherectl::run())
}
