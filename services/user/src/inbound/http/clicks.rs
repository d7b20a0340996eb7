//! `POST /v1/events`: what browsers report. Three shapes of body (an object with `events`, a bare array, one event per line)
//! under the three types that browsers send, `text/plain` among them because `sendBeacon` sends that without asking first.
//!
//! An event that cannot be read is refused by its index; a body that cannot be read is refused whole.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use axum::routing::post;
use chassis::Problem;
use chassis::extract::{ClientAddress, Json, MaybeCaller, Query, parse_json};
use chassis::http::body_limit;
use chassis::problem::codes;
use common::{ErrorKind, FieldProblem, VisitorId};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Api, personal, problem};
use crate::domain::ClickForm;
use crate::domain::person::INVALID_FIELD;
use crate::usecases::{ClickReport, Reporter, Signals, report_clicks};

/// 500 events of 500 bytes.
const LARGEST_BODY: usize = 256 * 1024;

pub(super) fn router() -> Router<Api> {
    body_limit(Router::new().route("/v1/events", post(report)), LARGEST_BODY)
}

#[derive(Deserialize)]
struct Who {
    visitor_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    event_id: String,
    r#type: String,
    sku: Option<String>,
    query: Option<String>,
    list_id: Option<String>,
    position: Option<u32>,
    at: Option<String>,
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

/// What a body says, before anybody asked whether it may.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    visitor_id: Option<String>,
    events: Vec<Result<ClickForm, &'static str>>,
}

async fn report(
    State(api): State<Api>,
    MaybeCaller(caller): MaybeCaller,
    ClientAddress(source): ClientAddress,
    Query(who): Query<Who>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(unread)?;
    let told = read(shape(&headers)?, &body)?;
    let visitor = told.visitor_id.or(who.visitor_id).map(|text| visitor(&text)).transpose()?;
    let reporter = match caller {
        Some(caller) => {
            Reporter::Person { user: caller.user_id, personalisation_consent: caller.personalisation_consent }
        }
        None => Reporter::Visitor(visitor),
    };
    let report = ClickReport { reporter, signals: signals(&headers), events: told.events };
    let reported = report_clicks(&api.app, &report, source).await.map_err(problem)?;
    let rejected =
        reported.refused.into_iter().map(|click| Rejected { index: click.index, code: click.code }).collect();
    Ok(personal((StatusCode::ACCEPTED, Json(Answer { accepted: reported.accepted, rejected }))))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Json,
    Lines,
    /// One of the two; the body tells.
    Text,
}

fn shape(headers: &HeaderMap) -> Result<Shape, Problem> {
    let refused = || {
        Problem::new(
            ErrorKind::UnsupportedMedia,
            codes::UNSUPPORTED_MEDIA_TYPE,
            "send application/json, application/x-ndjson or text/plain in UTF-8",
        )
    };
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(refused());
    }
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let shape = match parts.next().unwrap_or_default() {
        "application/json" => Shape::Json,
        "application/x-ndjson" | "application/ndjson" => Shape::Lines,
        "text/plain" => Shape::Text,
        _ => return Err(refused()),
    };
    let is_utf8 = parts.all(|parameter| {
        parameter.strip_prefix("charset=").is_none_or(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
    });
    if is_utf8 { Ok(shape) } else { Err(refused()) }
}

fn read(shape: Shape, body: &[u8]) -> Result<Told, Problem> {
    match shape {
        Shape::Json => of_document(parse_json(body)?),
        Shape::Lines => Ok(of_lines(body)),
        Shape::Text => match parse_json::<Value>(body) {
            // A single event on a single line is a document as well; it has no list of events.
            Ok(document) if document.is_array() || document.get("events").is_some() => of_document(document),
            Ok(_) => Ok(of_lines(body)),
            Err(_) if body.contains(&b'\n') => Ok(of_lines(body)),
            Err(problem) => Err(problem),
        },
    }
}

