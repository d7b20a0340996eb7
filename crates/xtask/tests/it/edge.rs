//! The edge as it is configured, with real HAProxy and services that only write down what reached them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xtask::layout::{Layout, checkout};
use xtask::ports::{Port, Ports};
use xtask::render::routes::Token;
use xtask::stack::{Purpose, Stack, haproxy};

/// HAProxy in front of one service that answers everything and keeps the heads of requests.
struct Edge {
    stack: Stack,
    seen: Arc<Mutex<Vec<String>>>,
    log: UdpSocket,
    state: PathBuf,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stack.down();
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// Each test has ports of its own: above those of the stacks people start, below those the kernel gives to clients. Two runs at
/// once differ by their pid.
fn offset(test: u16) -> u16 {
    12_000 + u16::try_from(std::process::id() % 10).expect("below 10") * 1_200 + test * 100
}

/// The first request with this header gets no answer: the service ends its connection.
const CUT_OFF: &str = "x-cut-off";

fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.starts_with("GET /readyz") {
        let mut seen = seen.lock().expect("the list of requests");
        let cut_off = |head: &String| head.to_ascii_lowercase().contains(CUT_OFF);
        let first = cut_off(&head) && !seen.iter().any(cut_off);
        seen.push(head);
        if first {
            return;
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nServer: secret\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
}

fn serve(port: u16, seen: &Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port of a service");
    let seen = Arc::clone(seen);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &seen)));
}

impl Edge {
    fn start(test: u16) -> Edge {
        let ports = Ports::at(offset(test)).expect("an offset in range");
        let state = std::env::temp_dir().join(format!("shopsphere-edge-{}-{test}", std::process::id()));
        let layout = Layout::open(&checkout(), &state).expect("a state folder");
        let stack = Stack::open(layout, ports, Purpose::Test, false).expect("a stack");
        let seen = Arc::default();
        serve(ports.of(Port::CatalogHttp), &seen);
        serve(ports.of(Port::CatalogAdmin), &seen);
        serve(ports.of(Port::UserHttp), &seen);
        serve(ports.of(Port::UserAdmin), &seen);
        let log = UdpSocket::bind(("127.0.0.1", ports.of(Port::EdgeTracer))).expect("the port of edge-tracer");
        log.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        // the limits of a region, not the wider ones of a laptop
        let spec = haproxy::spec_with(&stack, 1).expect("a configuration");
        spec.start(&stack.layout).expect("the edge starts");
        spec.wait_ready(&stack.layout).expect("the edge is ready");
        Edge { stack, seen, log, state }
    }

    fn request(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.stack.ports.of(Port::Edge))).expect("the edge accepts");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        stream.write_all(text.as_bytes()).expect("the edge reads");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{headers}\r\n"))
    }

    fn head_seen(&self) -> String {
        self.seen
            .lock()
            .expect("the list of requests")
            .pop()
            .expect("a request reached the service")
            .to_ascii_lowercase()
    }

    fn logged(&self) -> serde_json::Value {
        let mut line = [0_u8; 8192];
        let length = self.log.recv(&mut line).expect("a line of the access log");
        serde_json::from_slice(&line[..length]).expect("the line is JSON")
    }

    /// Health is looked at twice a second; a backend counts as up before the first look, so nothing has to be waited for.
    fn without_backend() -> &'static str {
        "/v1/payments/webhooks/simulator"
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[test]
fn a_valid_trace_is_kept_and_gets_the_edges_own_span() {
    let edge = Edge::start(0);
    edge.get("/v1/products?limit=3&q=a%22b", &format!("traceparent: 00-{TRACE}-{SPAN}-00\r\n"));
    let head = edge.head_seen();
    let logged = edge.logged();
    let span = logged["span_id"].as_str().expect("a span");
    assert_eq!(header(&head, "traceparent"), Some(&*format!("00-{TRACE}-{span}-01")), "{head}");
    assert!(span.len() == 16 && span != SPAN && span.chars().all(|c| c.is_ascii_hexdigit()), "{logged}");
    assert_eq!((logged["trace_id"].as_str(), logged["parent_span_id"].as_str()), (Some(TRACE), Some(SPAN)));
    assert_eq!(
        (logged["method"].as_str(), logged["path"].as_str()),
        (Some("GET"), Some("/v1/products")),
        "the query stays out of the log"
    );
    assert_eq!((logged["status"].as_u64(), logged["backend"].as_str()), (Some(200), Some("catalog")));
    assert!(
        logged["start_us"].as_u64().is_some_and(|at| at > 1_700_000_000_000_000)
            && logged["duration_us"].as_u64().is_some()
    );
}

