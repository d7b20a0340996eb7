//! The judge of the PaymentIntents wire in a test stack: stripe-mock, which refuses a request that the published API description
//! does not allow. It keeps nothing and answers with fixtures, so it says nothing about money; the simulator does that.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Stack;
use super::process::{Health, Spec};
use crate::ports::Port;

/// The server's process.
///
/// # Errors
/// When its folder cannot be made.
pub fn spec(stack: &Stack, program: &Path) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("stripe-mock", account.as_ref())?;
    let port = stack.ports.of(Port::StripeMock);
    Ok(Spec {
        name: "stripe-mock".to_owned(),
        role: "server",
        program: program.to_owned(),
        args: vec!["-http-addr".to_owned(), stack.ports.address(Port::StripeMock)],
        env: vec![("HOME".to_owned(), folder.display().to_string())],
        folder,
        account,
        ports: vec![port],
        health: Health::Tcp(port),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(5),
        ready_within: Duration::from_secs(60),
        ours: false,
        depends_on: String::new(),
    })
}
