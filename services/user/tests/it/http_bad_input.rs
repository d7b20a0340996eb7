//! What the world sends: each wrong request gets its problem answer, and nothing has changed.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use chassis::auth::{Authenticator, SessionReader, SessionStoreDown};
use chassis::config::Http;
use chassis::extract::Caller;
use chassis::{Process, Role};
use common::{SessionId, SystemClock};
use contracts::session::SessionRecord;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use user::config::Config;
use user::inbound::http::{Api, SignUpAnswers, router};

use crate::support::{ELSEWHERE, HERE, PASSWORD, World};

fn defaults() -> Config {
    let variables = [("SHOPSPHERE__PSEUDONYM__KEY".to_owned(), "sixteen characters or more".to_owned())];
    chassis::config::load::<Config>(<user::Service as chassis::Service>::DEFAULTS, None, &variables)
        .expect("the defaults are whole")
        .config
}

/// The public API over memory ports; `caller` is somebody whose token has been verified.
fn api(world: &World, caller: Option<Caller>, neutral: bool) -> Router {
    let config = defaults();
    let answers = SignUpAnswers { neutral, min_duration: std::time::Duration::ZERO };
    let mut router = router(Api::new(world.app.clone(), answers, "http://localhost"));
    if let Some(caller) = caller {
        router = router.layer(axum::Extension(caller));
    }
    let settings: &Http = &config.http;
    chassis::http::dress(&config.common.site, settings, router, None)
}

async fn ada(world: &World) -> Caller {
    let user_id = world.registered("ada@example.com").await;
    let (_, holder) = world.logged_in("ada@example.com").await;
    let session_id = SessionId::parse(holder.session_id.as_str()).expect("a session id");
    Caller { user_id, session_id, region: HERE, roles: Vec::new(), personalisation_consent: true }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let builder = headers
        .iter()
        .fold(Request::builder().method(method).uri(path), |builder, (name, value)| builder.header(*name, *value));
    builder.body(body.into()).expect("a request")
}

fn json_request(method: Method, path: &str, body: &str) -> Request<Body> {
    request(method, path, &[("content-type", "application/json")], body.to_owned())
}

async fn answer(router: &Router, request: Request<Body>) -> (Response<()>, Value) {
    let (parts, body) = router.clone().oneshot(request).await.expect("an answer").into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("a JSON body") };
    (Response::from_parts(parts, ()), value)
}

/// Status, code and first pointer of a problem answer; asserts its shape.
async fn refused(router: &Router, request: Request<Body>) -> (u16, String, String) {
    let (response, body) = answer(router, request).await;
    assert_eq!(
        response.headers().get("content-type").map(|value| value.as_bytes()),
        Some(&b"application/problem+json"[..]),
        "{body}"
    );
    assert_eq!(body["status"].as_u64(), Some(u64::from(response.status().as_u16())));
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    (response.status().as_u16(), text(&body["code"]), text(&body["errors"][0]["pointer"]))
}

fn new_user(changes: Value) -> String {
    let mut body = json!({
        "email": "new@example.com", "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace",
        "residency_region": HERE.code(), "consents": {"personalisation": true, "marketing": false},
    });
    for (name, value) in changes.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body.to_string()
}

