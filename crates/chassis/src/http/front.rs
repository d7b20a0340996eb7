//! Answers that are at hand: finished before the request came, given without routing, waiting or allocating a span.
//!
//! A service lays them out on a [`Shelf`]. What is on it is answered here, in front of the router and its layers, because each of
//! those costs more than the answer: a deadline for what does not wait, a place for what does not queue, a span that nobody
//! records. Such an answer has the same identifying headers and is counted under the same route; it has no line of its own in the
//! log. A request whose trace is recorded, or that is unusual in any way, goes the long way and gets the same bytes there.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use contracts::trace;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use prometheus::Histogram;
use tokio::time::Instant;

use super::answer::{EPOCH, REQUEST_ID, SITE, sane};
use crate::config::{Http, Site, Telemetry};
use crate::metrics::HTTP_DURATION;

/// More headers than a browser and two proxies send are looked at by the layers that know what to refuse.
const MOST_HEADERS: usize = 48;

/// What every answer of ours carries. Headers that are laid out with a place for each of these need not grow for them.
pub const IDENTIFYING: [HeaderName; 3] = [REQUEST_ID, SITE, EPOCH];

/// A whole answer, or that the asker has it already (304).
#[derive(Debug)]
pub struct AtHand {
    pub changed: bool,
    pub headers: HeaderMap,
    /// Empty when nothing changed.
    pub body: Bytes,
}

/// Finished answers of one route.
pub trait Shelf: Send + Sync {
    /// The template of the route, as the router spells it.
    fn route(&self) -> &'static str;

    /// The answer to a GET, when it is there. Never blocks and never waits.
    fn at_hand(&self, uri: &Uri, headers: &HeaderMap) -> Option<AtHand>;
}

/// A shelf with what every answer of this port carries.
pub(crate) struct Front {
    shelf: Arc<dyn Shelf>,
    site: HeaderValue,
    epoch: HeaderValue,
    header_limit: usize,
    /// Share of new traces that are recorded; `None` when nothing is.
    recorded: Option<f64>,
    whole: Histogram,
    unchanged: Histogram,
}

impl Front {
    pub(crate) fn new(shelf: Arc<dyn Shelf>, site: &Site, settings: &Http, telemetry: &Telemetry) -> Self {
        let measured = |status: &str| HTTP_DURATION.with_label_values(&["GET", shelf.route(), status]);
        let (whole, unchanged) = (measured("200"), measured("304"));
        Self {
            site: HeaderValue::try_from(&site.name).unwrap_or(HeaderValue::from_static("unnamed")),
            epoch: HeaderValue::from(site.epoch),
            header_limit: settings.header_limit_bytes,
            recorded: Some(telemetry.sample_ratio).filter(|_| !telemetry.otlp_endpoint.is_empty()),
            whole,
            unchanged,
            shelf,
        }
    }

