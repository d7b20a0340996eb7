//! The library of the storefront, `browser/clicks.js`, in a real browser against the real router.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use testkit::wait::until;
use user::config::Config;
use user::inbound::http::{Api, SignUpAnswers, router};

use crate::support::World;

const LIBRARY: &str = include_str!("../../browser/clicks.js");
/// A browser takes seconds to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a page of a shop can afford.
const MOST_BYTES: usize = 2_000;

#[test]
fn the_library_stays_below_two_kilobytes_and_needs_nobody() {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(LIBRARY.as_bytes()).expect("into memory");
    let bytes = encoder.finish().expect("into memory").len();
    assert!(bytes < MOST_BYTES, "{bytes} bytes compressed");
    assert!(!LIBRARY.contains("import "), "no dependencies");
}

/// A browser on a page of ours; it ends with this.
struct Browser {
    child: Child,
    profile: PathBuf,
}

impl Browser {
    fn open(program: &PathBuf, url: &str) -> Self {
        let profile = std::env::temp_dir().join(format!("browser-{}", common::ids::random().simple()));
        let child = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
            ])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser that starts");
        Self { child, profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// Chromium, where the machine has it; else says that the story is left out.
fn browser() -> Option<PathBuf> {
    let found = testkit::browser();
    if found.is_none() {
        testkit::skipped("there is no Chromium on this machine");
    }
    found
}

fn page(script: &'static str) -> axum::routing::MethodRouter {
    get(async move || Html(format!("<!doctype html><title>shop</title><script type=module>{script}</script>")))
}

/// The page that comes after; says when the one before it has ended.
fn after(ended: &Arc<AtomicBool>) -> Router {
    let ended = ended.clone();
    let closed = get(async move || ended.store(true, Ordering::Release));
    Router::new().route("/gone", page(r#"fetch("/closed");"#)).route("/closed", closed)
}

/// The API with a page of a shop beside it; gives its address.
async fn served(world: &World, shop: axum::routing::MethodRouter, ended: &Arc<AtomicBool>) -> String {
    let variables = [("SHOPSPHERE__PSEUDONYM__KEY".to_owned(), "sixteen characters or more".to_owned())];
    let config = chassis::config::load::<Config>(<user::Service as chassis::Service>::DEFAULTS, None, &variables)
        .expect("the defaults are whole")
        .config;
    let answers = SignUpAnswers { neutral: false, min_duration: Duration::ZERO };
    let library = get(async || ([("content-type", "text/javascript")], LIBRARY));
    let api = router(Api::new(world.app.clone(), answers, "http://localhost"));
    let routes = api.merge(after(ended)).route("/shop", shop).route("/clicks.js", library);
    let routes = chassis::http::dress(&config.common.site, &config.http, routes, None);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.expect("a server") });
    format!("http://{address}")
}

fn reported(world: &World) -> Vec<String> {
    let batches = world.clicks.batches();
    let mut skus: Vec<String> = batches
        .iter()
        .flat_map(|batch| &batch.clicks)
        .filter_map(|click| click.sku.as_deref().map(str::to_owned))
        .collect();
    skus.sort();
    skus.dedup();
    skus
}

async fn wait_for(world: &World, skus: &[&str]) {
    until("the clicks of the page", PATIENCE, async || {
        let found = reported(world);
        if found == skus { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_reports_in_batches_and_the_rest_when_it_is_left() {
    let Some(program) = browser() else { return };
    let (world, ended) = (World::new(), Arc::new(AtomicBool::new(false)));
    let shop = page(
        r#"
        import { clicks } from "/clicks.js";
        // The page is left when both batches are answered, however long that takes here.
        const ask = window.fetch;
        let answered = 0;
        window.fetch = (...request) => ask(...request).finally(() => { answered += 1; });
        const visit = clicks({ consent: true, most: 5, wait: 300 });
        for (const n of [1, 2, 3, 4, 5, 6, 7]) visit.report("view", { sku: "V-" + n });
        const leaving = setInterval(() => {
            if (answered < 2) return;
            clearInterval(leaving);
            // Nothing sends these but the end of the page.
            const slow = clicks({ consent: true, wait: 600000 });
            slow.report("add", { sku: "Z-1" });
            slow.report("search", { query: "last words", sku: "Z-2" });
            location.href = "/gone";
        }, 50);
        "#,
    );
    let address = served(&world, shop, &ended).await;
    let running = Browser::open(&program, &format!("{address}/shop"));
    wait_for(&world, &["V-1", "V-2", "V-3", "V-4", "V-5", "V-6", "V-7", "Z-1", "Z-2"]).await;
    drop(running);
    let batches = world.clicks.batches();
    assert_eq!(batches[0].clicks.len(), 5, "a full batch goes at once");
    assert_eq!(batches.len(), 3, "five, the two that waited, and the two of the end");
    assert!(batches.windows(2).all(|pair| pair[0].pseudonym == pair[1].pseudonym), "one visitor");
    assert!(batches.iter().all(|batch| batch.bot && batch.refused.is_empty()), "a headless browser says what it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_consent_nothing_leaves_and_a_no_takes_back_what_waits() {
    let Some(program) = browser() else { return };
    let (world, ended) = (World::new(), Arc::new(AtomicBool::new(false)));
    let shop = page(
        r#"
        import { clicks } from "/clicks.js";
        const never = clicks({ most: 1 });
        const kept = never.report("view", { sku: "A-1" });
        const visit = clicks({ consent: true, most: 50, wait: 600000 });
        visit.report("view", { sku: "A-2" });
        visit.consent(false);
        visit.report("view", { sku: "A-3" });
        visit.flush();
        const forgotten = localStorage.getItem("shopsphere.visitor") === null;
        // Configurable, or the page could not take it back.
        const says = (answer) => Object.defineProperty(navigator, "doNotTrack", { get: () => answer, configurable: true });
        says("1");
        const objecting = clicks({ consent: true, most: 1 }).report("view", { sku: "A-4" });
        says(null);
        // Says that the page came to its end, and what it saw.
        const witness = clicks({ consent: true, most: 1 });
        witness.report("custom", { sku: !kept && !objecting && forgotten ? "Y-1" : "N-1" });
        setTimeout(() => { location.href = "/gone"; }, 500);
        "#,
    );
    let address = served(&world, shop, &ended).await;
    let running = Browser::open(&program, &format!("{address}/shop"));
    wait_for(&world, &["Y-1"]).await;
    // The end of the page is the last moment at which something could leave.
    until("the page to have ended", PATIENCE, async || {
        if ended.load(Ordering::Acquire) { Ok(()) } else { Err("it is still there") }
    })
    .await;
    drop(running);
    assert_eq!(reported(&world), ["Y-1"]);
    let refusals = world.clicks.batches().iter().filter(|batch| !batch.personalisation_consent).count();
    assert_eq!(refusals, 1, "of the one who had an id; who never had one has nothing to say");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_leaves_the_page_is_reported_with_the_token_and_never_as_a_visitor() {
    let Some(program) = browser() else { return };
    let (world, ended) = (World::new(), Arc::new(AtomicBool::new(false)));
    let shop = page(
        r#"
        import { clicks } from "/clicks.js";
        const ask = window.fetch, delay = window.setTimeout, sent = [], answers = [], waits = [];
        let beacons = 0;
        window.fetch = (_, request) => { sent.push(request); return new Promise((answer) => answers.push(answer)); };
        window.setTimeout = (then, wait) => { waits.push(wait); return delay(then, wait); };
        navigator.sendBeacon = () => { beacons += 1; return true; };
        const skus = (request) => JSON.parse(request.body).events.map((event) => event.sku).join();
        const visit = clicks({ consent: true, token: () => "t", most: 2, wait: 600000 });
        for (const n of [1, 2, 3]) visit.report("view", { sku: "P-" + n });
        // The first two are under way. The page is hidden twice.
        dispatchEvent(new Event("pagehide"));
        dispatchEvent(new Event("pagehide"));
        const once = sent.map(skus).join(" ") === "P-1,P-2 P-3";
        answers[1](new Response("", { status: 503, headers: { "retry-after": "7" } }));
        answers[0](new Response("{}", { status: 202 }));
        setTimeout(() => {
            visit.flush();
            const again = sent.length === 3 && skus(sent[2]) === "P-3";
            const told = sent.every((request) => request.keepalive && request.headers.authorization === "Bearer t");
            window.fetch = ask;
            const witness = clicks({ consent: true, most: 1 });
            witness.report("custom", { sku: once && again && told && waits.includes(7000) && !beacons ? "Y-1" : "N-1" });
        }, 100);
        "#,
    );
    let address = served(&world, shop, &ended).await;
    let running = Browser::open(&program, &format!("{address}/shop"));
    wait_for(&world, &["Y-1"]).await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_did_is_never_said_of_who_logs_in_after_them() {
    let Some(program) = browser() else { return };
    let (world, ended) = (World::new(), Arc::new(AtomicBool::new(false)));
    let shop = page(
        r#"
        import { clicks } from "/clicks.js";
        const ask = window.fetch, sent = [], answers = [], beacons = [];
        const skus = (body) => JSON.parse(body).events.map((event) => event.sku).join();
        window.fetch = (_, { body, headers }) => {
            sent.push([skus(body), headers.authorization ?? "nobody"]);
            return new Promise((answer) => answers.push(answer));
        };
        navigator.sendBeacon = (_, body) => { beacons.push(skus(body)); return true; };
        // As the provider issues them: the next token of a person is another text, and has all letters of its alphabet.
        const issued = (sub, turn) => {
            const claims = btoa(JSON.stringify({ turn, name: "\u00ff".repeat(6) + ">".repeat(6), sub }));
            return "h." + claims.replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "") + ".s";
        };
        const told = async (status) => {
            visit.flush();
            answers.shift()(new Response("", { status }));
            await new Promise((then) => setTimeout(then, 50));
        };
        let token;
        const visit = clicks({ consent: true, token: () => token, most: 50, wait: 600000 });
        visit.report("view", { sku: "V-1" });
        token = issued("anna", 1);
        visit.report("view", { sku: "A-1" });
        token = issued("berta", 1);
        visit.report("view", { sku: "B-1" });
        // Berta is there. The visitor has no token; Anna has hers until her session is over; Berta gets newer ones.
        await told(202);
        await told(503);
        await told(401);
        token = issued("berta", 2);
        await told(401);
        token = issued("berta", 3);
        await told(202);
        // Berta logs out, and the page is left.
        visit.report("add", { sku: "B-2" });
        token = undefined;
        visit.report("view", { sku: "V-2" });
        dispatchEvent(new Event("pagehide"));
        const [anna, berta] = ["anna", "berta"].map((sub) => (turn) => "Bearer " + issued(sub, turn));
        const expected = [
            ["V-1", "nobody"], ["A-1", anna(1)], ["A-1", anna(1)],
            ["B-1", berta(2)], ["B-1", berta(3)], ["B-2", berta(3)],
        ];
        const same = JSON.stringify(sent) === JSON.stringify(expected) && beacons.join(" ") === "V-2";
        const whole = [..."-_"].every((letter) => anna(1).includes(letter));
        window.fetch = ask;
        const witness = clicks({ consent: true, most: 1 });
        witness.report("custom", { sku: same && whole ? "Y-1" : "N-1" });
        "#,
    );
    let address = served(&world, shop, &ended).await;
    let running = Browser::open(&program, &format!("{address}/shop"));
    wait_for(&world, &["Y-1"]).await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_for_the_moment_comes_again_and_once() {
    let Some(program) = browser() else { return };
    let (world, ended) = (World::new(), Arc::new(AtomicBool::new(false)));
    world.clicks.refuse();
    let shop = page(
        r#"
        import { clicks } from "/clicks.js";
        const visit = clicks({ consent: true, most: 2, wait: 200 });
        for (const n of [1, 2, 3]) visit.report("view", { sku: "R-" + n });
        "#,
    );
    let address = served(&world, shop, &ended).await;
    let before = user::metrics::CLICK_REQUESTS_REFUSED.with_label_values(&["overloaded"]).get();
    let running = Browser::open(&program, &format!("{address}/shop"));
    until("a refusal", PATIENCE, async || {
        let refused = user::metrics::CLICK_REQUESTS_REFUSED.with_label_values(&["overloaded"]).get() - before;
        if refused > 0 { Ok(()) } else { Err(refused) }
    })
    .await;
    assert!(reported(&world).is_empty());
    world.clicks.accept();
    wait_for(&world, &["R-1", "R-2", "R-3"]).await;
    drop(running);
    let clicks: usize = world.clicks.batches().iter().map(|batch| batch.clicks.len()).sum();
    assert_eq!(clicks, 3, "each once");
}
