//! The address a request comes from, for limits per client. Never a reason to trust anybody.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::Home;
use crate::server::Peer;

/// The client's address as our edge saw it. `0.0.0.0` when nobody knows; all unknown clients then share one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let trusted = parts.extensions.get::<Home>().is_some_and(|home| home.trust_forwarded);
        // Only the last entry is the edge's own; those before it are whatever the client wrote.
        let forwarded = parts.headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| {
            let text = value.to_str().ok()?;
            text.rsplit(',').next()?.trim().parse().ok()
        });
        Ok(Self(forwarded.filter(|_| trusted).unwrap_or(peer)))
    }
}
