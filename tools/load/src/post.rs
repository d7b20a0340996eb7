//! Plain POSTs of numbered JSON in closed loop: what workflow engines are asked with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use common::ids;
use futures::future::join_all;
use serde_json::json;

use crate::connection::Connection;

/// For so long a number of requests is tried.
const MOST_TIME: Duration = Duration::from_secs(120);

#[derive(Args)]
pub struct Post {
    /// Host and port
    #[arg(long)]
    address: String,
    #[arg(long)]
    path: String,
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Requests altogether
    #[arg(long)]
    most: u64,
}

pub fn run(post: &Post) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(drive(post))
}

async fn drive(post: &Post) -> Result<()> {
    let (run, next) = (ids::random().simple().to_string(), Cell::new(0_u64));
    let (accepted, others) = (Cell::new(0_u64), RefCell::new(BTreeMap::<String, u64>::new()));
    let opened = join_all((0..post.connections).map(|_| Connection::open(&post.address))).await;
    let started = Instant::now();
    let loops = opened.into_iter().map(|opened| async {
        let mut connection = opened?;
        while next.get() < post.most && started.elapsed() < MOST_TIME {
            let number = next.replace(next.get() + 1);
            let kind = match connection.exchange(&request(post, &run, number)).await {
                Ok(200) => {
                    accepted.set(accepted.get() + 1);
                    continue;
                }
                Ok(status) => status.to_string(),
                Err(error) => {
                    connection = Connection::open(&post.address).await?;
                    error.to_string()
                }
            };
            *others.borrow_mut().entry(kind).or_default() += 1;
        }
        anyhow::Ok(())
    });
    join_all(loops).await.into_iter().collect::<Result<Vec<()>>>()?;
    let seconds = started.elapsed().as_secs_f64();
    let (accepted, others) = (accepted.get(), others.into_inner());
    println!(
        "{}",
        json!({"accepted": accepted, "accepted_per_s": accepted as f64 / seconds, "others": others, "seconds": seconds})
    );
    Ok(())
}

fn request(post: &Post, run: &str, number: u64) -> Vec<u8> {
    let body = json!({"order": format!("{run}-{number}"), "number": number}).to_string();
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        post.path,
        post.address,
        body.len()
    )
    .into_bytes()
}
