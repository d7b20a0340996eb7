//! Makes the edge visible in a trace: reads HAProxy's access log from a UDP socket and exports one span per request.
//!
//! The edge invents the span id, tells it to the service behind in `traceparent` and to us in the log line, so the span
//! exported here stands between the browser's and the service's. Decided here: the socket, the bounded queue between
//! reading and sending, and the counts. The edge never waits for us; a datagram that cannot be queued is counted and gone.

mod exporter;
mod line;
mod span;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use exporter::Exporter;
use line::Request;

/// Spans that wait for the exporter: eight batches, a few megabytes, some seconds of a busy local edge.
const QUEUE: usize = 4096;
/// A line has at most 8192 bytes; one byte more shows that it was longer.
const LONGEST_LINE: usize = 8193;
/// The last batch gets this long to leave at the end.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// UDP address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// gRPC URL of an OTLP collector; `None` or empty: read and count only.
    pub otlp_endpoint: Option<String>,
    pub region: Option<String>,
}

/// What has happened to datagrams since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub received: AtomicU64,
    /// Skipped because they were no usable line.
    pub unusable: AtomicU64,
    /// Dropped because the queue was full.
    pub dropped: AtomicU64,
    pub exported: AtomicU64,
    /// Given up after all tries.
    pub lost: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("udp address cannot be opened: {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("otlp endpoint is not a url")]
    Endpoint(#[from] tonic::transport::Error),
}

/// A tracer that runs among the tasks of the current runtime.
pub struct Running {
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// Opens the socket and starts reading.
///
/// # Errors
/// [`StartError`] for an address that is taken and an endpoint that is no URL.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let counts = Arc::new(Counts::default());
    let exporter = Exporter::new(settings.otlp_endpoint, settings.region, Arc::clone(&counts))?;
    let unavailable = |source| StartError::Listen { address: settings.listen, source };
    let socket = UdpSocket::bind(settings.listen).await.map_err(unavailable)?;
    let address = socket.local_addr().map_err(unavailable)?;

    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let (queue, waiting) = mpsc::channel(QUEUE);
    tasks.spawn(read(socket, queue, Arc::clone(&counts), shutdown.clone()));
    tasks.spawn(exporter.run(waiting));
    tasks.spawn(report(Arc::clone(&counts), shutdown.clone()));
    tasks.close();
    Ok(Running { address, counts, shutdown, tasks })
}

impl Running {
    /// Stops reading, sends what is queued within [`STOP_PATIENCE`], ends.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if timeout(STOP_PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("spans left behind at the end");
        }
    }
}

/// Reads until `shutdown`; the queue closes with it, which lets the exporter finish.
async fn read(socket: UdpSocket, queue: mpsc::Sender<Request>, counts: Arc<Counts>, shutdown: CancellationToken) {
    let mut buffer = vec![0; LONGEST_LINE];
    loop {
        let received = tokio::select! {
            received = socket.recv(&mut buffer) => received,
            () = shutdown.cancelled() => return,
        };
        // An error here belongs to an earlier datagram (ICMP); the socket goes on.
        let Ok(length) = received else { continue };
        counts.received.fetch_add(1, Ordering::Relaxed);
        // The line itself is not logged: it may be anything that anybody sent.
        let Ok(request) = line::parse(&buffer[..length]) else {
            counts.unusable.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        if queue.try_send(request).is_err() {
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Says once a second what was lost, when something was.
async fn report(counts: Arc<Counts>, shutdown: CancellationToken) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = [0; 3];
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let now = [&counts.unusable, &counts.dropped, &counts.lost].map(|count| count.load(Ordering::Relaxed));
        if now != told {
            let [unusable, dropped, lost] = now;
            tracing::warn!(unusable, dropped, lost, "edge log lines without a span");
            told = now;
        }
    }
}