#[test]
fn a_trace_that_is_not_valid_is_replaced() {
    let edge = Edge::start(1);
    let zero = "0".repeat(32);
    for bad in [
        "garbage",
        &format!("00-{zero}-{SPAN}-01"),
        &format!("00-{TRACE}-{}-01", "0".repeat(16)),
        &format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
    ] {
        edge.get("/v1/products", &format!("traceparent: {bad}\r\n"));
        let (head, logged) = (edge.head_seen(), edge.logged());
        let sent = header(&head, "traceparent").expect("a traceparent").to_owned();
        assert!(sent.len() == 55 && !sent.contains(TRACE) && !sent.contains(&zero), "{bad} became {sent}");
        assert_eq!(logged["parent_span_id"].as_str(), Some("-"), "{bad}");
    }
}

#[test]
fn headers_that_only_the_edge_may_set_are_taken_from_clients() {
    let edge = Edge::start(2);
    edge.get("/v1/products", "X-User-Id: 7\r\nX-User-Roles: staff\r\nX-ShopSphere-Subject: 7\r\nX-Consumer-Username: issuer-eu\r\nX-Credential-Identifier: 7\r\nX-Region: us\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.1.1.1\r\n");
    let head = edge.head_seen();
    for gone in [
        "x-user-id",
        "x-user-roles",
        "x-shopsphere-subject",
        "x-consumer-username",
        "x-credential-identifier",
        "x-region",
        "x-forwarded-host",
        "forwarded",
        "6.6.6.6",
    ] {
        assert!(!head.contains(&format!("\r\n{gone}:")) && !head.contains("6.6.6.6"), "{gone} in {head}");
    }
    assert_eq!(header(&head, "x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn every_answer_names_its_request_and_hides_the_server() {
    let edge = Edge::start(3);
    let answer = edge.get("/v1/products", "X-Request-Id: mine-1\r\n").to_ascii_lowercase();
    assert_eq!(header(&answer, "x-request-id"), Some("mine-1"));
    assert!(!answer.contains("server: secret"), "{answer}");
    assert_eq!(header(&edge.head_seen(), "x-request-id"), Some("mine-1"));
    let answer = edge.get("/v1/products", "X-Request-Id: <script>\r\n").to_ascii_lowercase();
    assert!(header(&answer, "x-request-id").is_some_and(|id| id.len() == 36), "{answer}");
}

#[test]
fn what_the_edge_answers_itself_is_a_problem_document() {
    let edge = Edge::start(4);
    let problem = |answer: &str, status: &str, code: &str| {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert_eq!(header(&head.to_ascii_lowercase(), "content-type"), Some("application/problem+json"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("the problem is JSON");
        assert_eq!(body["code"].as_str(), Some(code), "{body}");
        assert_eq!(body["status"].to_string(), status);
        assert!(body["type"].as_str().is_some_and(|link| link.ends_with(&format!("/errors/{code}"))), "{body}");
    };
    problem(&edge.get("/v2/products", ""), "404", "not-found");
    problem(&edge.get("/v1/productsx", ""), "404", "not-found");
    problem(&edge.get("/v1/cartoons", ""), "404", "not-found");
    let large = format!(
        "POST /v1/products HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        1_048_577
    );
    problem(&edge.request(&large), "413", "body-too-large");
    problem(&edge.get("/v1/orders/1", ""), "401", "unauthenticated");
    let down = edge.get(Edge::without_backend(), "");
    problem(&down, "503", "dependency-down");
    assert!(down.to_ascii_lowercase().contains("retry-after: "), "{down}");
    // Paths of a service that is away are told from paths of nobody.
    for path in ["/v1/cart?visitor_id=1", "/v1/cart/lines/A-1", "/v1/payments/webhooks/simulator"] {
        problem(&edge.get(path, ""), "503", "dependency-down");
    }
    let malformed = edge.request("GET / HTTP/1.1\r\nno header\r\n\r\n");
    assert!(malformed.starts_with("HTTP/1.1 400"), "{malformed}");
    assert!(edge.seen.lock().expect("the list of requests").is_empty(), "nothing of this may reach a service");
}

#[test]
fn a_service_that_is_not_ready_is_answered_for_quickly() {
    let edge = Edge::start(5);
    let began = Instant::now();
    edge.get(Edge::without_backend(), "");
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
}

/// How often an answer begins with that status.
#[test]
fn what_was_cut_off_is_sent_again_only_where_a_second_time_changes_nothing() {
    let edge = Edge::start(9);
    let cut_off = |head: &str| {
        edge.seen.lock().expect("the list of requests").clear();
        let body = "Host: shop\r\nConnection: close\r\nX-Cut-Off: 1\r\nContent-Length: 2\r\n\r\n[]";
        let answer = edge.request(&format!("{head}{body}"));
        (answer.split(' ').nth(1).unwrap_or_default().to_owned(), edge.seen.lock().expect("the list of requests").len())
    };
    let again = ("200".to_owned(), 2);
    assert_eq!(cut_off("GET /v1/products/A HTTP/1.1\r\n"), again, "it reads");
    assert_eq!(cut_off("POST /v1/events HTTP/1.1\r\n"), again, "events are known by their ids");
    let once = ("502".to_owned(), 1);
    assert_eq!(
        cut_off("POST /v1/users HTTP/1.1\r\n"),
        once,
        "nobody knows whether it was done, so nobody does it again"
    );
    assert_eq!(
        cut_off("POST /v1/users HTTP/1.1\r\nIdempotency-Key: k-1\r\n"),
        once,
        "nor when a key is sent that nobody reads"
    );
}

fn count(answers: &[String], status: &str) -> usize {
    answers.iter().filter(|answer| answer.starts_with(&format!("HTTP/1.1 {status}"))).count()
}

#[test]
fn an_edge_without_keys_is_closed_for_whoever_needs_a_token() {
    let edge = Edge::start(6);
    let token = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImEifQ.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5fQ.AAAA";
    for headers in
        [String::new(), format!("Authorization: Bearer {token}\r\n"), "Authorization: Basic eDp5\r\n".to_owned()]
    {
        let answer = edge.get("/v1/me", &headers);
        assert!(answer.starts_with("HTTP/1.1 401"), "{headers}: {answer}");
        assert_eq!(header(&answer.to_ascii_lowercase(), "www-authenticate"), Some("bearer"), "{answer}");
    }
    assert!(edge.seen.lock().expect("the list of requests").is_empty(), "nothing of this may reach a service");
    // what anybody may ask, and a browser's question before it asks
    assert!(edge.get("/v1/regions", "").starts_with("HTTP/1.1 200"));
    let preflight = edge.request("OPTIONS /v1/me HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
    assert!(preflight.starts_with("HTTP/1.1 200"), "{preflight}");
}

#[test]
fn an_address_gets_what_the_table_says_within_two_percent_and_no_redis_is_asked() {
    let edge = Edge::start(7);
    // Nothing listens where the Redis of this stack would be: the count does not need it, and does not open without it.
    assert!(TcpStream::connect(("127.0.0.1", edge.stack.ports.of(Port::Redis))).is_err());
    let table = xtask::render::routes::read(&checkout()).expect("the table of routes");
    // a quarter over the limit, at once: less than a minute's worth comes back meanwhile
    for (path, limit) in [("/v1/users", "login"), ("/v1/products", "browse")] {
        let limit = usize::try_from(table.limits[limit].per_minute).expect("a small number");
        let began = Instant::now();
        let answers: Vec<_> = (0..limit + limit / 4).map(|_| edge.get(path, "")).collect();
        let (passed, refused) = (count(&answers, "200"), count(&answers, "429"));
        assert_eq!(passed + refused, answers.len(), "{path}");
        // what the passing of time has given back is no error of the limit
        let back = usize::try_from(began.elapsed().as_millis()).expect("a short test") * limit / 60_000;
        let most = limit + back + limit / 50;
        assert!(passed >= limit - limit / 50 && passed <= most, "{path}: {passed} of {limit}, {back} came back");
        let refusal = answers.iter().find(|answer| answer.starts_with("HTTP/1.1 429")).expect("one is refused");
        assert!(header(&refusal.to_ascii_lowercase(), "retry-after").is_some(), "{refusal}");
        assert!(refusal.contains("\"code\":\"too-many-requests\"") && refusal.contains("problem+json"), "{refusal}");
        assert_eq!(edge.seen.lock().expect("the list").drain(..).count(), passed, "a refused one reached a service");
    }
    // each limit counts by itself
    assert!(edge.get("/v1/events", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_body_may_be_as_large_as_its_row_of_the_table_says() {
    let edge = Edge::start(8);
    let table = xtask::render::routes::read(&checkout()).expect("the table of routes");
    let mut tried = 0;
    for route in table.routes.iter().filter(|route| route.token != Token::Required && route.service != "order-payment")
    {
        let Some(path) = route.paths.first().filter(|_| route.service != "personalization") else { continue };
        for (more, status) in [(0, "200"), (1, "413")] {
            let length = u64::from(route.body) * 1024 + more;
            // what it says about its length decides; the service answers without waiting for the rest
            let answer = edge.request(&format!(
                "POST {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            ));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {length}: {answer}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "only {tried} tried");
}
