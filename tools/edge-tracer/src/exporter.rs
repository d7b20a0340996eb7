//! Takes requests from the queue and sends them on, in batches. A collector that is away costs spans, never memory and
//! never the edge's time: the queue is bounded, tries are few, and what is lost is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::Counts;
use crate::line::Request;
use crate::span::export;

/// Spans in one export; a few hundred bytes each stay far below gRPC's 4 MiB.
const BATCH: usize = 512;
/// A span waits at most this long for others.
const LINGER: Duration = Duration::from_secs(1);
/// A collector on the same machine answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Three tries bridge a restart of the collector; more would hold newer spans back.
const TRIES: u32 = 3;

/// Where spans go.
pub struct Exporter {
    region: Option<String>,
    client: Option<TraceServiceClient<Channel>>,
    counts: Arc<Counts>,
}

impl Exporter {
    /// Connects when the first batch is sent. Without an endpoint, requests are counted and dropped.
    ///
    /// # Errors
    /// When the endpoint is no URL.
    pub fn new(
        endpoint: Option<String>,
        region: Option<String>,
        counts: Arc<Counts>,
    ) -> Result<Self, tonic::transport::Error> {
        let client = match endpoint.filter(|url| !url.is_empty()) {
            None => None,
            Some(url) => {
                let endpoint = Endpoint::from_shared(url)?.connect_timeout(PATIENCE).timeout(PATIENCE);
                Some(TraceServiceClient::new(endpoint.connect_lazy()))
            }
        };
        Ok(Self { region, client, counts })
    }

    /// Exports until the queue is closed and empty.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.recv().await {
            let mut batch = vec![first];
            let filled = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    if queue.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            // On time-out the batch is what has come so far.
            let _ = timeout(LINGER, filled).await;
            self.send(batch).await;
        }
    }

    async fn send(&mut self, batch: Vec<Request>) {
        let Some(client) = &mut self.client else { return };
        let count = batch.len() as u64;
        let request = export(self.region.as_deref(), &batch);
        for attempt in 1..=TRIES {
            match client.export(request.clone()).await {
                Ok(_) => {
                    self.counts.exported.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Err(status) => tracing::warn!(code = ?status.code(), attempt, spans = count, "export refused"),
            }
            if attempt < TRIES {
                // 0.5 s, then 1 s.
                sleep(Duration::from_millis(500) * attempt).await;
            }
        }
        self.counts.lost.fetch_add(count, Ordering::Relaxed);
    }
}
