//! One person's story through the real Keycloak, Redis, PostgreSQL and Kafka, over the public port of the real process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Process, Role};
use common::{SystemClock, ids};
use contracts::topics::{CLICKSTREAM_RAW, USER_REGISTERED};
use contracts::user::v1::{ClicksReported, UserRegistered};
use messaging::KafkaSettings;
use prost::Message as _;
use serde_json::{Value, json};
use testkit::{TestDatabase, servers};
use user::config::Config;
use user::wiring;

use crate::support::{HERE, PASSWORD};

/// How long a busy identity provider may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// The roles `serve` and `work`, running.
struct Region {
    url: String,
    kafka: KafkaSettings,
    database: TestDatabase,
    http: reqwest::Client,
    processes: Vec<(Process, tokio::task::JoinHandle<chassis::lifecycle::Ending>)>,
}

fn config(database: &TestDatabase, kafka: &KafkaSettings) -> Config {
    let servers = servers();
    let issuer = format!("{}/realms/shopsphere-{}", servers.keycloak_url, HERE.code());
    let settings = [
        ("HTTP__PORT", "0".to_owned()),
        ("PROCESS__GRACE_MS", "0".to_owned()),
        ("AUTH__JWKS_URL", format!("{issuer}/protocol/openid-connect/certs")),
        ("AUTH__ISSUER", issuer),
        ("REDIS__URL", servers.redis_url.clone()),
        ("DATABASE__URL", servers.postgres_url(&database.name, "user_profile_app")),
        ("KAFKA__BROKERS", kafka.brokers.clone()),
        ("KAFKA__TOPIC_PREFIX", kafka.topic_prefix.clone()),
        ("PSEUDONYM__KEY", "a pseudonym key of the tests".to_owned()),
        ("KEYCLOAK__BASE_URL", servers.keycloak_url.clone()),
        ("KEYCLOAK__CLIENT_SECRET", "shopsphere-api-login-local".to_owned()),
        ("KEYCLOAK__ADMIN_CLIENT_SECRET", "user-service-local".to_owned()),
        ("SIGN_UP__MIN_ANSWER_MS", "1".to_owned()),
    ];
    let variables: Vec<_> = settings.map(|(name, value)| (format!("SHOPSPHERE__{name}"), value)).into();
    chassis::config::load::<Config>(<user::Service as chassis::Service>::DEFAULTS, None, &variables)
        .expect("the settings fit")
        .config
}

