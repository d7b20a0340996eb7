//! The least that an answer about a visitor can cost: HTTP, one GET of Redis for the visitor that is named, a body as long as ours.
//!
//! It says `ready` when it answers, and runs until it is killed.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use clap::Args;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

/// Bytes kept for each visitor: what a profile has.
const BLOB: usize = 400;

#[derive(Args)]
pub struct Hello {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    redis: String,
    /// File with paths that end in what is asked Redis for, one a line
    #[arg(long)]
    paths: std::path::PathBuf,
    /// Bytes of a body
    #[arg(long, default_value_t = 1_000)]
    bytes: usize,
}

#[derive(Clone)]
struct Parts {
    redis: MultiplexedConnection,
    body: &'static str,
}

pub fn run(hello: &Hello) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(hello))
}

fn key(query: &str) -> String {
    format!("hello:{query}")
}

async fn serve(hello: &Hello) -> Result<()> {
    let mut redis = redis::Client::open(hello.redis.as_str())?.get_multiplexed_async_connection().await?;
    for path in std::fs::read_to_string(&hello.paths)?.lines() {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        redis.set::<_, _, ()>(key(query), vec![b'x'; BLOB]).await?;
    }
    // Once for the whole process.
    let body: &'static str = "x".repeat(hello.bytes).leak();
    let router = Router::new().fallback(answer).with_state(Parts { redis, body });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, hello.port));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("ready");
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router).await?;
    Ok(())
}

async fn answer(State(mut parts): State<Parts>, RawQuery(query): RawQuery) -> Result<&'static str, StatusCode> {
    let blob: Option<Vec<u8>> =
        parts.redis.get(key(&query.unwrap_or_default())).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    blob.map(|_| parts.body).ok_or(StatusCode::NOT_FOUND)
}
