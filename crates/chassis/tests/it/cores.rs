//! A port on cores: who answers what, that connections are dealt evenly, and that nothing that was begun is lost at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use chassis::http::OnCores;
use chassis::lifecycle::Ending;
use chassis::{Process, Role};
use common::{SharedClock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Settings, eventually, process, settings};

/// Handlers that were begun and went away before their end, or are under way.
#[derive(Clone, Default)]
struct Watched {
    begun: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn thread() -> String {
    // A handler that waits is waited for where it is.
    tokio::time::sleep(Duration::from_millis(2)).await;
    std::thread::current().name().unwrap_or_default().to_owned()
}

async fn weighed(body: Bytes) -> String {
    let on = thread().await;
    format!("{} {on}", body.len())
}

async fn slow(watched: Watched, pause: Duration) -> String {
    let _running = Running(watched.dropped.clone());
    watched.begun.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(pause).await;
    thread().await
}

fn routes(watched: &Watched) -> Router {
    let (here, rest) = (watched.clone(), watched.clone());
    Router::new()
        .route("/here", get(thread).post(async |body: Bytes| body.len().to_string()))
        .route("/here/slow", get(async move || slow(here.clone(), Duration::from_millis(400)).await))
        .route("/rest", get(thread))
        .route("/rest/body", post(weighed))
        .route("/rest/slow", get(async move || slow(rest.clone(), Duration::from_millis(400)).await))
        .route("/rest/panic", get(async || -> String { panic!("card 4242424242424242") }))
}

async fn served(watched: &Watched, runtimes: usize) -> (Process, SocketAddr) {
    let settings = settings("");
    let process = process(&settings);
    let address = listen(&process, &settings, watched, runtimes).await;
    (process, address)
}

async fn listen(process: &Process, settings: &Settings, watched: &Watched, runtimes: usize) -> SocketAddr {
    let cores = OnCores { runtimes, paths: &["/here", "/here/slow"] };
    chassis::http::serve_on_cores(process, &settings.http, routes(watched), None, cores).await.unwrap()
}

/// A kept-alive connection.
struct Connection(TcpStream);

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: cores\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Status and body of the next answer.
    async fn hear(&mut self) -> (u16, String) {
        let mut heard = Vec::new();
        loop {
            let mut part = [0; 4096];
            let read = self.0.read(&mut part).await.unwrap();
            assert!(read > 0, "the connection ended within an answer: {}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&heard).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned());
            }
        }
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.send(method, path, body).await;
        self.hear().await
    }
}

#[tokio::test]
async fn what_stays_is_answered_on_the_core_of_its_connection_and_the_rest_elsewhere() {
    let (_process, address) = served(&Watched::default(), 2).await;
    let mut connections = Vec::new();
    let mut on = BTreeMap::<String, usize>::new();
    for _ in 0..6 {
        let mut connection = Connection::open(address).await;
        let (status, core) = connection.ask("GET", "/here", "").await;
        assert_eq!(status, 200);
        assert_eq!(connection.ask("GET", "/here", "").await, (200, core.clone()), "a connection stays on its core");
        let (status, elsewhere) = connection.ask("GET", "/rest", "").await;
        assert!(status == 200 && !elsewhere.starts_with("core-"), "{status} {elsewhere}");
        *on.entry(core).or_default() += 1;
        connections.push(connection);
    }
    assert_eq!(on, BTreeMap::from([("core-0".to_owned(), 3), ("core-1".to_owned(), 3)]), "dealt evenly");
}

#[tokio::test]
async fn a_request_that_crosses_brings_its_body_and_takes_its_faults_along() {
    let (_process, address) = served(&Watched::default(), 1).await;
    let mut connection = Connection::open(address).await;
    let body = "x".repeat(50_000);
    let (status, answer) = connection.ask("POST", "/rest/body", &body).await;
    assert!(status == 200 && answer.starts_with("50000 ") && !answer.contains("core-"), "{status} {answer}");
    assert_eq!(connection.ask("POST", "/here", &body).await, (200, "50000".to_owned()));
    let (status, answer) = connection.ask("GET", "/rest/panic", "").await;
    assert!(status == 500 && answer.contains("\"internal\"") && !answer.contains("4242"), "{status} {answer}");
    assert_eq!(connection.ask("GET", "/nowhere", "").await.0, 404);
    assert_eq!(connection.ask("DELETE", "/here", "").await.0, 405);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_handler_along_wherever_that_is() {
    for path in ["/here/slow", "/rest/slow"] {
        let watched = Watched::default();
        let (_process, address) = served(&watched, 1).await;
        let mut connection = Connection::open(address).await;
        connection.send("GET", path, "").await;
        eventually("the handler begins", async || watched.begun.load(Ordering::SeqCst) == 1).await;
        let begun = tokio::time::Instant::now();
        drop(connection);
        eventually("the handler goes", async || watched.dropped.load(Ordering::SeqCst) == 1).await;
        assert!(begun.elapsed() < Duration::from_millis(400), "{path}: it ran to its end");
    }
}

#[tokio::test]
async fn what_was_begun_is_answered_when_the_process_stops_and_then_the_cores_end() {
    let watched = Watched::default();
    // Each thread of a core holds its process, and the process its clock.
    let clock: SharedClock = Arc::new(SystemClock);
    let settings = settings("");
    let process = Process::new("test", Role::Serve, &settings.common, clock.clone(), Vec::new());
    let address = listen(&process, &settings, &watched, 2).await;
    let running = process.clone();
    let ending = tokio::spawn(async move { running.run(async { Ok(()) }).await });
    let mut connections = Vec::new();
    for path in ["/here/slow", "/here/slow", "/rest/slow"] {
        let mut connection = Connection::open(address).await;
        connection.send("GET", path, "").await;
        connections.push(connection);
    }
    let idle = Connection::open(address).await;
    eventually("all have begun", async || watched.begun.load(Ordering::SeqCst) == 3).await;
    process.stop();
    for connection in &mut connections {
        let (status, on) = connection.hear().await;
        assert_eq!(status, 200, "{on}");
    }
    assert_eq!(ending.await.unwrap(), Ending::Done, "nobody waits for an idle connection");
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    drop(process);
    eventually("the threads of the cores end", async || Arc::strong_count(&clock) == 1).await;
}
