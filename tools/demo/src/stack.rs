//! Where the shop is: addresses of one local stack, and the folder of the datasets.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use common::Region;
use xtask::ports::{Port, Ports};

use crate::api::Api;

/// The staff member that the realm of the local stack comes with.
pub const STAFF_EMAIL: &str = "staff@shopsphere.example";
pub const STAFF_PASSWORD: &str = "ShopSphere-staff-1";

/// One local region.
pub struct Stack {
    pub region: Region,
    pub api: Api,
    ports: Ports,
}

impl Stack {
    /// # Errors
    /// An offset that leaves the range of ports.
    pub fn at(offset: u16, region: Region) -> anyhow::Result<Self> {
        let ports = Ports::at(offset)?;
        Ok(Self { region, api: Api::new(ports.url(Port::Edge))?, ports })
    }

    /// The gateway's own address, where its books are open.
    pub fn gateway_url(&self) -> String {
        self.ports.url(Port::PaymentSimulator)
    }

    /// Address of one listener, past the edge.
    pub fn url(&self, port: Port) -> String {
        self.ports.url(port)
    }

    /// The same as `host:port`.
    pub fn address(&self, port: Port) -> String {
        self.ports.address(port)
    }

    /// The owner's view of a database: this is what an operator sees, not what a service may see.
    pub fn database_url(&self, database: &str) -> String {
        self.ports.postgres_url(database, &format!("{database}_owner"))
    }
}

/// The file `inside` of the datasets folder: below `given`, or below `../shared/datasets` seen from the current folder.
///
/// # Errors
/// When a folder was given and the file is not in it. `None` when none was given and there is none.
pub fn dataset(given: Option<&Path>, inside: &str) -> anyhow::Result<Option<PathBuf>> {
    if let Some(folder) = given {
        let file = folder.join(inside);
        if !file.is_file() {
            bail!("there is no {inside} in {}", folder.display());
        }
        return Ok(Some(file));
    }
    let here = std::env::current_dir().context("the current folder")?;
    let file = here.join("../shared/datasets").join(inside);
    Ok(Some(file).filter(|file| file.is_file()))
}
