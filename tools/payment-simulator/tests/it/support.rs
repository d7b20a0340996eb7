//! A gateway per test, a client for it, and a merchant that collects webhooks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use payment_simulator::{Running, Settings, Timings, start};
use reqwest::Client;
use serde_json::Value;

static FILES: AtomicUsize = AtomicUsize::new(0);

/// A state file of its own for each test, below the target directory.
pub fn state_file(name: &str) -> PathBuf {
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}.redb", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Faults that take a moment instead of seconds.
pub fn quick(settings: Settings) -> Settings {
    let timings = Timings {
        slow: Duration::from_millis(300),
        hold: Duration::from_millis(1500),
        settle: Duration::from_millis(300),
        webhook_retry: Duration::from_millis(50),
        late: Duration::from_millis(700),
    };
    Settings { timings, ..settings }
}

pub struct Shop {
    pub client: Client,
    pub base: String,
}

/// A body that arrived, with its status and headers.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn number(&self, pointer: &str) -> i64 {
        self.body.pointer(pointer).and_then(Value::as_i64).unwrap_or(i64::MIN)
    }

    pub fn replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }
}

impl Shop {
    pub fn at(base: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { client: Client::builder().timeout(Duration::from_secs(1)).build().unwrap(), base: base.to_owned() }
    }

    /// A POST with a form body. `Err` when no complete JSON answer came back.
    pub async fn try_post(&self, path: &str, key: Option<&str>, form: &str) -> Result<Answer, String> {
        let mut request = self.client.post(format!("{}{path}", self.base)).bearer_auth("sk_test_local");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let request =
            request.header("content-type", "application/x-www-form-urlencoded").header("ShopSphere-Epoch", "7");
        let response = request.body(form.to_owned()).send().await.map_err(|error| format!("{error:?}"))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.json().await.map_err(|error| format!("{error:?}"))?;
        Ok(Answer { status, headers, body })
    }

    pub async fn post(&self, path: &str, key: Option<&str>, form: &str) -> Answer {
        self.try_post(path, key, form).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        let response =
            self.client.get(format!("{}{path}", self.base)).bearer_auth("sk_test_local").send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.json().await.unwrap() }
    }

    /// Creates a manual intent for `order`; returns its id.
    pub async fn create(&self, order: &str, token: &str, amount: i64) -> String {
        let form = format!(
            "amount={amount}&currency=eur&capture_method=manual&payment_method={token}&metadata[order_id]={order}"
        );
        let created = self.post("/v1/payment_intents", Some(&format!("create-{order}")), &form).await;
        assert_eq!((created.status, created.text("/status")), (200, "requires_confirmation"));
        created.text("/id").to_owned()
    }

    /// Creates and confirms; the money waits to be captured.
    pub async fn authorise(&self, order: &str, token: &str) -> String {
        let intent = self.create(order, token, 4990).await;
        let confirmed =
            self.post(&format!("/v1/payment_intents/{intent}/confirm"), Some(&format!("confirm-{order}")), "").await;
        assert_eq!((confirmed.status, confirmed.text("/status")), (200, "requires_capture"), "{}", confirmed.body);
        intent
    }

    pub async fn try_capture(&self, order: &str, intent: &str) -> Result<Answer, String> {
        self.try_post(&format!("/v1/payment_intents/{intent}/capture"), Some(&format!("capture-{order}")), "").await
    }

    pub async fn capture(&self, order: &str, intent: &str) -> Answer {
        self.try_capture(order, intent).await.unwrap()
    }

    pub async fn status(&self, intent: &str) -> String {
        self.get(&format!("/v1/payment_intents/{intent}")).await.text("/status").to_owned()
    }

    /// The kinds of the book entries of `order`, in order.
    pub async fn movements(&self, order: &str) -> Vec<String> {
        let books = self.get(&format!("/__books?reference={order}")).await;
        let entries = books.body["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    }
}

pub async fn gateway(name: &str) -> (Running, Shop) {
    let running = start(quick(Settings::new(state_file(name)))).await.unwrap();
    let shop = Shop::at(&running.base_url);
    (running, shop)
}

/// One webhook as it arrived.
#[derive(Clone)]
pub struct Received {
    pub signature: String,
    pub body: String,
    pub at: Instant,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

/// A merchant that refuses the first `refusals` webhooks and keeps all it gets.
#[derive(Clone, Default)]
pub struct Merchant {
    received: Arc<Mutex<Vec<Received>>>,
    refusals: Arc<AtomicUsize>,
}

impl Merchant {
    /// Returns the merchant and its webhook URL.
    pub async fn open(refusals: usize) -> (Self, String) {
        let merchant = Self { refusals: Arc::new(AtomicUsize::new(refusals)), ..Self::default() };
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(Self::take)).with_state(merchant.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (merchant, url)
    }

    async fn take(State(merchant): State<Self>, headers: HeaderMap, body: String) -> StatusCode {
        let signed = headers.get("stripe-signature").or_else(|| headers.get("x-square-hmacsha256-signature"));
        let signature = signed.unwrap().to_str().unwrap().to_owned();
        merchant.received.lock().unwrap().push(Received { signature, body, at: Instant::now() });
        let refuse = |left: usize| left.checked_sub(1);
        match merchant.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse) {
            Ok(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Err(_) => StatusCode::OK,
        }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn of_kind(&self, kind: &str) -> Vec<Received> {
        self.received().into_iter().filter(|received| received.kind() == kind).collect()
    }

    /// Waits until `count` webhooks of `kind` have come; tells what came instead on time-out.
    pub async fn wait_for(&self, kind: &str, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.of_kind(kind);
            if found.len() >= count {
                return found;
            }
            let kinds: Vec<_> = self.received().iter().map(Received::kind).collect();
            assert!(Instant::now() < deadline, "waited for {count} {kind}, received {kinds:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
