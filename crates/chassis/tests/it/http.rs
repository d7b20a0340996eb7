//! The public port: bad input, panics, overload, deadlines, identifying headers, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::sse::Event;
use axum::routing::{get, post};
use bytes::Bytes;
use chassis::extract::{ClientAddress, IdempotencyKey, Json, Language, Path, Query};
use chassis::http::{AtHand, Shelf};
use chassis::{Problem, Process};
use common::{ErrorKind, Explain, OrderId};
use http::StatusCode;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{client, eventually, process, settings};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Command {
    sku: String,
    quantity: u32,
}

#[derive(Deserialize)]
struct Page {
    limit: Option<u8>,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("password=hunter2 at db.internal:5432")]
    Broken,
    #[error("connect to db.internal refused")]
    DatabaseAway,
    #[error("only 2 of them are left")]
    OutOfStock,
}

impl Explain for Trouble {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Broken => ErrorKind::Internal,
            Self::DatabaseAway => ErrorKind::Unavailable,
            Self::OutOfStock => ErrorKind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Broken => "internal",
            Self::DatabaseAway => "dependency-down",
            Self::OutOfStock => "out-of-stock",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::DatabaseAway).then_some(Duration::from_millis(1500))
    }
}

fn routes(process: &Process) -> Router {
    let shutdown = process.shutdown();
    Router::new()
        .route("/v1/echo", post(async |Json(command): Json<Command>| Json(command)))
        .route(
            "/v1/large",
            post(async |Json(command): Json<Value>| command.to_string().len().to_string())
                .layer(DefaultBodyLimit::max(1 << 20)),
        )
        .route("/v1/orders", post(async |IdempotencyKey(key): IdempotencyKey| key))
        .route("/v1/orders/{id}", get(async |Path(id): Path<uuid::Uuid>| OrderId::from_uuid(id).to_string()))
        .route("/v1/list", get(async |Query(page): Query<Page>| page.limit.unwrap_or(20).to_string()))
        .route("/v1/language", get(async |Language(language): Language| language))
        .route("/v1/address", get(async |ClientAddress(address): ClientAddress| address.to_string()))
        .route("/v1/trouble/broken", get(async || Err::<(), Problem>(Trouble::Broken.into())))
        .route("/v1/trouble/away", get(async || Err::<(), Problem>(Trouble::DatabaseAway.into())))
        .route("/v1/trouble/stock", get(async || Err::<(), Problem>(Trouble::OutOfStock.into())))
        .route("/v1/panic", get(async || -> String { panic!("card 4242424242424242") }))
        .route("/v1/slow", get(slow).post(slow))
        .route("/v1/live", get(async move || chassis::http::sse(shutdown.clone(), ticks())))
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(600)).await;
    "done"
}

fn ticks() -> impl futures::Stream<Item = Event> + Send + 'static {
    futures::stream::unfold(0_u32, |number| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Event::default().id(number.to_string()).data("tick"), number + 1))
    })
}

async fn served(more: &str) -> (Process, String) {
    let settings = settings(more);
    let process = process(&settings);
    let address = chassis::http::serve(&process, &settings.http, routes(&process), None).await.unwrap();
    (process, format!("http://{address}"))
}

