//! What the stories share: a process in this test, an issuer of tokens with a key endpoint, sessions in memory, a client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::auth::{SessionReader, SessionStoreDown};
use chassis::config::{Auth, Common, Grpc, Http};
use chassis::{Process, Role};
use common::{Region, SessionId, SystemClock, UserId};
use contracts::session::SessionRecord;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

pub const AUDIENCE: &str = "shopsphere-api";

#[derive(Deserialize)]
pub struct Settings {
    #[serde(flatten)]
    pub common: Common,
    pub http: Http,
    pub grpc: Grpc,
    pub auth: Auth,
}

/// The compiled-in defaults with some values of ours.
pub fn settings(file: &str) -> Settings {
    let mut defaults: toml::Table = "[http]\n[grpc]\n[auth]\n[process]\ngrace_ms = 0\n".parse().unwrap();
    for (section, values) in file.parse::<toml::Table>().unwrap() {
        let known = defaults.entry(section).or_insert_with(|| toml::Table::new().into());
        known.as_table_mut().unwrap().extend(values.as_table().unwrap().clone());
    }
    chassis::config::load(&defaults.to_string(), None, &[]).unwrap().config
}

pub fn process(settings: &Settings) -> Process {
    Process::new("test", Role::Serve, &settings.common, Arc::new(SystemClock), Vec::new())
}

thread_local! {
    /// One per test, which has a thread of its own: making a client reads the system's certificates.
    static CLIENT: reqwest::Client = chassis::http_client::new(chassis::http_client::HttpClientSettings::default()).unwrap();
}

/// A client that follows no redirects and waits no longer than a test should.
pub fn client() -> reqwest::Client {
    CLIENT.with(Clone::clone)
}

/// Waits until `holds`, at most five seconds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..250 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}

/// Sessions in memory, which can be made to fail.
#[derive(Default)]
pub struct FakeSessions {
    pub records: Mutex<HashMap<String, SessionRecord>>,
    pub down: AtomicBool,
    pub reads: AtomicUsize,
}

impl FakeSessions {
    pub fn begin(&self, session: &str, user_id: UserId) {
        let record = SessionRecord { user_id, region: Region::Eu, personalisation_consent: true };
        self.records.lock().unwrap().insert(session.to_owned(), record);
    }
}

#[async_trait::async_trait]
impl SessionReader for FakeSessions {
    async fn read(&self, session: &SessionId) -> Result<Option<SessionRecord>, SessionStoreDown> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(SessionStoreDown("the test says so".to_owned()));
        }
        Ok(self.records.lock().unwrap().get(session.as_str()).cloned())
    }
}

/// A key pair of an issuer.
pub struct SigningKey {
    pub id: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub fn new(id: &str) -> Arc<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Arc::new(Self { id: id.to_owned(), pair })
    }

    pub fn web_key(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y})
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_bytes(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    pub fn sign_bytes(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the key endpoint answers.
pub enum KeyAnswer {
    Keys(Vec<Arc<SigningKey>>),
    Down,
    Html,
    Huge,
    /// Does not answer within anybody's patience.
    Slow,
}

/// The identity provider, as far as verification sees it.
pub struct Issuer {
    pub key: Arc<SigningKey>,
    pub answer: Mutex<KeyAnswer>,
    pub fetches: AtomicUsize,
    pub address: SocketAddr,
}

impl Issuer {
    pub async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = SigningKey::new("key-1");
        let issuer = Arc::new(Self {
            answer: Mutex::new(KeyAnswer::Keys(vec![key.clone()])),
            key,
            fetches: AtomicUsize::new(0),
            address: listener.local_addr().unwrap(),
        });
        let router = Router::new().route("/certs", get(certs)).with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    /// Of the region of the tests; ends with the region's code as the real ones do.
    pub fn name(&self) -> String {
        format!("http://{}/realms/shopsphere-eu", self.address)
    }

    pub fn settings(&self, more: &str) -> Settings {
        settings(&format!("[auth]\nissuer = \"{}\"\njwks_url = \"http://{}/certs\"\n{more}", self.name(), self.address))
    }

    pub fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": self.key.id})
    }

    pub fn claims(&self, user: UserId, session: &str) -> Value {
        let now = chrono::Utc::now().timestamp();
        json!({
            "iss": self.name(), "aud": [AUDIENCE, "account"], "sub": user.to_string(), "sid": session, "residency_region": "eu",
            "exp": now + 300, "nbf": now, "iat": now, "typ": "Bearer", "realm_access": {"roles": ["shopper"]},
        })
    }

    pub fn token(&self, user: UserId, session: &str) -> String {
        self.key.sign(&self.header(), &self.claims(user, session))
    }
}

async fn certs(State(issuer): State<Arc<Issuer>>) -> Response {
    issuer.fetches.fetch_add(1, Ordering::SeqCst);
    let slow = matches!(&*issuer.answer.lock().unwrap(), KeyAnswer::Slow);
    if slow {
        return std::future::pending().await;
    }
    match &*issuer.answer.lock().unwrap() {
        KeyAnswer::Slow => http::StatusCode::GATEWAY_TIMEOUT.into_response(),
        KeyAnswer::Keys(keys) => {
            let encryption =
                json!({"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "enc-1", "n": "AQAB", "e": "AQAB"});
            let mut all: Vec<Value> = keys.iter().map(|key| key.web_key()).collect();
            all.push(encryption);
            axum::Json(json!({ "keys": all })).into_response()
        }
        KeyAnswer::Down => http::StatusCode::SERVICE_UNAVAILABLE.into_response(),
        KeyAnswer::Html => "<html>maintenance</html>".into_response(),
        KeyAnswer::Huge => "x".repeat(10 * 1024 * 1024).into_response(),
    }
}
