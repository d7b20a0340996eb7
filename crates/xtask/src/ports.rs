//! The one port table of a local region. Decided here: which port each listener has at offset 0, and that a whole stack moves by
//! one offset. Not decided here: who listens there (`stack`) and who may reach it (everything binds 127.0.0.1).

use anyhow::{Context, Result, bail};

/// The largest offset that keeps every port below 65536 with room to spare.
pub const MAX_OFFSET: u16 = 50_000;

/// A listener of the local region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// Public HTTP: HAProxy.
    Edge,
    UserHttp,
    UserGrpc,
    UserAdmin,
    UserWorkAdmin,
    CatalogHttp,
    CatalogGrpc,
    CatalogAdmin,
    CatalogWorkAdmin,
    OrderPaymentHttp,
    OrderPaymentGrpc,
    OrderPaymentAdmin,
    OrderPaymentWorkAdmin,
    PersonalizationHttp,
    PersonalizationGrpc,
    PersonalizationAdmin,
    PersonalizationWorkAdmin,
    PaymentSimulator,
    /// UDP: access log lines of the edge.
    EdgeTracer,
    Postgres,
    Redis,
    Kafka,
    KafkaController,
    Elasticsearch,
    ElasticsearchTransport,
    Keycloak,
    KeycloakManagement,
    Ferretdb,
    /// The judge of the gateway's wire; in test stacks only.
    StripeMock,
    /// OTLP over gRPC; only used when a collector runs there.
    Otlp,
    JaegerQuery,
    /// A Kubernetes control plane, while charts are tried on one.
    Etcd,
    EtcdPeer,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    /// Plays the nodes of that control plane.
    Kwok,
    /// Kafka again, for services in a cluster, which know it by another name.
    KafkaElsewhere,
}

/// Every row of the table: listener, name for people, port at offset 0.
pub const TABLE: &[(Port, &str, u16)] = &[
    (Port::Edge, "edge", 8080),
    (Port::UserHttp, "user http", 8101),
    (Port::UserGrpc, "user grpc", 8102),
    (Port::UserAdmin, "user admin", 8103),
    (Port::UserWorkAdmin, "user work admin", 8104),
    (Port::CatalogHttp, "catalog http", 8111),
    (Port::CatalogGrpc, "catalog grpc", 8112),
    (Port::CatalogAdmin, "catalog admin", 8113),
    (Port::CatalogWorkAdmin, "catalog work admin", 8114),
    (Port::OrderPaymentHttp, "order-payment http", 8121),
    (Port::OrderPaymentGrpc, "order-payment grpc", 8122),
    (Port::OrderPaymentAdmin, "order-payment admin", 8123),
    (Port::OrderPaymentWorkAdmin, "order-payment work admin", 8124),
    (Port::PersonalizationHttp, "personalization http", 8131),
    (Port::PersonalizationGrpc, "personalization grpc", 8132),
    (Port::PersonalizationAdmin, "personalization admin", 8133),
    (Port::PersonalizationWorkAdmin, "personalization work admin", 8134),
    (Port::PaymentSimulator, "payment-simulator", 8140),
    (Port::EdgeTracer, "edge-tracer udp", 8145),
    (Port::Postgres, "postgres", 8150),
    (Port::Redis, "redis", 8151),
    (Port::Kafka, "kafka", 8152),
    (Port::KafkaController, "kafka controller", 8153),
    (Port::Elasticsearch, "elasticsearch", 8154),
    (Port::ElasticsearchTransport, "elasticsearch transport", 8155),
    (Port::Keycloak, "keycloak", 8156),
    (Port::KeycloakManagement, "keycloak management", 8157),
    (Port::Ferretdb, "ferretdb", 8158),
    (Port::StripeMock, "stripe-mock", 8159),
    (Port::Otlp, "otlp", 8160),
    (Port::JaegerQuery, "jaeger query", 8161),
    (Port::Etcd, "etcd", 8180),
    (Port::EtcdPeer, "etcd peer", 8181),
    (Port::KubeApiserver, "kube-apiserver", 8182),
    (Port::KubeControllerManager, "kube-controller-manager", 8183),
    (Port::KubeScheduler, "kube-scheduler", 8184),
    (Port::Kwok, "kwok", 8185),
    (Port::KafkaElsewhere, "kafka for a cluster", 8186),
];

/// The ports of one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    offset: u16,
}

impl Ports {
    /// The table moved by `offset`.
    ///
    /// # Errors
    /// When the offset would leave the range of ports.
    pub fn at(offset: u16) -> Result<Ports> {
        if offset > MAX_OFFSET {
            bail!("port offset {offset} is too large, the largest is {MAX_OFFSET}");
        }
        Ok(Ports { offset })
    }

    /// The stack the tests use: `SHOPSPHERE_PORT_OFFSET`, or `default` when it is not set.
    ///
    /// # Errors
    /// When the variable is no number in range.
    pub fn from_env(default: u16) -> Result<Ports> {
        match std::env::var("SHOPSPHERE_PORT_OFFSET") {
            Ok(text) => Ports::at(text.trim().parse().context("SHOPSPHERE_PORT_OFFSET is not a port offset")?),
            Err(_) => Ports::at(default),
        }
    }

    /// How far this stack stands from the table.
    pub fn offset(self) -> u16 {
        self.offset
    }

    /// The port of one listener in this stack.
    pub fn of(self, port: Port) -> u16 {
        let base = TABLE.iter().find(|(row, _, _)| *row == port).map_or(0, |(_, _, base)| *base);
        base + self.offset
    }

    /// `127.0.0.1:<port>`.
    pub fn address(self, port: Port) -> String {
        format!("127.0.0.1:{}", self.of(port))
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(self, port: Port) -> String {
        format!("http://127.0.0.1:{}", self.of(port))
    }

    /// The URL of a PostgreSQL database as a role whose password is its name, as all local roles have it.
    pub fn postgres_url(self, database: &str, role: &str) -> String {
        format!("postgres://{role}:{role}@127.0.0.1:{}/{database}", self.of(Port::Postgres))
    }
}