#[tokio::test]
async fn bad_input_is_answered_with_a_problem_that_names_the_fault() {
    let (_process, base) = served("").await;
    let http = client();
    let (json, text) = (Some("application/json"), Some("text/plain"));
    let long = format!(r#"{{"sku": "{}", "quantity": 1}}"#, "x".repeat(70_000));
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: [(&str, &str, Option<&str>, &str); 20] = [
        ("POST", "/v1/echo", json, r#"{"sku": "a", "quantity": "#),
        ("POST", "/v1/echo", json, ""),
        ("POST", "/v1/echo", json, &deep),
        ("POST", "/v1/echo", json, "\u{feff}{}"),
        ("POST", "/v1/echo", json, r#"{"sku": "a", "sku": "b", "quantity": 1}"#),
        ("POST", "/v1/echo", json, r#"{"sku": "a", "quantity": "4242424242424242"}"#),
        ("POST", "/v1/echo", json, r#"{"sku": "a", "quantity": -1}"#),
        ("POST", "/v1/echo", json, r#"{"sku": ["a"], "quantity": 1}"#),
        ("POST", "/v1/echo", json, r#"{"sku": "a"}"#),
        ("POST", "/v1/echo", json, r#"{"sku": "a", "quantity": 1, "price": "0.01"}"#),
        ("POST", "/v1/echo", text, r#"{"sku": "a", "quantity": 1}"#),
        ("POST", "/v1/echo", None, r#"{"sku": "a", "quantity": 1}"#),
        ("POST", "/v1/echo", json, &long),
        ("POST", "/v1/orders", json, "{}"),
        ("GET", "/v1/orders/%7B2b1f%7D", None, ""),
        ("GET", "/v1/orders/%00", None, ""),
        ("GET", "/v1/list?limit=1e9", None, ""),
        ("GET", "/v1/list?limit=1&limit=2", None, ""),
        ("GET", "/v1/nothing", None, ""),
        ("DELETE", "/v1/echo", None, ""),
    ];
    let mut seen = String::new();
    for (method, path, content_type, body) in cases {
        let mut request = http.request(method.parse().unwrap(), format!("{base}{path}")).body(body.to_owned());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{method} {path} {body:.40}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(answer["status"], status);
        assert!(!answer.to_string().contains("4242"), "{answer}");
        let shown: String = body.chars().take(50).collect();
        seen.push_str(&format!("{method} {path} {shown:?}\n    {status} {answer}\n"));
    }
    insta::assert_snapshot!(seen);
}

#[tokio::test]
async fn the_inside_of_a_failure_stays_inside() {
    let (_process, base) = served("").await;
    for (path, status, code) in
        [("broken", 500, "internal"), ("away", 503, "dependency-down"), ("stock", 409, "out-of-stock")]
    {
        let response = client().get(format!("{base}/v1/trouble/{path}")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        assert!(text.contains(&format!("\"code\":\"{code}\"")), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("internal:") && !text.contains("connect to"), "{text}");
        assert_eq!(text.contains("only 2 of them"), code == "out-of-stock", "{text}");
        assert_eq!(retry_after.as_deref(), (status == 503).then_some("2"), "{text}");
    }
}

#[tokio::test]
async fn a_panic_is_one_answer_and_not_the_end() {
    let (_process, base) = served("").await;
    for _ in 0..3 {
        let response = client().get(format!("{base}/v1/panic")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["shopsphere-site"], "rdc-a");
        let text = response.text().await.unwrap();
        assert!(text.contains("\"internal\"") && !text.contains("4242"), "{text}");
    }
    let metrics = prometheus::TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
    assert!(metrics.contains("shopsphere_handler_panics_total{route=\"/v1/panic\"} 3"), "{metrics}");
    assert!(metrics.contains("http_server_request_duration_seconds_bucket{http_request_method=\"GET\",http_response_status_code=\"500\",http_route=\"/v1/panic\",le=\"0.0005\"}"));
}

#[tokio::test]
async fn every_answer_says_which_request_site_and_epoch_it_is_of() {
    let (_process, base) = served("[site]\nname = \"dr-a\"\nepoch = 7\n").await;
    for path in ["/v1/language", "/v1/nothing", "/v1/panic", "/v1/trouble/away"] {
        let response = client().get(format!("{base}{path}")).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(
            (headers["shopsphere-site"].to_str().unwrap(), headers["shopsphere-epoch"].to_str().unwrap()),
            ("dr-a", "7"),
            "{path}"
        );
        assert!(headers["x-request-id"].len() == 36, "{path}");
    }
    for (sent, kept) in [
        ("abc-123_X.y", true),
        ("short", false),
        ("has space in it", false),
        (&*"x".repeat(65), false),
        ("${jndi:x}", false),
    ] {
        let response = client().get(format!("{base}/v1/language")).header("x-request-id", sent).send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"] == sent, kept, "{sent}");
    }
}

#[tokio::test]
async fn the_language_and_the_clients_address_are_found() {
    let (_process, base) = served("").await;
    let ask = async |path: &str, name: &str, value: &str| {
        client().get(format!("{base}{path}")).header(name, value).send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(ask("/v1/language", "accept-language", "fr-CA, en;q=0.5").await, "fr");
    assert_eq!(ask("/v1/address", "x-forwarded-for", "10.0.0.1, 192.0.2.7").await, "192.0.2.7");
    assert_eq!(ask("/v1/address", "x-forwarded-for", "nonsense").await, "127.0.0.1");
    let (_process, direct) = served("[http]\ntrust_forwarded = false\n").await;
    let forged =
        client().get(format!("{direct}/v1/address")).header("x-forwarded-for", "192.0.2.7").send().await.unwrap();
    assert_eq!(forged.text().await.unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn sizes_are_bounded_where_they_arrive() {
    let (_process, base) = served("").await;
    let large = format!("[\"{}\"]", "x".repeat(200_000));
    let send = async |path: &str| {
        client()
            .post(format!("{base}{path}"))
            .header("content-type", "application/json")
            .body(large.clone())
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(send("/v1/echo").await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send("/v1/large").await, StatusCode::OK);
    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from("[1],".repeat(500)))));
    let endless = reqwest::Body::wrap(StreamBody::new(futures::stream::iter(chunks)));
    let chunked = client().post(format!("{base}/v1/echo")).header("content-type", "application/json").body(endless);
    assert_eq!(chunked.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    for (size, status) in [(15_000, 200), (20_000, 431), (200_000, 431)] {
        let response =
            client().get(format!("{base}/v1/language")).header("x-roles", "r".repeat(size)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{size}");
    }
}

#[tokio::test]
async fn what_is_too_much_is_turned_away_at_once() {
    let (_process, base) = served("[http]\nmax_in_flight = 1\n").await;
    let first = tokio::spawn(client().get(format!("{base}/v1/slow")).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = std::time::Instant::now();
    let second = client().get(format!("{base}/v1/language")).send().await.unwrap();
    assert!(before.elapsed() < Duration::from_millis(200), "{:?}", before.elapsed());
    assert_eq!((second.status().as_u16(), second.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert!(second.text().await.unwrap().contains("overloaded"));
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(client().get(format!("{base}/v1/language")).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_late_read_is_overload_and_a_late_change_has_an_unknown_outcome() {
    let (_process, base) = served("").await;
    let ask = async |method: &str, deadline: &str| {
        let request =
            client().request(method.parse().unwrap(), format!("{base}/v1/slow")).header("x-deadline-ms", deadline);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = ask("GET", "50").await;
    assert!(status == 503 && text.contains("\"overloaded\"") && text.contains("/v1/slow"), "{status} {text}");
    let (status, text) = ask("POST", "50").await;
    assert!(status == 503 && text.contains("\"outcome-unknown\""), "{status} {text}");
    for patient in ["5000", "99999999999999999999", "-1", "soon"] {
        assert_eq!(ask("GET", patient).await, (200, "done".to_owned()), "{patient}");
    }
    let (_process, hasty) = served("[http]\nrequest_timeout_ms = 100\n").await;
    let capped = client().get(format!("{hasty}/v1/slow")).header("x-deadline-ms", "60000").send().await.unwrap();
    assert_eq!(capped.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_live_stream_outlasts_the_request_deadline_and_ends_with_the_process() {
    let (process, base) = served("[http]\nrequest_timeout_ms = 150\n").await;
    let mut response = client().get(format!("{base}/v1/live")).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("id: 4") {
        text.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()));
    }
    process.stop();
    let ending = tokio::time::timeout(Duration::from_secs(3), process.run(async { Ok(()) })).await.unwrap();
    assert_eq!(ending, chassis::lifecycle::Ending::Done);
    while let Ok(Some(_)) = response.chunk().await {}
}

#[tokio::test]
async fn stopping_finishes_what_has_begun_and_takes_nothing_new() {
    let (process, base) = served("").await;
    let running = tokio::spawn(client().get(format!("{base}/v1/slow")).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = process.clone();
    let ending = tokio::spawn(async move { stopping.run(async { Ok(()) }).await });
    process.stop();
    eventually("the port is closed", async || {
        tokio::net::TcpStream::connect(base.trim_start_matches("http://")).await.is_err()
    })
    .await;
    let finished = running.await.unwrap().unwrap();
    assert_eq!((finished.status(), finished.text().await.unwrap()), (StatusCode::OK, "done".to_owned()));
    assert_eq!(ending.await.unwrap(), chassis::lifecycle::Ending::Done);
}

#[tokio::test]
async fn a_request_smuggled_by_two_lengths_is_refused() {
    let (_process, base) = served("").await;
    let address: SocketAddr = base.trim_start_matches("http://").parse().unwrap();
    let attacks = [
        "POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
        "POST /v1/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "GET /v1/language HTTP/1.1\r\nhost: x\r\nx: a\r\n folded\r\n\r\n",
        "GARBAGE\r\n\r\n",
    ];
    for attack in attacks {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(attack.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(3), stream.read_to_string(&mut answer)).await;
        assert!(read.is_ok(), "the connection stays open after {attack:?}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{attack:?}: {answer}");
    }
    assert_eq!(client().get(format!("{base}/v1/language")).send().await.unwrap().status(), StatusCode::OK);
}

/// Has one answer at hand.
struct OneFinished;

impl Shelf for OneFinished {
    fn route(&self) -> &'static str {
        "/finished/{name}"
    }

    fn at_hand(&self, uri: &http::Uri, _: &http::HeaderMap) -> Option<AtHand> {
        let headers = http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("\"1\""))]);
        let body = Bytes::from_static(b"finished before");
        (uri.path() == "/finished/one").then_some(AtHand { changed: true, headers, body })
    }
}

#[tokio::test]
async fn what_is_finished_is_answered_in_front_of_the_router_and_looks_the_same() {
    let settings = settings("");
    let process = process(&settings);
    let router = Router::new().route("/finished/{name}", get(async || "made now"));
    let front = (Arc::new(OneFinished) as Arc<dyn Shelf>, &settings.common.telemetry);
    let address = chassis::http::serve_behind(&process, &settings.http, router, None, front).await.unwrap();
    for (name, expected) in [("one", "finished before"), ("two", "made now")] {
        let answer = client().get(format!("http://{address}/finished/{name}")).send().await.unwrap();
        for header in ["x-request-id", "shopsphere-site", "shopsphere-epoch", "content-length", "date"] {
            assert!(answer.headers().contains_key(header), "{header} of {name}");
        }
        assert_eq!(answer.text().await.unwrap(), expected);
    }
    let posted = client().post(format!("http://{address}/finished/one")).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED, "only what is read is finished");
    process.stop();
}
