//! `POST /v1/events`: what browsers report. Three shapes of body (an object with `events`, a bare array, one event per line)
//! under the three types that browsers send, `text/plain` among them because `sendBeacon` sends that without asking first;
//! plain, or packed with gzip or zstd.
//!
//! An event that cannot be read is refused by its index; a body that cannot be read is refused whole. Both are counted by reason.

mod event;
mod read;
mod unpack;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use axum::routing::post;
use chassis::Problem;
use chassis::extract::{ClientAddress, Json, MaybeCaller, Query};
use chassis::http::body_limit;
use chassis::problem::codes;
use common::{ErrorKind, VisitorId};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use self::read::{Shape, invalid, read};
use self::unpack::{Unpackable, packing, unpack};
use super::{Api, personal, problem};
use crate::domain::bot::is_bot;
use crate::metrics;
use crate::usecases::{ClickReport, Reporter, Signals, report_clicks};

/// 500 events of 500 bytes, as they come and as they unpack.
const LARGEST_BODY: usize = 256 * 1024;

/// Where browsers report: many and short requests, so that the port may treat them apart.
pub const INTAKE: &str = "/v1/events";

pub(super) fn router() -> Router<Api> {
    body_limit(Router::new().route(INTAKE, post(report)), LARGEST_BODY)
}

#[derive(Deserialize)]
struct Who {
    visitor_id: Option<String>,
    /// `no`: the visitor agreed to nothing, or does not any more.
    consent: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    accepted: usize,
    rejected: Vec<Rejected>,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    code: &'static str,
}

async fn report(
    State(api): State<Api>,
    caller: Result<MaybeCaller, Problem>,
    ClientAddress(source): ClientAddress,
    who: Result<Query<Who>, Problem>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    // A token of another region or of nobody is counted with what else is refused whole.
    let MaybeCaller(caller) = caller.map_err(|problem| refuse(problem.code(), problem))?;
    let Query(who) = who.map_err(|problem| refuse(problem.code(), problem))?;
    let packed = body.map_err(|rejection| refuse("too-large", unread(&rejection)))?;
    let (shape, packing) = match (shape(&headers), packing(&headers)) {
        (Some(shape), Some(packing)) => (shape, packing),
        _ => return Err(refuse("unsupported", unsupported())),
    };
    let body = unpack(packing, &packed, LARGEST_BODY).map_err(|why| match why {
        Unpackable::TooLarge => refuse("unpacks-too-large", too_large()),
        Unpackable::Broken => refuse("broken-packing", broken()),
    })?;
    let told = read(shape, &body).map_err(|problem| refuse(problem.code(), problem))?;
    let visitor_id = told.visitor_id.as_deref().or(who.visitor_id.as_deref());
    let visitor = visitor_id.map(visitor).transpose().map_err(|problem| refuse("visitor-id", problem))?;
    let reporter = match caller {
        Some(caller) => {
            Reporter::Person { user: caller.user_id, personalisation_consent: caller.personalisation_consent }
        }
        None => Reporter::Visitor(visitor),
    };
    let refuses = match who.consent.as_deref() {
        None => false,
        Some("no") => true,
        // Silence is how a page reports with consent; what else somebody may have meant is not guessed.
        Some(_) => return Err(refuse("consent", invalid("/consent", "expected no, or nothing"))),
    };
    let report = ClickReport { reporter, signals: signals(&headers, refuses), events: told.events };
    let reported = report_clicks(&api.app, report, source).await.map_err(|error| {
        let problem = problem(error);
        refuse(problem.code(), problem)
    })?;
    let rejected =
        reported.refused.into_iter().map(|click| Rejected { index: click.index, code: click.code }).collect();
    Ok(personal((StatusCode::ACCEPTED, Json(Answer { accepted: reported.accepted, rejected }))))
}

fn shape(headers: &HeaderMap) -> Option<Shape> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let shape = match parts.next().unwrap_or_default() {
        "application/json" => Shape::Json,
        "application/x-ndjson" | "application/ndjson" => Shape::Lines,
        "text/plain" => Shape::Text,
        _ => return None,
    };
    let is_utf8 = parts.all(|parameter| {
        parameter.strip_prefix("charset=").is_none_or(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
    });
    is_utf8.then_some(shape)
}

fn visitor(text: &str) -> Result<VisitorId, Problem> {
    text.parse().map_err(|_| invalid("/visitor_id", "expected a UUID in lower case with hyphens"))
}

fn signals(headers: &HeaderMap, refuses: bool) -> Signals {
    let says_one = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes() == b"1");
    let bot = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).is_some_and(is_bot);
    Signals { do_not_track: says_one("dnt"), global_privacy_control: says_one("sec-gpc"), refuses, bot }
}

/// Counts a request that is refused whole. `reason` is one of ours, never of the request.
fn refuse(reason: &'static str, problem: Problem) -> Problem {
    metrics::CLICK_REQUESTS_REFUSED.with_label_values(&[reason]).inc();
    problem
}

fn unsupported() -> Problem {
    Problem::new(
        ErrorKind::UnsupportedMedia,
        codes::UNSUPPORTED_MEDIA_TYPE,
        "send application/json, application/x-ndjson or text/plain in UTF-8, plain or packed with gzip or zstd",
    )
}

fn too_large() -> Problem {
    Problem::new(
        ErrorKind::TooLarge,
        codes::BODY_TOO_LARGE,
        "at most 256 KiB of events are taken at once, packed or not; nothing was accepted",
    )
}

fn broken() -> Problem {
    Problem::new(ErrorKind::Invalid, codes::MALFORMED_REQUEST, "the body cannot be unpacked; nothing was accepted")
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        too_large()
    } else {
        Problem::new(ErrorKind::Invalid, codes::MALFORMED_REQUEST, "the body could not be read")
    }
}
