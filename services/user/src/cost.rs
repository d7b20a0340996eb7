//! What a report of clicks costs in memory: each request some pieces, an event none. Counted and not timed, so an ordinary test.
//!
//! Tests of this crate run on an allocator that counts for each thread; no program does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use common::{Region, SystemClock};
use http::{Request, StatusCode};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::inbound::http::{Api, INTAKE, SignUpAnswers, router};
use crate::outbound::clicks::line::Line;
use crate::outbound::clicks::{Broker, DurableClicks, Records};
use crate::outbound::memory::{MemoryIdentities, MemoryPeople, MemorySessions, OpenLimits};
use crate::usecases::ports::Down;
use crate::usecases::{App, Pseudonyms};

/// What a list that grows by doubling may ask for once more, in a request of many events. It is far below one for each.
const SLACK: u64 = 4;
/// A report of a page, and of one that was offline.
const FEW: usize = 20;
const MANY: usize = 420;

struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Refused only when the thread ends; nobody counts then.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: everything is handed to the system's allocator as it came; counting touches no memory of anybody.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Confirms everything at once. What the real client asks for by record is not counted here; it is the same for each record.
struct Confirming;

#[async_trait]
impl Broker for Confirming {
    async fn publish(&self, _: &[Line<'_>]) -> Result<(), Down> {
        Ok(())
    }
}

fn intake() -> Router {
    let region = Region::ALL[0];
    let identities = Arc::new(MemoryIdentities::new(region));
    let app = App {
        region,
        people: Arc::new(MemoryPeople::default()),
        identities: identities.clone(),
        tokens: identities,
        sessions: Arc::new(MemorySessions::default()),
        clicks: Arc::new(DurableClicks::new(Arc::new(Confirming), None, Records::Report)),
        limits: Arc::new(OpenLimits::default()),
        clock: Arc::new(SystemClock),
        pseudonyms: Pseudonyms::new(b"a key of the tests"),
    };
    router(Api::new(app, SignUpAnswers { neutral: true, min_duration: Duration::ZERO }, "http://localhost"))
}

/// Events as pages send them, each with `sku` and `query`.
fn events(number: usize, (sku, query): (&str, &str)) -> Vec<String> {
    let event = |place: usize| {
        let id = format!("0191f3f0-7a1c-7000-8000-{place:012x}");
        let about = if place.is_multiple_of(5) {
            format!(r#""type":"search","query":"{query}""#)
        } else {
            format!(r#""type":"view","sku":"{sku}","list_id":"category-coats","position":{place}"#)
        };
        format!(r#"{{"event_id":"{id}",{about},"at":"2026-11-01T12:00:00.{:03}Z"}}"#, place % 1_000)
    };
    (0..number).map(event).collect()
}

const VISITOR: &str = "0191f3f0-0000-7000-8000-00000000c0de";

fn document(events: &[String]) -> (&'static str, String) {
    ("application/json", format!(r#"{{"visitor_id":"{VISITOR}","events":[{}]}}"#, events.join(",")))
}

fn array(events: &[String]) -> (&'static str, String) {
    ("text/plain", format!("[{}]", events.join(",")))
}

fn lines(events: &[String]) -> (&'static str, String) {
    let mut body = String::new();
    for event in events {
        // Writing into a String cannot fail.
        let _ = writeln!(body, "{event}");
    }
    ("application/x-ndjson", body)
}

/// How often memory is asked for while a report is taken: routed, read, judged, written as a record and answered.
fn asked_for((kind, body): (&'static str, String)) -> u64 {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let intake = intake();
    let take = || {
        let request = Request::post(format!("{INTAKE}?visitor_id={VISITOR}")).header("content-type", kind);
        let request = request.body(Body::from(body.clone())).expect("a request");
        let before = ASKED.get();
        let answer = runtime.block_on(intake.clone().oneshot(request)).expect("an answer");
        let asked = ASKED.get() - before;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        asked
    };
    // The first one makes what is made once: metrics, tables of the router.
    take();
    take()
}

const PLAIN: (&str, &str) = ("FA-00123", "mantel größe 42");

#[test]
fn an_event_more_asks_for_no_memory_more() {
    for shape in [document, array, lines] {
        let (few, many) = (asked_for(shape(&events(FEW, PLAIN))), asked_for(shape(&events(MANY, PLAIN))));
        assert!(many <= few + SLACK, "{FEW} events: {few}, {MANY} events: {many}, as {}", shape(&[]).0);
    }
}

#[test]
fn an_event_that_does_is_noticed() {
    // A text with an escape is copied, and so is a query that may name somebody.
    for costly in [(r"FA\u002d00123", "mantel"), ("FA-00123", "call 030 1234567")] {
        let (plain, more) = (asked_for(document(&events(MANY, PLAIN))), asked_for(document(&events(MANY, costly))));
        assert!(more >= plain + MANY as u64 / 5, "{plain} and {more}, with {costly:?}");
    }
}
