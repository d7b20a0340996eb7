//! The accept loop under HTTP, gRPC and the admin port: how connections are taken, bounded and ended.
//!
//! Ours instead of `axum::serve` because of what that does not offer: a bound on connections, on slow request heads, on streams
//! and resets of HTTP/2, and a socket option. Everything about requests is decided by the router that is handed in.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::{Extension, Router};
use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::http::Front;
use crate::lifecycle::Process;

/// A client that takes longer for a request's head is not one of ours; the edge sends heads in one piece.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Read buffer of HTTP/1, and so the largest head that still gets an answer in our words.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Streams of one HTTP/2 connection; our own clients stay far below.
const MAX_STREAMS: u32 = 256;

/// Resets waiting to be handled before the connection is closed (rapid reset).
const MAX_PENDING_RESETS: usize = 32;

/// A dead peer is noticed within the sum of both.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

pub(crate) struct Listening {
    pub name: &'static str,
    pub bind: IpAddr,
    pub port: u16,
    pub max_connections: usize,
}

/// What a port answers with: a router, and perhaps finished answers in front of it.
type Served = (Router, Option<Arc<Front>>);

/// Opens the port and serves `router` until the process shuts down; then open connections finish what they have begun.
pub(crate) async fn serve(
    process: &Process,
    listening: Listening,
    router: Router,
    front: Option<Arc<Front>>,
) -> anyhow::Result<SocketAddr> {
    let address = SocketAddr::new(listening.bind, listening.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot open the {} port {address}", listening.name))?;
    let bound = listener.local_addr().context("the listening socket has no address")?;
    tracing::info!(port.name = listening.name, address = %bound, "listening");
    let loop_process = process.clone();
    process.spawn(listening.name, async move {
        accept(loop_process, listener, listening.max_connections, (router, front)).await
    });
    Ok(bound)
}

async fn accept(process: Process, listener: TcpListener, max_connections: usize, served: Served) {
    let shutdown = process.shutdown();
    let slots = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    loop {
        // A slot first: what we cannot serve waits in the kernel, where it costs us nothing.
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = shutdown.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let watcher = graceful.watcher();
                let served = served.clone();
                process.spawn_work(async move {
                    converse(stream, peer, served, watcher).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only burn the processor.
                tracing::warn!(reason = %error, "connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    (router, front): Served,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Answers are small and written at once; waiting to fill a packet only adds delay.
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let service = Faced { front, behind: TowerToHyperService::new(router.layer(Extension(Peer(peer)))) };
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    // An error here is the peer's doing (it went away, it sent garbage) and was answered if it could be.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(reason = %error, "connection ended");
    }
}

/// Gives what is at hand, and asks the router for the rest.
struct Faced {
    front: Option<Arc<Front>>,
    behind: TowerToHyperService<Router>,
}

impl Service<Request<Incoming>> for Faced {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        Either<Ready<Result<Self::Response, Infallible>>, TowerToHyperServiceFuture<Router, Request<Incoming>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match self.front.as_ref().and_then(|front| front.answer(&request)) {
            Some(response) => Either::Left(ready(Ok(response))),
            None => Either::Right(self.behind.call(request)),
        }
    }
}
