//! Who gets in: tokens of every wrong kind, keys that rotate, sessions that end, issuers and stores that are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chassis::Process;
use chassis::auth::Authenticator;
use chassis::extract::{Caller, MaybeCaller};
use common::{UserId, ids};
use serde_json::{Value, json};

use crate::support::{FakeSessions, Issuer, KeyAnswer, SigningKey, client, encode, eventually, process};

struct Shop {
    issuer: Arc<Issuer>,
    sessions: Arc<FakeSessions>,
    process: Process,
    base: String,
    user: UserId,
    handled: Arc<AtomicUsize>,
}

impl Shop {
    async fn open(more: &str) -> Self {
        let issuer = Issuer::start().await;
        let settings = issuer.settings(more);
        let process = process(&settings);
        let sessions = Arc::new(FakeSessions::default());
        let user = UserId::from_uuid(ids::random());
        sessions.begin("session-1", user);
        let authenticator = Authenticator::start(&process, &settings.auth, sessions.clone()).unwrap();
        let handled = Arc::new(AtomicUsize::new(0));
        let counter = handled.clone();
        let router = Router::new()
            .route(
                "/v1/me",
                get(async move |caller: Caller| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    format!(
                        "{} {} {:?} {}",
                        caller.user_id, caller.region, caller.roles, caller.personalisation_consent
                    )
                }),
            )
            .route(
                "/v1/page",
                get(async |MaybeCaller(caller): MaybeCaller| if caller.is_some() { "known" } else { "anonymous" }),
            )
            .route("/v1/staff", get(async |caller: Caller| caller.require_role("staff").map(|()| "staff")));
        let address = chassis::http::serve(&process, &settings.http, router, Some(authenticator)).await.unwrap();
        let shop = Self { issuer, sessions, process, base: format!("http://{address}"), user, handled };
        eventually("keys are there", async || shop.process.readiness().ask().await.iter().all(|finding| finding.ok))
            .await;
        shop
    }

    async fn ask(&self, path: &str, authorization: &str) -> (u16, String) {
        let response =
            client().get(format!("{}{path}", self.base)).header("authorization", authorization).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn me(&self, token: &str) -> u16 {
        self.ask("/v1/me", &format!("Bearer {token}")).await.0
    }

    fn token(&self) -> String {
        self.issuer.token(self.user, "session-1")
    }

    /// A well-signed token with another header or other claims.
    fn altered(&self, part: &str, name: &str, value: Value) -> String {
        let (mut header, mut claims) = (self.issuer.header(), self.issuer.claims(self.user, "session-1"));
        let object = if part == "header" { &mut header } else { &mut claims };
        if value == json!("(absent)") {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value;
        }
        self.issuer.key.sign(&header, &claims)
    }
}

#[tokio::test]
async fn a_valid_token_with_a_living_session_is_a_caller() {
    let shop = Shop::open("").await;
    let (status, text) = shop.ask("/v1/me", &format!("Bearer {}", shop.token())).await;
    assert_eq!((status, text), (200, format!("{} eu [\"shopper\"] true", shop.user)));
    assert_eq!(shop.ask("/v1/me", &format!("bearer   {}", shop.token())).await.0, 200, "the scheme has no case");
    let personal = client().get(format!("{}/v1/me", shop.base)).bearer_auth(shop.token()).send().await.unwrap();
    assert_eq!(personal.headers()["cache-control"], "no-store");
    let single = shop.altered("claims", "aud", json!("shopsphere-api"));
    assert_eq!(shop.me(&single).await, 200, "one audience need not be a list");
}