fn of_document(document: Value) -> Result<Told, Problem> {
    let mut fields = match document {
        Value::Array(events) => return Ok(Told { visitor_id: None, events: events.into_iter().map(event).collect() }),
        Value::Object(fields) => fields,
        _ => return Err(invalid("", "expected an object with events, or an array of events")),
    };
    let visitor_id = match fields.remove("visitor_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(invalid("/visitor_id", "expected a UUID")),
    };
    let Some(Value::Array(events)) = fields.remove("events") else {
        return Err(invalid("/events", "expected an array of events"));
    };
    if let Some(name) = fields.keys().next() {
        let pointer = format!("/{}", name.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1"));
        let field = FieldProblem::new(pointer, codes::UNKNOWN_FIELD, "this field is not known here");
        let problem = Problem::new(
            ErrorKind::Unprocessable,
            codes::UNKNOWN_FIELD,
            "the body has a field that is not known; nothing was accepted",
        );
        return Err(problem.with_fields(vec![field]));
    }
    Ok(Told { visitor_id, events: events.into_iter().map(event).collect() })
}

fn of_lines(body: &[u8]) -> Told {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let events =
        lines.map(|line| serde_json::from_slice(line).map_err(|_| codes::MALFORMED_REQUEST).and_then(event)).collect();
    Told { visitor_id: None, events }
}

fn event(value: Value) -> Result<ClickForm, &'static str> {
    if !value.is_object() {
        // An array would be taken for the fields in their order.
        return Err(INVALID_FIELD);
    }
    let event: Event = serde_json::from_value(value).map_err(|error| match error.to_string() {
        text if text.starts_with("unknown field") => codes::UNKNOWN_FIELD,
        _ => INVALID_FIELD,
    })?;
    Ok(ClickForm {
        event_id: event.event_id,
        kind: event.r#type,
        sku: event.sku,
        query: event.query,
        list_id: event.list_id,
        position: event.position,
        at: event.at,
    })
}

fn visitor(text: &str) -> Result<VisitorId, Problem> {
    text.parse().map_err(|_| invalid("/visitor_id", "expected a UUID in lower case with hyphens"))
}

fn signals(headers: &HeaderMap) -> Signals {
    let says_one = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes() == b"1");
    Signals { do_not_track: says_one("dnt"), global_privacy_control: says_one("sec-gpc") }
}

fn invalid(pointer: &str, message: &str) -> Problem {
    Problem::invalid_fields(vec![FieldProblem::new(pointer, INVALID_FIELD, message)])
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(
            ErrorKind::TooLarge,
            codes::BODY_TOO_LARGE,
            "at most 256 KiB of events are taken at once; nothing was accepted",
        )
    } else {
        Problem::new(ErrorKind::Invalid, codes::MALFORMED_REQUEST, "the body could not be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"{"event_id":"e1","type":"view","sku":"FA-1"}"#;

    fn told(shape: Shape, body: &str) -> (Option<String>, Vec<Result<String, &'static str>>) {
        let told = read(shape, body.as_bytes()).expect(body);
        (told.visitor_id, told.events.into_iter().map(|event| event.map(|form| form.event_id)).collect())
    }

    #[test]
    fn three_shapes_say_the_same() {
        let e1 = || vec![Ok("e1".to_owned())];
        let visitor = Some("v".to_owned());
        assert_eq!(told(Shape::Json, &format!(r#"{{"visitor_id":"v","events":[{VIEW}]}}"#)), (visitor.clone(), e1()));
        assert_eq!(told(Shape::Json, &format!("[{VIEW}]")), (None, e1()));
        assert_eq!(told(Shape::Lines, &format!("{VIEW}\n\n")), (None, e1()));
        assert_eq!(told(Shape::Text, &format!(r#"{{"visitor_id":"v","events":[{VIEW}]}}"#)), (visitor, e1()));
        assert_eq!(told(Shape::Text, &format!("[{VIEW}]")), (None, e1()));
        assert_eq!(told(Shape::Text, VIEW), (None, e1()));
        assert_eq!(told(Shape::Text, &format!("{VIEW}\r\n{VIEW}")).1.len(), 2);
    }

    #[test]
    fn a_bad_event_is_refused_alone() {
        let body = format!(
            r#"[{VIEW},{{"event_id":"e","type":"view","user_id":"u"}},{{"event_id":7,"type":"view"}},"x",null,{{}},["e","view"]]"#
        );
        let codes: Vec<_> = told(Shape::Json, &body).1.into_iter().map(|event| event.err()).collect();
        let invalid = Some("invalid-field");
        assert_eq!(codes, [None, Some("unknown-field"), invalid, invalid, invalid, invalid, invalid]);
        assert_eq!(told(Shape::Lines, &format!("{VIEW}\n{{broken\n")).1[1], Err("malformed-request"));
    }

    #[test]
    fn a_body_that_cannot_be_read_is_refused_whole() {
        let cases = [
            (Shape::Json, "", "malformed-request"),
            (Shape::Json, "{", "malformed-request"),
            (Shape::Json, "7", "invalid-field"),
            (Shape::Json, r#"{"visitor_id":"v"}"#, "invalid-field"),
            (Shape::Json, r#"{"visitor_id":7,"events":[]}"#, "invalid-field"),
            (Shape::Json, r#"{"events":[],"user_id":"u"}"#, "unknown-field"),
            (Shape::Text, "hello", "malformed-request"),
        ];
        for (shape, body, code) in cases {
            assert_eq!(read(shape, body.as_bytes()).map_err(|problem| problem.code()), Err(code), "{body:?}");
        }
    }
}
