//! Where the servers of the test stack are: the port table of xtask, moved by `SHOPSPHERE_PORT_OFFSET` (2000 by default).

use xtask::ports::{Port, Ports};

/// Offset of the test stack unless the environment says otherwise.
pub const DEFAULT_OFFSET: u16 = 2_000;

/// Addresses of the test stack.
#[derive(Clone, Debug)]
pub struct Servers {
    pub ports: Ports,
    /// `host:port`
    pub kafka: String,
    pub redis_url: String,
    pub mongo_url: String,
    pub elasticsearch_url: String,
    pub keycloak_url: String,
    pub edge_url: String,
    pub payment_simulator_url: String,
    /// Not every test stack has it.
    pub stripe_mock_url: String,
}

/// The test stack.
///
/// # Panics
/// When `SHOPSPHERE_PORT_OFFSET` is not a port offset.
pub fn servers() -> Servers {
    let ports = Ports::from_env(DEFAULT_OFFSET).expect("SHOPSPHERE_PORT_OFFSET is a port offset");
    Servers {
        ports,
        kafka: ports.address(Port::Kafka),
        redis_url: format!("redis://{}", ports.address(Port::Redis)),
        mongo_url: format!("mongodb://{}/?directConnection=true", ports.address(Port::Ferretdb)),
        elasticsearch_url: ports.url(Port::Elasticsearch),
        keycloak_url: ports.url(Port::Keycloak),
        edge_url: ports.url(Port::Edge),
        payment_simulator_url: ports.url(Port::PaymentSimulator),
        stripe_mock_url: ports.url(Port::StripeMock),
    }
}

impl Servers {
    /// URL of a service's own database of the running region, as a role whose password is its name.
    pub fn postgres_url(&self, database: &str, role: &str) -> String {
        self.ports.postgres_url(database, role)
    }
}