#[tokio::test]
async fn every_fault_of_a_token_gets_the_same_401_and_reaches_no_handler() {
    let shop = Shop::open("").await;
    let now = chrono::Utc::now().timestamp();
    let stranger = SigningKey::new("key-1");
    let good = shop.token();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = (shop.issuer.header(), shop.issuer.claims(shop.user, "session-1"));
    let unsigned =
        |header: Value| format!("{}.{}.", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let mut flipped = good.clone().into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let doubled = claims.to_string().replacen('{', &format!("{{\"sub\":\"{}\",", ids::random()), 1);
    let mut faults: Vec<(String, String)> = vec![
        ("no token".into(), "Bearer ".into()),
        ("another scheme".into(), format!("Basic {good}")),
        ("tab after the scheme".into(), format!("Bearer\t{good}")),
        ("two tokens".into(), format!("Bearer {good} {good}")),
        ("unsigned".into(), format!("Bearer {}", unsigned(json!({"alg": "none", "typ": "at+jwt", "kid": "key-1"})))),
        (
            "unsigned, odd spelling".into(),
            format!("Bearer {}", unsigned(json!({"alg": "nOnE", "typ": "at+jwt", "kid": "key-1"}))),
        ),
        ("signed by a stranger under our key id".into(), format!("Bearer {}", stranger.sign(&header, &claims))),
        ("flipped".into(), format!("Bearer {}", String::from_utf8(flipped).unwrap())),
        ("truncated".into(), format!("Bearer {}", &good[..good.len() - 2])),
        ("extra part".into(), format!("Bearer {good}.x")),
        ("five parts".into(), format!("Bearer a.b.{good}")),
        ("padding".into(), format!("Bearer {good}=")),
        ("inner space".into(), format!("Bearer {head}. {signature}")),
        ("zero signature".into(), format!("Bearer {head}.{}", encode(&[0; 64]))),
        (
            "subject twice".into(),
            format!("Bearer {}", shop.issuer.key.sign_bytes(header.to_string().as_bytes(), doubled.as_bytes())),
        ),
        (
            "claims with a byte order mark".into(),
            format!(
                "Bearer {}",
                shop.issuer.key.sign_bytes(header.to_string().as_bytes(), format!("\u{feff}{claims}").as_bytes())
            ),
        ),
        ("claims are a list".into(), format!("Bearer {}", shop.issuer.key.sign(&header, &json!([1])))),
        (
            "two thousand roles".into(),
            format!("Bearer {}", shop.altered("claims", "realm_access", json!({"roles": vec!["r"; 2000]}))),
        ),
    ];
    let web_key = stranger.web_key();
    let alterations: Vec<(&str, &str, Value)> = vec![
        ("header", "alg", json!("HS256")),
        ("header", "alg", json!("ES384")),
        ("header", "alg", json!("(absent)")),
        ("header", "typ", json!("JWT")),
        ("header", "typ", json!("logout+jwt")),
        ("header", "typ", json!("(absent)")),
        ("header", "jwk", web_key),
        ("header", "jku", json!("http://127.0.0.1:1/keys")),
        ("header", "x5u", json!("http://127.0.0.1:1/cert")),
        ("header", "x5c", json!(["MIIB"])),
        ("header", "crit", json!(["exp"])),
        ("header", "b64", json!(false)),
        ("header", "zip", json!("DEF")),
        ("header", "kid", json!("../../etc/passwd")),
        ("header", "kid", json!("' OR 1=1 --")),
        ("header", "kid", json!("a\u{0}b")),
        ("header", "kid", json!("k".repeat(4000))),
        ("header", "kid", json!("")),
        ("header", "kid", json!("(absent)")),
        ("header", "kid", json!("enc-1")),
        ("claims", "iss", json!(format!("{}/", shop.issuer.name()))),
        ("claims", "iss", json!(shop.issuer.name().to_uppercase())),
        ("claims", "iss", json!("(absent)")),
        ("claims", "aud", json!("(absent)")),
        ("claims", "aud", json!("account")),
        ("claims", "aud", json!([])),
        ("claims", "aud", json!([["shopsphere-api"]])),
        ("claims", "aud", json!("")),
        ("claims", "exp", json!(now - 61)),
        ("claims", "exp", json!("(absent)")),
        ("claims", "exp", json!((now + 300).to_string())),
        ("claims", "exp", json!(1e308)),
        ("claims", "exp", json!(-1)),
        ("claims", "exp", json!(u64::MAX)),
        ("claims", "nbf", json!(now + 62)),
        ("claims", "nbf", json!("soon")),
        ("claims", "iat", json!(now + 3600)),
        ("claims", "sub", json!("(absent)")),
        ("claims", "sub", json!("admin")),
        ("claims", "sid", json!("(absent)")),
        ("claims", "sid", json!("session-1\r\nGET x")),
        ("claims", "sid", json!("another-session")),
        ("claims", "residency_region", json!("EU")),
        ("claims", "residency_region", json!("(absent)")),
    ];
    faults.extend(alterations.into_iter().map(|(part, name, value)| {
        (format!("{part} {name} {:.60}", value.to_string()), format!("Bearer {}", shop.altered(part, name, value)))
    }));
    for (fault, authorization) in &faults {
        let response =
            client().get(format!("{}/v1/me", shop.base)).header("authorization", authorization).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401, "{fault}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer", "{fault}");
        let mut body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        body.as_object_mut().unwrap().remove("trace_id");
        let constant = json!({
            "type": "https://shopsphere.example/errors/unauthenticated", "title": "A valid access token is required", "status": 401,
            "detail": "send a valid access token as a bearer token", "instance": "/v1/me", "code": "unauthenticated",
        });
        assert_eq!(body, constant, "{fault}");
    }
    let none = client().get(format!("{}/v1/me?access_token={good}", shop.base)).send().await.unwrap();
    assert_eq!(none.status().as_u16(), 401, "a token in the query is no token");
    let twice = client()
        .get(format!("{}/v1/me", shop.base))
        .header("authorization", format!("Bearer {good}"))
        .header("authorization", "Bearer x");
    assert_eq!(twice.send().await.unwrap().status().as_u16(), 401);
    assert_eq!(shop.handled.load(Ordering::SeqCst), 0);
    assert_eq!(shop.me(&good).await, 200, "the good one was good all the time");
}

