//! The accept loop under HTTP, gRPC and the admin port: how connections are taken, bounded, dealt to cores and ended.
//!
//! Ours instead of `axum::serve` because of what that does not offer: a bound on connections, on slow request heads, on streams
//! and resets of HTTP/2, and a socket option. Everything about requests is decided by the router that is handed in.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::cores::Cores;
use crate::http::Front;
use crate::lifecycle::{Process, elsewhere};
use crate::problem::Problem;

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

/// What a port answers with.
#[derive(Clone)]
pub(crate) struct Served {
    pub router: Router,
    /// Finished answers in front of it.
    pub front: Option<Arc<Front>>,
    /// Where connections are on cores: what is answered there.
    pub stay: Option<Stay>,
}

/// Which requests are answered on the runtime that has their connection; the others cross to `rest`.
#[derive(Clone)]
pub(crate) struct Stay {
    pub paths: &'static [&'static str],
    pub rest: Handle,
}

/// Opens the port and serves `router` until the process shuts down; then open connections finish what they have begun.
pub(crate) async fn serve(
    process: &Process,
    listening: Listening,
    router: Router,
    front: Option<Arc<Front>>,
) -> anyhow::Result<SocketAddr> {
    serve_on(process, listening, Served { router, front, stay: None }, Cores::default()).await
}

/// As [`serve`], with connections on `cores`, if there are any.
pub(crate) async fn serve_on(
    process: &Process,
    listening: Listening,
    served: Served,
    cores: Cores,
) -> anyhow::Result<SocketAddr> {
    let address = SocketAddr::new(listening.bind, listening.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot open the {} port {address}", listening.name))?;
    let bound = listener.local_addr().context("the listening socket has no address")?;
    tracing::info!(port.name = listening.name, address = %bound, "listening");
    let loop_process = process.clone();
    process.spawn(listening.name, async move {
        accept(loop_process, listener, listening.max_connections, served, cores).await
    });
    Ok(bound)
}

async fn accept(process: Process, listener: TcpListener, max_connections: usize, served: Served, cores: Cores) {
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
                let (watcher, served) = (graceful.watcher(), served.clone());
                let Some(place) = cores.place() else {
                    process.spawn_work(async move {
                        converse(stream, peer, served, watcher).await;
                        drop(slot);
                    });
                    continue;
                };
                // What wakes a connection is the runtime it was registered with, so it takes leave of this one first.
                let (runtime, moved) = (place.runtime(), stream.into_std());
                process.spawn_work_on(&runtime, async move {
                    match moved.and_then(TcpStream::from_std) {
                        Ok(stream) => converse(stream, peer, served, watcher).await,
                        Err(error) => tracing::warn!(reason = %error, "connection could not be dealt to a core"),
                    }
                    drop((slot, place));
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
    Served { router, front, stay }: Served,
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
    let service = Faced { peer: Peer(peer), front, stay, behind: TowerToHyperService::new(router) };
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    // An error here is the peer's doing (it went away, it sent garbage) and was answered if it could be.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(reason = %error, "connection ended");
    }
}

/// Gives what is at hand, and asks the router for the rest: here, or where the rest is answered.
struct Faced {
    peer: Peer,
    front: Option<Arc<Front>>,
    stay: Option<Stay>,
    behind: TowerToHyperService<Router>,
}

type AtHand = Ready<Result<Response<Body>, Infallible>>;
type Here = TowerToHyperServiceFuture<Router, Request<Incoming>>;

impl Service<Request<Incoming>> for Faced {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<AtHand, Either<Here, Crossed>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(response) = self.front.as_ref().and_then(|front| front.answer(&request)) {
            return Either::Left(ready(Ok(response)));
        }
        // Not a layer of the router: that would be laid around every route for every connection.
        request.extensions_mut().insert(self.peer);
        let crosses = self.stay.as_ref().filter(|stay| !stay.paths.contains(&request.uri().path()));
        Either::Right(match crosses {
            None => Either::Left(self.behind.call(request)),
            Some(stay) => Either::Right(Crossed(elsewhere(&stay.rest, self.behind.call(request)))),
        })
    }
}

/// An answer that is made on another runtime. A client that goes away takes the handler along, as everywhere.
struct Crossed(AbortOnDropHandle<Result<Response<Body>, Infallible>>);

impl Future for Crossed {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        // It did not end: a panic outside of what catches them, which the panic hook has logged, or a runtime that is going down.
        let lost = |_| Ok(Problem::internal_logged().into_response());
        Pin::new(&mut self.0).poll(context).map(|ended| ended.unwrap_or_else(lost))
    }
}
