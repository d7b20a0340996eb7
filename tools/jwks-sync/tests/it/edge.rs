//! The local edge through a rotation: real HAProxy, started anew with the keys that each run has left, and a service that only counts what
//! reached it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use common::{Clock, SystemClock};
use jwks_sync::Target;
use jwks_sync::folder::Folder;
use serde_json::{Value, json};
use xtask::layout::{Layout, checkout};
use xtask::ports::{Port, Ports};
use xtask::stack::{Purpose, Stack, haproxy};

use crate::support::{FakeIssuer, Place, Signer};

/// The edge of a test, with the limits of a region.
struct Edge {
    stack: Stack,
    client: reqwest::Client,
    reached: Arc<AtomicUsize>,
    _place: Place,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stack.down();
    }
}

impl Edge {
    /// Ports of its own: above those of the stacks people start, below those that the kernel gives to clients.
    async fn new(name: &str, test: u16) -> Edge {
        let place = Place::new(name);
        let ports =
            Ports::at(12_000 + u16::try_from(std::process::id() % 10).unwrap() * 1_200 + (9 + test) * 100).unwrap();
        let layout = Layout::open(&checkout(), &place.0.join("state")).unwrap();
        let stack = Stack::open(layout, ports, Purpose::Test, false).unwrap();
        let reached = Arc::new(AtomicUsize::new(0));
        for port in [Port::UserHttp, Port::UserAdmin, Port::OrderPaymentHttp, Port::OrderPaymentAdmin] {
            let counter = reached.clone();
            let answer = move |request: axum::extract::Request| {
                let counter = counter.clone();
                async move {
                    if request.uri().path() != "/readyz" {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                    let subject = request.headers().get("x-shopsphere-subject");
                    subject.map_or(String::new(), |value| value.to_str().unwrap_or_default().to_owned())
                }
            };
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", ports.of(port))).await.unwrap();
            let router = Router::new().fallback(answer);
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        let client = chassis::http_client::new(chassis::http_client::HttpClientSettings::default()).unwrap();
        Edge { stack, client, reached, _place: place }
    }

    fn target(&self) -> Target {
        Target::Folder(Folder(haproxy::keys(&self.stack).unwrap()))
    }

    /// Starts it, or starts it anew when keys have changed.
    fn start(&self) {
        let spec = haproxy::spec_with(&self.stack, 1).unwrap();
        spec.start(&self.stack.layout).unwrap();
        spec.wait_ready(&self.stack.layout).unwrap();
    }

    async fn ask(&self, path: &str, token: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.stack.ports.url(Port::Edge));
        let question = self.client.get(url).bearer_auth(token).header("X-ShopSphere-Subject", "somebody-else");
        // An edge that starts anew takes its idle connections with it.
        question.header("Connection", "close").send().await.unwrap()
    }

    async fn status(&self, path: &str, token: &str) -> u16 {
        self.ask(path, token).await.status().as_u16()
    }
}

fn claims(subject: &str, seconds: i64) -> Value {
    json!({"sub": subject, "exp": SystemClock.now().timestamp() + seconds, "iss": "test", "aud": "shopsphere-api"})
}

#[tokio::test]
async fn tokens_of_the_old_and_the_new_key_pass_during_a_rotation_and_then_those_of_the_new_one() {
    let (edge, issuer) = (Edge::new("edge-rotation", 0).await, FakeIssuer::start().await);
    let (old, new) = (Signer::new("-old"), Signer::new("new_2"));
    let story: [(i64, Vec<&Signer>, (u16, u16)); 4] = [
        (0, vec![&old], (200, 401)),
        (60, vec![&new, &old], (200, 200)),
        (120, vec![&new], (200, 200)),
        (780, vec![&new], (401, 200)),
    ];
    for (second, published, expected) in story {
        issuer.publishes(&published);
        issuer.run(&edge.target(), second).await.unwrap();
        edge.start();
        let status = async |signer: &Signer| edge.status("/v1/me", &signer.token(&claims("ada", 300))).await;
        assert_eq!((status(&old).await, status(&new).await), expected, "second {second}");
    }
}

#[tokio::test]
async fn only_a_token_that_is_signed_in_time_and_somebodys_passes_and_each_person_is_counted_alone() {
    let (edge, issuer) = (Edge::new("edge-tokens", 1).await, FakeIssuer::start().await);
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k1"));
    issuer.publishes(&[&signer]);
    issuer.run(&edge.target(), 0).await.unwrap();
    edge.start();
    let good = signer.token(&claims("ada", 300));
    let header = |alg: &str, kid: &str| json!({"alg": alg, "typ": "at+jwt", "kid": kid});
    let cases = [
        ("signed by another", stranger.token(&claims("ada", 300))),
        ("over", signer.token(&claims("ada", -1))),
        ("longer than ten minutes", signer.token(&claims("ada", 900))),
        ("without an end", signer.token(&json!({"sub": "ada"}))),
        ("nobody's", signer.token(&claims("", 300))),
        ("without a subject", signer.token(&json!({"exp": SystemClock.now().timestamp() + 300}))),
        ("of an unknown key", signer.token_with(&header("ES256", "k2"), &claims("ada", 300))),
        ("of another algorithm", signer.token_with(&header("HS256", "k1"), &claims("ada", 300))),
        ("unsigned", signer.token_with(&header("none", "k1"), &claims("ada", 300))),
        ("cut", good[..good.len() - 4].to_owned()),
        ("no token", "abc".to_owned()),
    ];
    for (what, token) in cases {
        assert_eq!(edge.status("/v1/me", &token).await, 401, "{what}");
    }
    assert_eq!(edge.reached.load(Ordering::SeqCst), 0, "a refused token reached a service");
    let answer = edge.ask("/v1/me", &good).await;
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
        (200, ""),
        "a forged subject came through"
    );

    // a browser's question before it asks needs no token: whoever it names, it is counted for nobody
    for _ in 0..60 {
        let url = format!("{}/v1/orders", edge.stack.ports.url(Port::Edge));
        let question = edge.client.request(reqwest::Method::OPTIONS, url);
        let answer = question.bearer_auth(stranger.token(&claims("ada", 300))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }

    // sixty in a minute for each person, whatever their address
    let mut passed = 0;
    let began = SystemClock.now();
    for _ in 0..90 {
        passed += usize::from(edge.status("/v1/orders", &good).await == 200);
    }
    let back = usize::try_from((SystemClock.now() - began).num_seconds()).unwrap();
    assert!((59..=61 + back).contains(&passed), "{passed} of 60 passed, {back} came back meanwhile");
    assert_eq!(
        edge.status("/v1/orders", &signer.token(&claims("bob", 300))).await,
        200,
        "another person waits for the first"
    );
    assert_eq!(edge.status("/v1/orders", &signer.token(&claims("ada", 200))).await, 429, "a new token begins anew");
}
