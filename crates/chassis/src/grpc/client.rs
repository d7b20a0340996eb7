//! The channel to another service: connects when first used, notices a dead peer, carries the trace and what is left of the
//! request's deadline.

use std::time::Duration;

use anyhow::Context;
use contracts::trace;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A dead peer is noticed within the sum of both, also on a connection without calls.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What generated clients are made from: `XClient::new(channel.clone())`.
pub type Channel = InterceptedService<tonic::transport::Channel, Outgoing>;

/// Adds `traceparent` and, inside a request, the deadline that is left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing;

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = trace::current_traceparent().and_then(|text| MetadataValue::try_from(text).ok()) {
            request.metadata_mut().insert(trace::TRACEPARENT, value);
        }
        if let Some(left) = crate::context::remaining() {
            request.set_timeout(left);
        }
        Ok(request)
    }
}

/// A channel to `url`. Nothing is connected yet, and the other side may come and go.
///
/// # Errors
/// `url` is not one.
pub fn channel(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .with_context(|| format!("not a gRPC address: {url:?}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    Ok(InterceptedService::new(endpoint.connect_lazy(), Outgoing))
}