#[tokio::test]
async fn clocks_may_differ_a_little() {
    let shop = Shop::open("leeway_s = 60\n").await;
    let now = chrono::Utc::now().timestamp();
    for (name, value, status) in
        [("exp", now - 55, 200), ("exp", now - 62, 401), ("nbf", now + 55, 200), ("nbf", now + 65, 401)]
    {
        assert_eq!(shop.me(&shop.altered("claims", name, json!(value))).await, status, "{name} {}", value - now);
    }
}

#[tokio::test]
async fn a_token_of_another_region_is_told_where_to_go() {
    let shop = Shop::open("foreign_issuers = { apac = \"https://id.apac.example/realms/shop\" }\n").await;
    let derived = shop.issuer.name().replace("shopsphere-eu", "shopsphere-us");
    for (name, value, base) in [
        ("iss", &*derived, "https://api.us.shopsphere.example"),
        ("iss", "https://id.apac.example/realms/shop", "https://api.apac.shopsphere.example"),
        ("residency_region", "us", "https://api.us.shopsphere.example"),
    ] {
        let token = shop.altered("claims", name, json!(value));
        let response = client().get(format!("{}/v1/me", shop.base)).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 421, "{value}");
        assert_eq!(response.headers()["link"], format!("<{base}>; rel=\"alternate\""));
        assert!(response.text().await.unwrap().contains("residency-mismatch"));
    }
    assert_eq!(shop.sessions.reads.load(Ordering::SeqCst), 0, "nothing was looked up for them");
    let forged = shop.altered("claims", "residency_region", json!("us"));
    let forged = format!("{}.{}", forged.rsplit_once('.').unwrap().0, encode(&[1; 64]));
    assert_eq!(shop.me(&forged).await, 401, "a claim counts only when it is signed");
}

#[tokio::test]
async fn a_session_that_has_ended_ends_the_token_at_once() {
    let shop = Shop::open("").await;
    let token = shop.token();
    assert_eq!(shop.me(&token).await, 200);
    shop.sessions.records.lock().unwrap().clear();
    assert_eq!(shop.me(&token).await, 401);
    shop.sessions.begin("session-1", UserId::from_uuid(ids::random()));
    assert_eq!(shop.me(&token).await, 401, "somebody else's session");
    shop.sessions.begin("session-1", shop.user);
    assert_eq!(shop.me(&token).await, 200);
}

#[tokio::test]
async fn when_the_session_store_is_away_nobody_gets_in() {
    let shop = Shop::open("").await;
    shop.sessions.down.store(true, Ordering::SeqCst);
    let response = client().get(format!("{}/v1/me", shop.base)).bearer_auth(shop.token()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert!(response.text().await.unwrap().contains("dependency-down"));
    assert_eq!(shop.me("x.y.z").await, 401, "a bad token is a bad token without the store");
}

#[tokio::test]
async fn an_optional_caller_may_be_absent_but_not_wrong() {
    let shop = Shop::open("").await;
    let anonymous = client().get(format!("{}/v1/page", shop.base)).send().await.unwrap();
    assert_eq!(anonymous.text().await.unwrap(), "anonymous");
    assert_eq!(shop.ask("/v1/page", &format!("Bearer {}", shop.token())).await, (200, "known".to_owned()));
    assert_eq!(shop.ask("/v1/page", "Bearer x.y.z").await.0, 401);
}

#[tokio::test]
async fn roles_compare_exactly() {
    let shop = Shop::open("").await;
    for (roles, status) in
        [(json!(["shopper"]), 403), (json!(["STAFF", "staff ", "staff[]"]), 403), (json!(["shopper", "staff"]), 200)]
    {
        let token = shop.altered("claims", "realm_access", json!({ "roles": roles }));
        assert_eq!(shop.ask("/v1/staff", &format!("Bearer {token}")).await.0, status, "{roles}");
    }
    assert_eq!(
        shop.ask("/v1/staff", &format!("Bearer {}", shop.altered("claims", "Roles", json!(["staff"])))).await.0,
        403
    );
}

#[tokio::test]
async fn a_rotated_key_is_found_by_itself_and_a_removed_one_stops_working() {
    let shop = Shop::open("cooldown_s = 0\n").await;
    let old = shop.token();
    let next = SigningKey::new("key-2");
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "key-2"});
    let new = next.sign(&header, &shop.issuer.claims(shop.user, "session-1"));
    assert_eq!(shop.me(&new).await, 401, "not published yet");
    *shop.issuer.answer.lock().unwrap() = KeyAnswer::Keys(vec![shop.issuer.key.clone(), next.clone()]);
    assert_eq!((shop.me(&new).await, shop.me(&old).await), (200, 200), "both inside the overlap");
    *shop.issuer.answer.lock().unwrap() = KeyAnswer::Keys(vec![next]);
    let unknown = shop.altered("header", "kid", json!("key-9"));
    assert_eq!(shop.me(&unknown).await, 401);
    assert_eq!((shop.me(&new).await, shop.me(&old).await), (200, 401), "the refresh has removed the old key");
}