    /// The answer, unless the request has to go the long way.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        if request.method() != Method::GET {
            return None;
        }
        let begun = Instant::now();
        let headers = request.headers();
        if !self.is_usual(request.uri(), headers) || self.is_recorded(headers) {
            return None;
        }
        let AtHand { changed, headers: mut answer, body } = self.shelf.at_hand(request.uri(), headers)?;
        answer.insert(REQUEST_ID, request_id(headers));
        answer.insert(SITE, self.site.clone());
        answer.insert(EPOCH, self.epoch.clone());
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = answer;
        if !changed {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let measured = if changed { &self.whole } else { &self.unchanged };
        measured.observe(begun.elapsed().as_secs_f64());
        Some(response)
    }

    /// Few and short headers. Whoever sends more meets the limit where it is explained to them.
    fn is_usual(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let line = uri.path_and_query().map_or(0, |target| target.as_str().len());
        let sum: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        headers.len() <= MOST_HEADERS && line + sum <= self.header_limit
    }

    /// A caller's decision is followed, as everywhere; without one the share decides.
    fn is_recorded(&self, headers: &HeaderMap) -> bool {
        let Some(share) = self.recorded else { return false };
        match headers.get(trace::TRACEPARENT).and_then(|value| trace::parse(value.to_str().ok()?)) {
            Some(parent) => parent.is_sampled(),
            None => share >= 1.0 || rand::random::<f64>() < share,
        }
    }
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    match headers.get(REQUEST_ID) {
        Some(own) if sane(own).is_some() => own.clone(),
        _ => {
            let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
            let text = common::ids::counted().as_hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Shelf for One {
        fn route(&self) -> &'static str {
            "/one"
        }

        fn at_hand(&self, uri: &Uri, headers: &HeaderMap) -> Option<AtHand> {
            let changed = !headers.contains_key("if-none-match");
            let body = if changed { Bytes::from_static(b"one") } else { Bytes::new() };
            (uri.path() == "/one").then(|| AtHand { changed, headers: HeaderMap::new(), body })
        }
    }

    fn front(otlp_endpoint: &str, sample_ratio: f64) -> Front {
        let telemetry = Telemetry { otlp_endpoint: otlp_endpoint.to_owned(), log: String::new(), sample_ratio };
        let site = Site {
            region: common::Region::ALL[0],
            name: "here".to_owned(),
            epoch: 7,
            stands_by: false,
            public_url: String::new(),
        };
        let settings = Http {
            bind: std::net::Ipv4Addr::LOCALHOST.into(),
            port: 0,
            max_connections: 1,
            max_in_flight: 1,
            request_timeout_ms: 1,
            body_limit_bytes: 1,
            header_limit_bytes: 200,
            trust_forwarded: false,
        };
        Front::new(Arc::new(One), &site, &settings, &telemetry)
    }

    fn ask(front: &Front, path: &str, headers: &[(&str, &str)]) -> Option<Response<Body>> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        front.answer(&request.body(()).unwrap())
    }

    #[test]
    fn what_is_at_hand_carries_the_identifying_headers() {
        let front = front("", 1.0);
        let answer = ask(&front, "/one", &[("x-request-id", "from-a-client")]).unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        for (name, value) in [("x-request-id", "from-a-client"), ("shopsphere-site", "here"), ("shopsphere-epoch", "7")]
        {
            assert_eq!(answer.headers().get(name).unwrap(), value, "{name}");
        }
        let (first, second) =
            (ask(&front, "/one", &[]).unwrap(), ask(&front, "/one", &[("x-request-id", "<")]).unwrap());
        assert_ne!(first.headers().get("x-request-id"), second.headers().get("x-request-id"));
        assert_eq!(first.headers().get("x-request-id").unwrap().len(), 36);
        assert_eq!(ask(&front, "/one", &[("if-none-match", "x")]).unwrap().status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn everything_unusual_goes_the_long_way() {
        let front = front("", 1.0);
        assert!(ask(&front, "/two", &[]).is_none());
        assert!(ask(&front, "/one", &[("x", &"y".repeat(300))]).is_none(), "the header limit is explained elsewhere");
        assert!(front.answer(&Request::head("/one").body(()).unwrap()).is_none());
        assert!(front.answer(&Request::delete("/one").body(()).unwrap()).is_none());
    }

    #[test]
    fn what_is_recorded_goes_the_long_way_and_what_nobody_records_does_not() {
        let parent =
            |flag: &str| [("traceparent", format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flag}"))];
        let asks = |front: &Front, flag: &str| {
            let [(name, value)] = parent(flag);
            ask(front, "/one", &[(name, &value)]).is_some()
        };
        let (all, none, nobody) = (front("http://c", 1.0), front("http://c", 0.0), front("", 1.0));
        assert!(ask(&all, "/one", &[]).is_none() && ask(&none, "/one", &[]).is_some());
        assert!(!asks(&all, "01") && !asks(&none, "01"), "a caller's decision is followed");
        assert!(asks(&all, "00") && asks(&none, "00"));
        assert!(asks(&nobody, "01"), "without a collector nothing is recorded");
    }
}
