//! The settings that chassis itself understands. A service embeds [`Common`] with `#[serde(flatten)]` and takes the sections it
//! needs as fields. What each key means stands in `default.toml`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use common::Region;
use serde::{Deserialize, Deserializer};

use super::Secret;

/// What every process has.
#[derive(Clone, Debug, Deserialize)]
pub struct Common {
    pub site: Site,
    pub process: Lifecycle,
    pub admin: Admin,
    pub telemetry: Telemetry,
}

/// Where this process runs. Immutable for its lifetime.
#[derive(Clone, Debug, Deserialize)]
pub struct Site {
    #[serde(deserialize_with = "parsed")]
    pub region: Region,
    /// Name of the data centre, for example `rdc-a`.
    pub name: String,
    /// Epoch under which this process may write.
    pub epoch: i64,
    /// This site was installed as the standby of its pair.
    pub stands_by: bool,
    /// Base URL clients use, without a trailing slash.
    pub public_url: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Lifecycle {
    #[serde(deserialize_with = "positive")]
    pub worker_threads: usize,
    pub grace_ms: u64,
    pub drain_ms: u64,
}

impl Lifecycle {
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Admin {
    pub bind: IpAddr,
    pub port: u16,
    pub work_port: u16,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Telemetry {
    /// Empty: no export.
    pub otlp_endpoint: String,
    pub log: String,
    /// 0.0 to 1.0.
    pub sample_ratio: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Http {
    pub bind: IpAddr,
    /// 0 takes any free port.
    pub port: u16,
    #[serde(deserialize_with = "positive")]
    pub max_connections: usize,
    #[serde(deserialize_with = "positive")]
    pub max_in_flight: usize,
    pub request_timeout_ms: u64,
    pub body_limit_bytes: usize,
    pub header_limit_bytes: usize,
    /// Believe the last address of `X-Forwarded-For`.
    pub trust_forwarded: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Grpc {
    pub bind: IpAddr,
    /// 0 takes any free port.
    pub port: u16,
    #[serde(deserialize_with = "positive")]
    pub max_connections: usize,
    #[serde(deserialize_with = "positive")]
    pub max_in_flight: usize,
    pub request_timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Auth {
    pub issuer: String,
    pub jwks_url: String,
    pub audience: String,
    #[serde(deserialize_with = "parsed")]
    pub algorithm: crate::auth::Algorithm,
    pub leeway_s: u64,
    #[serde(deserialize_with = "positive")]
    pub refresh_s: usize,
    pub cooldown_s: u64,
    pub session_deadline_ms: u64,
    /// Region code to issuer.
    pub foreign_issuers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Redis {
    /// One server, or some nodes of a cluster ([`crate::redis_client::RedisClient::open`]). May carry a password.
    pub url: Secret,
}

/// For `#[serde(deserialize_with = "chassis::config::parsed")]`: a text that must parse, with the type's own error text.
///
/// # Errors
/// What `T::from_str` says.
pub fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("must be at least 1")),
        value => Ok(value),
    }
}