#[tokio::test]
async fn a_token_that_was_good_before_ends_with_its_time() {
    let shop = Shop::open("leeway_s = 60\n").await;
    let last_moments = shop.altered("claims", "exp", json!(chrono::Utc::now().timestamp() - 58));
    assert_eq!((shop.me(&last_moments).await, shop.me(&last_moments).await), (200, 200));
    eventually("it has expired", async || shop.me(&last_moments).await == 401).await;
    let other_signature = format!("{}.{}", shop.token().rsplit_once('.').unwrap().0, encode(&[1; 64]));
    assert_eq!(shop.me(&other_signature).await, 401, "what was found out about one token says nothing of another");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_fetches_the_key_set_at_most_once() {
    let shop = Shop::open("cooldown_s = 60\n").await;
    let before = shop.issuer.fetches.load(Ordering::SeqCst);
    let shop = Arc::new(shop);
    let flood = (0..200).map(|number| {
        let shop = shop.clone();
        async move { shop.me(&shop.altered("header", "kid", json!(format!("unknown-{number}")))).await }
    });
    let answers = futures::future::join_all(flood).await;
    assert!(answers.iter().all(|status| *status == 401));
    assert!(
        shop.issuer.fetches.load(Ordering::SeqCst) - before <= 1,
        "{} fetches",
        shop.issuer.fetches.load(Ordering::SeqCst)
    );
    assert_eq!(shop.me(&shop.token()).await, 200);
}

#[tokio::test]
async fn an_issuer_in_trouble_locks_nobody_out() {
    for trouble in [KeyAnswer::Down, KeyAnswer::Html, KeyAnswer::Huge, KeyAnswer::Keys(Vec::new())] {
        let shop = Shop::open("cooldown_s = 0\nrefresh_s = 1\n").await;
        let before = shop.issuer.fetches.load(Ordering::SeqCst);
        *shop.issuer.answer.lock().unwrap() = trouble;
        assert_eq!(shop.me(&shop.altered("header", "kid", json!("key-9"))).await, 401);
        eventually("the refresh has met the trouble", async || {
            shop.issuer.fetches.load(Ordering::SeqCst) >= before + 2
        })
        .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(shop.me(&shop.token()).await, 200);
    }
}

#[tokio::test]
async fn forged_tokens_cannot_pile_up_behind_a_slow_issuer() {
    let shop = Arc::new(Shop::open("cooldown_s = 0\n").await);
    *shop.issuer.answer.lock().unwrap() = KeyAnswer::Slow;
    let forged = (0..100).map(|number| {
        let shop = shop.clone();
        async move {
            let token = shop.altered("header", "kid", json!(format!("unknown-{number}")));
            let begun = std::time::Instant::now();
            assert_eq!(shop.me(&token).await, 401);
            begun.elapsed()
        }
    });
    let waited = futures::future::join_all(forged).await;
    let long = waited.iter().filter(|time| **time > Duration::from_secs(1)).count();
    assert!(long <= 32, "{long} requests waited");
    assert_eq!(shop.me(&shop.token()).await, 200);
}

#[tokio::test]
async fn a_client_who_leaves_does_not_take_the_fetch_of_a_new_key_with_it() {
    let shop = Shop::open("cooldown_s = 1\n").await;
    let next = SigningKey::new("key-2");
    let new = next
        .sign(&json!({"alg": "ES256", "typ": "at+jwt", "kid": "key-2"}), &shop.issuer.claims(shop.user, "session-1"));
    *shop.issuer.answer.lock().unwrap() = KeyAnswer::Keys(vec![next]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let unknown = shop.altered("header", "kid", json!("key-9"));
    let leaver = tokio::time::timeout(Duration::from_micros(500), shop.me(&unknown)).await;
    drop(leaver);
    eventually("the new key is accepted", async || shop.me(&new).await == 200).await;
}