impl Region {
    async fn up() -> Self {
        let database = TestDatabase::create("user_profile", &user::MIGRATOR).await;
        let kafka = testkit::kafka::topics(&[&CLICKSTREAM_RAW, &USER_REGISTERED]).await;
        let (address, serve) = serve(config(&database, &kafka)).await;
        let work = work(config(&database, &kafka));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url: format!("http://{address}"), kafka, database, http, processes: vec![serve, work] }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, reqwest::header::HeaderMap, Value) {
        self.patiently(request).await.0
    }

    /// Asks again as `Retry-After` says while the answer is 503, as clients do; and whether that was needed.
    async fn patiently(&self, request: reqwest::RequestBuilder) -> ((u16, reqwest::header::HeaderMap, Value), bool) {
        let (began, mut again) = (tokio::time::Instant::now(), false);
        loop {
            let response = request.try_clone().expect("a body in memory").send().await.expect("an answer");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.bytes().await.expect("a body");
            if status != 503 || began.elapsed() > PATIENCE {
                return ((status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null)), again);
            }
            let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(seconds.expect("503 says when to come again"))).await;
            again = true;
        }
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, _, body) = self.send(self.http.post(format!("{}{path}", self.url)).json(&body)).await;
        (status, body)
    }

    async fn me(&self, token: &str) -> (u16, Value) {
        let (status, _, body) = self.send(self.http.get(format!("{}/v1/me", self.url)).bearer_auth(token)).await;
        (status, body)
    }

    /// Signs somebody up who is new; says who that is, if the answer does. A busy provider may have made the identity although we
    /// did not hear of it: asked again we say what we say for every known e-mail, and the first log-in finishes the sign-up.
    async fn signed_up(&self, email: &str) -> Option<String> {
        let request = self.http.post(format!("{}/v1/users", self.url)).json(&new_user(email));
        let ((status, _, body), again) = self.patiently(request).await;
        assert!(status == 201 || (again && status == 202), "{status} {body}");
        body["user_id"].as_str().map(str::to_owned)
    }

    async fn sign_up(&self, email: &str) -> (u16, Value) {
        self.post("/v1/users", new_user(email)).await
    }

    async fn log_in(&self, email: &str) -> Value {
        // The key set is fetched in the background; until it is there nobody is known.
        let (status, tokens) = self.post("/v1/sessions", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn down(self) {
        for (process, running) in self.processes {
            process.stop();
            let ending = running.await.expect("no panic");
            assert_eq!(ending, chassis::lifecycle::Ending::Done);
        }
    }
}

async fn serve(config: Config) -> (SocketAddr, (Process, tokio::task::JoinHandle<chassis::lifecycle::Ending>)) {
    let process = Process::new("user", Role::Serve, &config.common, Arc::new(SystemClock), Vec::new());
    let (told, address) = tokio::sync::oneshot::channel();
    let own = process.clone();
    let running = tokio::spawn(async move {
        let start = async {
            let address = wiring::serve(config, &own).await?;
            told.send(address).map_err(|_| anyhow::anyhow!("nobody waits for the address"))
        };
        own.run(start).await
    });
    let address = address.await.expect("the process starts");
    testkit::wait::until("a process that is ready", Duration::from_secs(20), async || {
        let failed: Vec<_> = process.readiness().ask().await.into_iter().filter(|finding| !finding.ok).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    })
    .await;
    (address, (process, running))
}

fn work(config: Config) -> (Process, tokio::task::JoinHandle<chassis::lifecycle::Ending>) {
    let process = Process::new("user", Role::Work, &config.common, Arc::new(SystemClock), Vec::new());
    let own = process.clone();
    let running = tokio::spawn(async move { own.run(wiring::work(config, &own)).await });
    (process, running)
}

fn new_user(email: &str) -> Value {
    json!({
        "email": email, "password": PASSWORD, "first_name": "Zoë {{7*7}}", "last_name": "<svg onload> 👩‍🚀",
        "residency_region": HERE.code(), "language": "fr", "consents": {"personalisation": true, "marketing": false},
    })
}

fn somebody() -> String {
    format!("test-{}@example.com", ids::random().simple())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_up_logs_in_clicks_and_logs_out() {
    let region = Region::up().await;
    let email = somebody();

    let registered = region.signed_up(&email).await;
    let (status, again) = region.sign_up(&email).await;
    assert_eq!((status, again["user_id"].as_str()), (202, None));

    let tokens = region.log_in(&email.to_uppercase()).await;
    let token = tokens["access_token"].as_str().expect("a token");
    assert_eq!((tokens["token_type"].as_str(), tokens["expires_in"].as_u64()), (Some("Bearer"), Some(300)));
    let (status, me) = region.me(token).await;
    assert_eq!((status, me["email"].as_str()), (200, Some(email.as_str())), "{me}");
    let user_id = me["user_id"].as_str().expect("a user id").to_owned();
    assert!(registered.is_none_or(|registered| registered == user_id), "{me}");
    assert_eq!(
        (me["first_name"].as_str(), me["last_name"].as_str(), me["language"].as_str()),
        (Some("Zoë {{7*7}}"), Some("<svg onload> 👩‍🚀"), Some("fr"))
    );

    clicks_reach_kafka_under_a_pseudonym(&region, token, &user_id).await;
    a_withdrawn_consent_stops_clicks(&region, token).await;
    the_event_reaches_kafka(&region, &user_id).await;

    let (status, _, _) =
        region.send(region.http.delete(format!("{}/v1/sessions/current", region.url)).bearer_auth(token)).await;
    assert_eq!(status, 204);
    assert_eq!(region.me(token).await.0, 401, "a logout counts at once");
    let (status, _) = region.post("/v1/sessions/refresh", json!({"refresh_token": tokens["refresh_token"]})).await;
    assert_eq!(status, 401, "also at the provider");
    region.down().await;
}

async fn clicks_reach_kafka_under_a_pseudonym(region: &Region, token: &str, user_id: &str) {
    let body = json!({"events": [{"event_id": "e1", "type": "search", "query": "gift for bob@example.com", "at": "1999-01-01T00:00:00Z"}]});
    let request = region.http.post(format!("{}/v1/events", region.url)).bearer_auth(token).json(&body);
    let (status, _, answer) = region.send(request).await;
    assert_eq!((status, answer["accepted"].as_u64()), (202, Some(1)));
    let [record] = testkit::kafka::read_all(&region.kafka, &CLICKSTREAM_RAW)
        .await
        .try_into()
        .expect("accepted means that it is there");
    let batch = ClicksReported::decode(&*record.payload).expect("a batch");
    assert_eq!(
        (record.key.as_str(), record.key.len(), batch.personalisation_consent),
        (batch.pseudonym.as_str(), 32, true)
    );
    assert_eq!(batch.clicks[0].query, "gift for [redacted]");
    assert!(batch.received_at_ms - batch.clicks[0].at_ms <= 24 * 60 * 60 * 1000);
    let raw = String::from_utf8_lossy(&record.payload);
    assert!(!raw.contains(user_id) && !raw.contains("bob@"), "{raw}");
}

async fn a_withdrawn_consent_stops_clicks(region: &Region, token: &str) {
    let url = format!("{}/v1/me/consents", region.url);
    let request = region.http.put(url).bearer_auth(token).json(&json!({"personalisation": false, "marketing": false}));
    assert_eq!(region.send(request).await.0, 200);
    let body = json!({"events": [{"event_id": "e2", "type": "view", "sku": "FA-1"}]});
    let request = region.http.post(format!("{}/v1/events", region.url)).bearer_auth(token).json(&body);
    assert_eq!(region.send(request).await.0, 202);
    let records = testkit::kafka::read_all(&region.kafka, &CLICKSTREAM_RAW).await;
    let [before, refusal] = records.try_into().expect("the withdrawal, and nothing more is kept");
    let told = ClicksReported::decode(&*refusal.payload).expect("a report");
    assert_eq!((refusal.key.as_str(), told.pseudonym.as_str()), (before.key.as_str(), before.key.as_str()));
    assert!(!told.personalisation_consent && told.clicks.is_empty(), "{told:?}");
}

async fn the_event_reaches_kafka(region: &Region, user_id: &str) {
    let record = testkit::wait::until("UserRegistered in Kafka", Duration::from_secs(20), async || {
        let records = testkit::kafka::read_all(&region.kafka, &USER_REGISTERED).await;
        <[_; 1]>::try_from(records).map(|[record]| record)
    })
    .await;
    let event = UserRegistered::decode(&*record.payload).expect("an event");
    assert_eq!((record.key.as_str(), event.user_id.as_str()), (user_id, user_id));
    assert!(!String::from_utf8_lossy(&record.payload).contains('@'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_tokens_rotate_and_a_replay_ends_the_session() {
    let region = Region::up().await;
    let email = somebody();
    region.signed_up(&email).await;
    let first = region.log_in(&email).await;
    let other = region.log_in(&email).await;

    let (status, second) = region.post("/v1/sessions/refresh", json!({"refresh_token": first["refresh_token"]})).await;
    assert_eq!(status, 200, "{second}");
    let access = second["access_token"].as_str().expect("a token");
    assert_eq!(region.me(access).await.0, 200);

    let (status, problem) = region.post("/v1/sessions/refresh", json!({"refresh_token": first["refresh_token"]})).await;
    assert_eq!((status, problem["code"].as_str()), (401, Some("unauthenticated")));
    assert_eq!(region.me(access).await.0, 401, "the family is revoked");
    assert_eq!(region.post("/v1/sessions/refresh", json!({"refresh_token": second["refresh_token"]})).await.0, 401);
    let untouched = other["access_token"].as_str().expect("a token");
    assert_eq!(region.me(untouched).await.0, 200, "other sessions of the person go on");

    let third = region.log_in(&email).await;
    let (status, _, _) =
        region.send(region.http.delete(format!("{}/v1/sessions", region.url)).bearer_auth(untouched)).await;
    assert_eq!(status, 204);
    for tokens in [&other, &third] {
        assert_eq!(region.me(tokens["access_token"].as_str().expect("a token")).await.0, 401, "logged out everywhere");
        assert_eq!(region.post("/v1/sessions/refresh", json!({"refresh_token": tokens["refresh_token"]})).await.0, 401);
    }
    region.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_without_a_row_gets_it_from_the_reconciler() {
    let region = Region::up().await;
    let email = somebody();
    region.signed_up(&email).await;
    let forgotten = [
        "DELETE FROM consents",
        "DELETE FROM outbox",
        "DELETE FROM users",
        "UPDATE sign_ups SET state = 'open', user_id = NULL, closed_at = NULL, next_look_at = now()",
    ];
    // As if the process had stopped right after the identity was made.
    for statement in forgotten {
        sqlx::query(statement).execute(&region.database.owner).await.expect(statement);
    }
    testkit::wait::until("the reconciler", Duration::from_secs(30), async || {
        let found = (region.database.count("users").await, region.database.count("consents").await);
        if found == (1, 1) { Ok(()) } else { Err(found) }
    })
    .await;
    let tokens = region.log_in(&email).await;
    let (status, me) = region.me(tokens["access_token"].as_str().expect("a token")).await;
    assert_eq!(
        (status, me["first_name"].as_str(), me["language"].as_str()),
        (200, Some("Zoë {{7*7}}"), Some("fr")),
        "all comes back from the identity"
    );
    region.down().await;
}