#[tokio::test]
async fn a_wrong_sign_up_is_a_problem_and_changes_nothing() {
    let world = World::new();
    let router = api(&world, None, false);
    let whole = new_user(json!({}));
    let twice = whole.replacen('{', r#"{"email":"a@example.com","#, 1);
    let surrogate = whole.replace("Lovelace", "\\ud800");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: Vec<(String, (u16, &str, &str))> = vec![
        (new_user(json!({"first_name": ["Ada"]})), (422, "invalid-field", "/first_name")),
        (new_user(json!({"first_name": {"a": 1}})), (422, "invalid-field", "/first_name")),
        (new_user(json!({"first_name": 7})), (422, "invalid-field", "/first_name")),
        (new_user(json!({"first_name": null})), (422, "invalid-field", "/first_name")),
        (new_user(json!({"first_name": ""})), (422, "invalid-field", "/first_name")),
        (new_user(json!({"first_name": "x".repeat(51)})), (422, "invalid-field", "/first_name")),
        (new_user(json!({"first_name": "e\u{301}".repeat(500)})), (422, "invalid-field", "/first_name")),
        (new_user(json!({"last_name": "nul\u{0}"})), (422, "invalid-field", "/last_name")),
        (new_user(json!({"last_name": "4111 1111 1111 1111"})), (422, "card-data-refused", "/last_name")),
        (new_user(json!({"email": "not an e-mail"})), (422, "invalid-field", "/email")),
        (new_user(json!({"email": format!("{}@example.com", "x".repeat(300))})), (422, "invalid-field", "/email")),
        (new_user(json!({"password": "short"})), (422, "invalid-field", "/password")),
        (new_user(json!({"password": "x".repeat(4096)})), (422, "invalid-field", "/password")),
        (new_user(json!({"password": "password123"})), (422, "invalid-field", "/password")),
        (new_user(json!({"residency_region": "EU "})), (422, "invalid-field", "/residency_region")),
        (new_user(json!({"residency_region": "ＥＵ"})), (422, "invalid-field", "/residency_region")),
        (new_user(json!({"residency_region": "XX"})), (422, "invalid-field", "/residency_region")),
        (new_user(json!({"residency_region": null})), (422, "invalid-field", "/residency_region")),
        (new_user(json!({"language": null})), (422, "invalid-field", "/language")),
        (new_user(json!({"language": "tlh"})), (422, "invalid-field", "/language")),
        (
            new_user(json!({"consents": {"personalisation": "yes"}})),
            (422, "invalid-field", "/consents/personalisation"),
        ),
        (new_user(json!({"consents": {"everything": true}})), (422, "unknown-field", "/consents/everything")),
        (new_user(json!({"user_id": "0191f3f0-0000-7000-8000-000000000001"})), (422, "unknown-field", "/user_id")),
        (new_user(json!({"role": "staff"})), (422, "unknown-field", "/role")),
        (new_user(json!({"email_verified": true})), (422, "unknown-field", "/email_verified")),
        ("{}".to_owned(), (422, "invalid-field", "/email")),
        (twice, (400, "malformed-request", "-")),
        (surrogate, (400, "malformed-request", "-")),
        ("{".to_owned(), (400, "malformed-request", "-")),
        ("".to_owned(), (400, "malformed-request", "-")),
        (deep, (400, "malformed-request", "-")),
        (new_user(json!({"first_name": "x".repeat(64 * 1024 + 1)})), (413, "body-too-large", "-")),
    ];
    for (body, (status, code, pointer)) in cases {
        let shown: String = body.chars().take(120).collect();
        let found = refused(&router, json_request(Method::POST, "/v1/users", &body)).await;
        assert_eq!(found, (status, code.to_owned(), pointer.to_owned()), "{shown}");
    }
    for content_type in ["text/plain", "application/xml", "application/json; charset=latin1", ""] {
        let request = request(Method::POST, "/v1/users", &[("content-type", content_type)], new_user(json!({})));
        assert_eq!(refused(&router, request).await.0, 415, "{content_type:?}");
    }
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(refused(&router, request(Method::POST, "/v1/users", &gzip, new_user(json!({})))).await.0, 415);
    assert_eq!(
        (world.identities.everybody().len(), world.people.everybody().len(), world.people.open_sign_ups()),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn people_of_another_region_are_told_where_to_sign_up() {
    let world = World::new();
    let router = api(&world, None, false);
    let body = new_user(json!({"residency_region": ELSEWHERE.code(), "email": "not read"}));
    let (response, problem) = answer(&router, json_request(Method::POST, "/v1/users", &body)).await;
    assert_eq!(
        (response.status(), problem["code"].as_str()),
        (StatusCode::MISDIRECTED_REQUEST, Some("residency-mismatch"))
    );
    let link = response.headers()["link"].to_str().expect("a link");
    assert_eq!(link, format!("<{}>; rel=\"alternate\"", ELSEWHERE.base_url()));
}

#[tokio::test]
async fn a_new_and_a_known_email_get_their_answers() {
    let world = World::new();
    let router = api(&world, None, false);
    let (first, body) = answer(&router, json_request(Method::POST, "/v1/users", &new_user(json!({})))).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(
        (body["user_id"].as_str(), body["residency_region"].as_str()),
        (Some(world.people.everybody()[0].to_string().as_str()), Some(HERE.code()))
    );
    assert_eq!(first.headers()["cache-control"], "no-store");
    let (second, body) = answer(&router, json_request(Method::POST, "/v1/users", &new_user(json!({})))).await;
    assert_eq!(
        (second.status(), body),
        (StatusCode::ACCEPTED, json!({"status": "accepted", "residency_region": HERE.code()}))
    );
}

#[tokio::test]
async fn neutral_answers_do_not_tell_whether_an_email_is_known() {
    let world = World::new();
    let router = api(&world, None, true);
    let (first, new) = answer(&router, json_request(Method::POST, "/v1/users", &new_user(json!({})))).await;
    let (second, known) = answer(&router, json_request(Method::POST, "/v1/users", &new_user(json!({})))).await;
    assert_eq!((first.status(), &new), (second.status(), &known));
    assert_eq!(world.people.everybody().len(), 1);
}

#[tokio::test]
async fn names_of_any_kind_come_back_exactly() {
    let world = World::new();
    let router = api(&world, None, false);
    for (n, name) in [
        "👩‍🚀",
        "\u{202e}evil",
        "a\u{200b}b",
        "O'); DROP TABLE users;--",
        "{{7*7}}",
        "${jndi:ldap://x}",
        "=cmd()",
        "<svg onload>",
    ]
    .into_iter()
    .enumerate()
    {
        let body = new_user(json!({"email": format!("n{n}@example.com"), "first_name": name}));
        let (response, registered) = answer(&router, json_request(Method::POST, "/v1/users", &body)).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{name:?}");
        let user_id = registered["user_id"].as_str().and_then(|text| text.parse().ok()).expect("a user id");
        let session_id = SessionId::parse("s").expect("a session id");
        let caller = Caller { user_id, session_id, region: HERE, roles: Vec::new(), personalisation_consent: true };
        let (_, me) = answer(&api(&world, Some(caller), false), request(Method::GET, "/v1/me", &[], "")).await;
        assert_eq!(me["first_name"].as_str(), Some(name));
    }
}

#[tokio::test]
async fn a_wrong_change_of_oneself_is_a_problem_and_changes_nothing() {
    let world = World::new();
    let caller = ada(&world).await;
    let router = api(&world, Some(caller.clone()), false);
    let patch = |body: &str, if_match: Option<&str>| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(if_match.map(|tag| ("if-match", tag)));
        request(Method::PATCH, "/v1/me", &headers, body.to_owned())
    };
    let one = Some("\"1\"");
    let cases = [
        (r#"{"first_name":"Augusta"}"#, None, (428, "precondition-required", "-")),
        (r#"{"first_name":"Augusta"}"#, Some("\"2\""), (412, "precondition-failed", "-")),
        (r#"{"first_name":"Augusta"}"#, Some("*"), (412, "precondition-failed", "-")),
        (r#"{"first_name":"Augusta"}"#, Some("W/\"1\""), (412, "precondition-failed", "-")),
        (r#"{"first_name":null}"#, one, (422, "invalid-field", "/first_name")),
        (r#"{"first_name":""}"#, one, (422, "invalid-field", "/first_name")),
        (r#"{"residency_region":"us"}"#, one, (422, "unknown-field", "/residency_region")),
        (r#"{"user_id":"x"}"#, one, (422, "unknown-field", "/user_id")),
        (r#"{"email":"x@example.com"}"#, one, (422, "unknown-field", "/email")),
        (r#"{"email_verified":true}"#, one, (422, "unknown-field", "/email_verified")),
        (r#"{"created_at":"2020-01-01T00:00:00Z"}"#, one, (422, "unknown-field", "/created_at")),
        (r#"{"loyalty_points":1000000}"#, one, (422, "unknown-field", "/loyalty_points")),
        (r#"{"first_name":"a","first_name":"b"}"#, one, (400, "malformed-request", "-")),
        (r#""x""#, one, (422, "invalid-field", "-")),
    ];
    for (body, if_match, (status, code, pointer)) in cases {
        let found = refused(&router, patch(body, if_match)).await;
        assert_eq!((found.0, found.1.as_str()), (status, code), "{body} {if_match:?}");
        assert!(pointer == "-" || found.2 == pointer, "{body}: {}", found.2);
    }
    let (response, me) = answer(&router, request(Method::GET, "/v1/me", &[], "")).await;
    assert_eq!((me["first_name"].as_str(), response.headers()["etag"].to_str().ok()), (Some("Ada"), Some("\"1\"")));

    let (response, me) = answer(&router, patch(r#"{"first_name":"Augusta"}"#, one)).await;
    assert_eq!(
        (response.status(), me["first_name"].as_str(), response.headers()["etag"].to_str().ok()),
        (StatusCode::OK, Some("Augusta"), Some("\"2\""))
    );
}

#[tokio::test]
async fn wrong_addresses_and_consents_are_problems() {
    let world = World::new();
    let router = api(&world, Some(ada(&world).await), false);
    let address = |country: &str| json!({"recipient": "Ada", "line1": "Street 1", "postal_code": "1", "city": "X", "country": country});
    let put = |path: &str, body: Value| {
        request(Method::PUT, path, &[("content-type", "application/json"), ("if-match", "\"1\"")], body.to_string())
    };
    let here = HERE.countries()[0];
    let cases = [
        (
            "/v1/me/addresses",
            json!({"items": [address(ELSEWHERE.countries()[0])]}),
            (422, "invalid-field", "/items/0/country"),
        ),
        ("/v1/me/addresses", json!({"items": vec![address(here); 11]}), (422, "invalid-field", "/items")),
        ("/v1/me/addresses", json!({"items": [{"recipient": "Ada"}]}), (422, "invalid-field", "/items/0/line1")),
        ("/v1/me/addresses", json!({"items": [], "user_id": "x"}), (422, "unknown-field", "/user_id")),
        ("/v1/me/consents", json!({"personalisation": true}), (422, "invalid-field", "/marketing")),
        (
            "/v1/me/consents",
            json!({"personalisation": "yes", "marketing": true}),
            (422, "invalid-field", "/personalisation"),
        ),
    ];
    for (path, body, (status, code, pointer)) in cases {
        let found = refused(&router, put(path, body.clone())).await;
        assert_eq!(found, (status, code.to_owned(), pointer.to_owned()), "{path} {body}");
    }
    let (response, _) = answer(&router, put("/v1/me/addresses", json!({"items": [address(here)]}))).await;
    assert_eq!((response.status(), response.headers()["etag"].to_str().ok()), (StatusCode::OK, Some("\"2\"")));
}

#[tokio::test]
async fn wrong_logins_are_one_constant_answer() {
    let world = World::new();
    ada(&world).await;
    let router = api(&world, None, false);
    let mut bodies = Vec::new();
    for (email, password) in [("ada@example.com", "wrong"), ("nobody@example.com", PASSWORD), ("", "")] {
        let body = json!({"email": email, "password": password}).to_string();
        let (response, mut problem) = answer(&router, json_request(Method::POST, "/v1/sessions", &body)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        problem.as_object_mut().map(|fields| fields.remove("trace_id"));
        bodies.push(problem);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    assert_eq!(bodies[0]["code"].as_str(), Some("unauthenticated"));
    let unknown = json!({"email": "ada@example.com", "password": PASSWORD, "role": "staff"}).to_string();
    assert_eq!(refused(&router, json_request(Method::POST, "/v1/sessions", &unknown)).await.1, "unknown-field");
    let replay = json!({"refresh_token": "x"}).to_string();
    assert_eq!(refused(&router, json_request(Method::POST, "/v1/sessions/refresh", &replay)).await.0, 401);
}

#[tokio::test]
async fn clicks_are_taken_in_every_shape_and_refused_by_rule() {
    const VISITOR: &str = "0191f3f0-0000-7000-8000-000000000001";
    let world = World::new();
    let router = api(&world, None, false);
    let event = json!({"event_id": "e1", "type": "view", "sku": "FA-1"});
    let post = |content_type: &str, path: &str, body: String| {
        request(Method::POST, path, &[("content-type", content_type)], body)
    };
    let with_visitor =
        json!({"visitor_id": VISITOR, "events": [event, {"event_id": "e2", "type": "view", "user_id": "x"}]})
            .to_string();
    for content_type in ["application/json", "text/plain;charset=UTF-8", "application/json; charset=utf-8"] {
        let (response, body) = answer(&router, post(content_type, "/v1/events", with_visitor.clone())).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(body, json!({"accepted": 1, "rejected": [{"index": 1, "code": "unknown-field"}]}));
    }
    let path = format!("/v1/events?visitor_id={VISITOR}");
    for (content_type, body) in [
        ("application/json", format!("[{event}]")),
        ("application/x-ndjson", format!("{event}\n{event}\n")),
        ("text/plain", event.to_string()),
    ] {
        assert_eq!(
            answer(&router, post(content_type, &path, body)).await.0.status(),
            StatusCode::ACCEPTED,
            "{content_type}"
        );
    }
    let kept = world.clicks.batches().len();
    assert_eq!(kept, 6);

    let many = |n: usize| {
        json!({"visitor_id": VISITOR, "events": vec![json!({"event_id": "e", "type": "custom"}); n]}).to_string()
    };
    let cases = [
        (post("application/json", "/v1/events", format!("[{event}]")), (422, "invalid-field", "/visitor_id")),
        (
            post("application/json", "/v1/events?visitor_id=x", format!("[{event}]")),
            (422, "invalid-field", "/visitor_id"),
        ),
        (
            post(
                "application/json",
                "/v1/events",
                json!({"visitor_id": VISITOR, "events": [], "user_id": "u"}).to_string(),
            ),
            (422, "unknown-field", "/user_id"),
        ),
        (post("application/json", "/v1/events", many(501)), (413, "body-too-large", "-")),
        (post("application/json", "/v1/events", many(10_000)), (413, "body-too-large", "-")),
        (post("application/json", "/v1/events", "{".to_owned()), (400, "malformed-request", "-")),
        (post("application/xml", "/v1/events", "<a/>".to_owned()), (415, "unsupported-media-type", "-")),
        (post("text/plain;charset=latin1", "/v1/events", with_visitor.clone()), (415, "unsupported-media-type", "-")),
        (post("application/json", "/v1/events", " ".repeat(256 * 1024 + 1)), (413, "body-too-large", "-")),
    ];
    for (request, (status, code, pointer)) in cases {
        assert_eq!(refused(&router, request).await, (status, code.to_owned(), pointer.to_owned()));
    }
    let do_not_track =
        request(Method::POST, "/v1/events", &[("content-type", "application/json"), ("dnt", "1")], with_visitor);
    assert_eq!(answer(&router, do_not_track).await.0.status(), StatusCode::ACCEPTED);
    let told = world.clicks.batches();
    assert!(told.len() == kept + 1 && !told[kept].personalisation_consent && told[kept].clicks.is_empty());
    let no = |consent: &str| {
        let path = format!("/v1/events?visitor_id={VISITOR}&consent={consent}");
        request(Method::POST, &path, &[("content-type", "text/plain")], "[]")
    };
    assert_eq!(answer(&router, no("no")).await.0.status(), StatusCode::ACCEPTED);
    assert_eq!(refused(&router, no("maybe")).await, (422, "invalid-field".to_owned(), "/consent".to_owned()));
    let told = world.clicks.batches();
    assert!(told.len() == kept + 2 && !told[kept + 1].personalisation_consent);
}

/// Nobody has one.
struct NoSessions;

#[async_trait::async_trait]
impl SessionReader for NoSessions {
    async fn read(&self, _: &SessionId) -> Result<Option<SessionRecord>, SessionStoreDown> {
        Ok(None)
    }
}

#[tokio::test]
async fn clicks_that_come_to_the_wrong_region_or_with_no_good_token_are_counted_with_the_refused() {
    // Says that it was issued by `https://elsewhere.test`; nobody believes more of it than that.
    const ELSEWHERES: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2Vsc2V3aGVyZS50ZXN0IiwiYXVkIjoiYSIsImV4cCI6MSwic3ViIjoicyIsInNpZCI6ImkiLCJyZXNpZGVuY3lfcmVnaW9uIjoiciJ9.AA";
    let (world, mut config) = (World::new(), defaults());
    config.auth.foreign_issuers = [(ELSEWHERE.code().to_owned(), "https://elsewhere.test".to_owned())].into();
    let process = Process::new("user", Role::Serve, &config.common, Arc::new(SystemClock), Vec::new());
    let authenticator = Authenticator::start(&process, &config.auth, Arc::new(NoSessions)).expect("settings that fit");
    let answers = SignUpAnswers { neutral: false, min_duration: std::time::Duration::ZERO };
    let api = router(Api::new(world.app.clone(), answers, "http://localhost"));
    let router = chassis::http::dress(&config.common.site, &config.http, api, Some(authenticator));
    let path = "/v1/events?visitor_id=0191f3f0-0000-7000-8000-000000000001";
    let event = json!([{"event_id": "e1", "type": "view", "sku": "FA-1"}]).to_string();
    let bearer = format!("Bearer {ELSEWHERES}");
    for (path, token, status, code) in [
        (path, bearer.as_str(), 421, "residency-mismatch"),
        (path, "Bearer nonsense", 401, "unauthenticated"),
        ("/v1/events?visitor_id=a&visitor_id=b", "", 400, "malformed-request"),
    ] {
        let token = Some(("authorization", token)).filter(|(_, token)| !token.is_empty());
        let headers: Vec<_> = [("content-type", "text/plain")].into_iter().chain(token).collect();
        let counter = user::metrics::CLICK_REQUESTS_REFUSED.with_label_values(&[code]);
        let before = counter.get();
        let (told, problem, _) = refused(&router, request(Method::POST, path, &headers, event.clone())).await;
        assert_eq!((told, problem.as_str()), (status, code));
        assert!(counter.get() > before, "{code} is counted");
    }
    assert!(world.clicks.batches().is_empty());
}

#[tokio::test]
async fn packed_clicks_are_read_and_bombs_and_broken_ones_are_refused_and_counted() {
    const VISITOR: &str = "0191f3f0-0000-7000-8000-000000000001";
    let world = World::new();
    let router = api(&world, None, false);
    let event = json!({"event_id": "e1", "type": "view", "sku": "FA-1"});
    let whole = json!({"visitor_id": VISITOR, "events": [event]}).to_string();
    let post = |packing: &str, body: Vec<u8>| {
        request(Method::POST, "/v1/events", &[("content-type", "text/plain"), ("content-encoding", packing)], body)
    };
    for (packing, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let (response, body) = answer(&router, post(packing, pack(whole.as_bytes()))).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{packing}: {body}");
        assert_eq!(body, json!({"accepted": 1, "rejected": []}), "{packing}");
        let bomb = pack(&vec![b' '; 3_000_000]);
        assert!(bomb.len() < 64 * 1024);
        let cut = pack(whole.as_bytes());
        for (body, expected, reason) in [
            (bomb, (413, "body-too-large"), "unpacks-too-large"),
            (cut[..cut.len() - 5].to_vec(), (400, "malformed-request"), "broken-packing"),
            (whole.clone().into_bytes(), (400, "malformed-request"), "broken-packing"),
        ] {
            let counter = user::metrics::CLICK_REQUESTS_REFUSED.with_label_values(&[reason]);
            let before = counter.get();
            let (status, code, _) = refused(&router, post(packing, body)).await;
            assert_eq!((status, code.as_str()), expected, "{packing}");
            assert!(counter.get() > before, "{packing}: {reason} is counted");
        }
    }
    assert_eq!(refused(&router, post("br", whole.into_bytes())).await.0, 415);
    assert_eq!(world.clicks.batches().len(), 2);
}

#[tokio::test]
async fn hostile_events_cost_themselves_and_nobody_else() {
    const VISITOR: &str = "0191f3f0-0000-7000-8000-000000000001";
    let world = World::new();
    let router = api(&world, None, false);
    let good = br#"{"event_id":"e1","type":"view","sku":"FA-1"}"#.to_vec();
    let long = format!(r#"{{"event_id":"{}","type":"view","sku":"FA-1"}}"#, "x".repeat(10_000));
    let deep = format!(r#"{{"event_id":"e2","type":"custom","nested":{}{}}}"#, "[".repeat(9_000), "]".repeat(9_000));
    let unknown = br#"{"event_id":"e3","type":"teleport"}"#.to_vec();
    let lines =
        [good.clone(), long.into_bytes(), deep.into_bytes(), b"\xff\xfe".to_vec(), unknown, b"{".to_vec(), good];
    let path = format!("/v1/events?visitor_id={VISITOR}");
    let request = request(
        Method::POST,
        &path,
        &[("content-type", "application/x-ndjson"), ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1)")],
        lines.join(&b'\n'),
    );
    let (response, body) = answer(&router, request).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let codes: Vec<_> =
        body["rejected"].as_array().expect("a list").iter().map(|one| one["code"].as_str().unwrap_or("-")).collect();
    let expected = ["invalid-field", "unknown-field", "malformed-request", "invalid-field", "malformed-request"];
    assert_eq!((body["accepted"].as_u64(), &codes[..]), (Some(2), &expected[..]));
    let batches = world.clicks.batches();
    assert!(batches[0].bot, "the browser said what it is");
    assert_eq!((batches[0].clicks.len(), batches[0].refused.len()), (1, 5), "the repeated one counts once");
    assert!(batches[0].refused.iter().all(|refused| refused.sample.len() <= 2_048), "of long events a little is kept");
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("into memory");
    encoder.finish().expect("into memory")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
    let length = zstd_safe::compress(&mut packed[..], plain, 3).expect("into memory");
    packed.truncate(length);
    packed
}

#[tokio::test]
async fn regions_are_listed_with_this_one_where_it_is() {
    let world = World::new();
    let (response, body) = answer(&api(&world, None, false), request(Method::GET, "/v1/regions", &[], "")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let items = body["items"].as_array().expect("a list");
    assert_eq!(items.len(), common::Region::ALL.len());
    assert_eq!(
        (items[0]["code"].as_str(), items[0]["base_url"].as_str()),
        (Some(HERE.code()), Some("http://localhost"))
    );
    assert_eq!(items[1]["base_url"].as_str(), Some(ELSEWHERE.base_url()));
}

#[tokio::test]
async fn what_is_not_offered_is_a_problem_too() {
    let world = World::new();
    let router = api(&world, None, false);
    assert_eq!(refused(&router, request(Method::DELETE, "/v1/users", &[], "")).await.0, 405);
    assert_eq!(refused(&router, request(Method::GET, "/v1/nothing", &[], "")).await.0, 404);
}
