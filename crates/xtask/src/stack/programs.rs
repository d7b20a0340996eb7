//! Which programs the services of a stack are. Usually those of this checkout; a drill of upgrades also runs those of an earlier commit
//! on the same stores. Decided here: that only the services are exchanged. Servers, edge, gateway and load stay this checkout's. Not
//! decided here: how the programs of a commit come into being (`drill::matrix`).

use std::path::PathBuf;

/// Programs of the services that are not this checkout's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Names their configuration and the copies of them; the commit, as it is written for people.
    pub commit: String,
    /// Has a program for each service.
    pub binaries: PathBuf,
    /// Has `<service>/config.default.toml` for each service, which says what settings these programs know.
    pub services: PathBuf,
}
