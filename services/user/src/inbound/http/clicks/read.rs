//! The three shapes of a body: an object with `events`, a bare array, one event per line. Decided here: what is an element, and
//! that a body which is no JSON is refused whole, while among lines only the broken one is.
//!
//! Elements are taken one after the other with their place in the text, so that what was sent can be kept of one that is refused.
//! Reading stops at one element more than is taken: a million of them cost what five hundred do.

use std::borrow::Cow;

use chassis::Problem;
use chassis::problem::codes;
use common::{ErrorKind, FieldProblem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Deserializer;

use super::event::{Said, Text};
use crate::domain::Event;
use crate::domain::click::MOST_EVENTS;
use crate::domain::person::INVALID_FIELD;

/// Bytes of a short event, with an id that is unique: a list that is made for such ones does not grow.
const SHORT: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Json,
    Lines,
    /// One of the two; the body tells.
    Text,
}

/// What a body says, before anybody asked whether it may.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told<'a> {
    pub visitor_id: Option<Cow<'a, str>>,
    pub events: Vec<Event<'a>>,
}

pub(super) fn read(shape: Shape, body: &[u8]) -> Result<Told<'_>, Problem> {
    match shape {
        Shape::Json => of_document(body),
        Shape::Lines => Ok(of_lines(body)),
        Shape::Text if is_document(body) => of_document(body),
        Shape::Text if body.contains(&b'\n') => Ok(of_lines(body)),
        Shape::Text if begins(body, b'{') => of_line(body),
        Shape::Text => Err(malformed()),
    }
}

/// Whether a text is one document and no list of lines: an array, or an object that has `events`. A single event on a single line is
/// a document as well; it has none.
fn is_document(body: &[u8]) -> bool {
    if begins(body, b'[') {
        return true;
    }
    #[derive(Deserialize)]
    #[serde(field_identifier, rename_all = "snake_case")]
    enum First {
        Events,
        VisitorId,
        #[serde(other)]
        Other,
    }
    // The first name tells: an event has neither of these.
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let mut cursor = Cursor { text, at: 0 };
    cursor.take(b'{') && matches!(cursor.value::<First>(), Ok(First::Events | First::VisitorId))
}

fn begins(body: &[u8], with: u8) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&with)
}

fn of_document(body: &[u8]) -> Result<Told<'_>, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let mut cursor = Cursor { text, at: 0 };
    let told = match cursor.peek() {
        Some(b'[') => Told { visitor_id: None, events: cursor.events()? },
        Some(b'{') => of_object(&mut cursor)?,
        _ => {
            cursor.value::<IgnoredAny>()?;
            return Err(invalid("", "expected an object with events, or an array of events"));
        }
    };
    // What stands behind too many events was not looked at; the answer is no either way.
    let whole = told.events.len() > MOST_EVENTS || cursor.peek().is_none();
    if whole { Ok(told) } else { Err(malformed()) }
}

fn of_object<'a>(cursor: &mut Cursor<'a>) -> Result<Told<'a>, Problem> {
    let (mut visitor_id, mut events, mut unknown, mut no_list) = (None, None, None, false);
    cursor.take(b'{');
    if !cursor.take(b'}') {
        loop {
            let name: Cow<'a, str> = match cursor.value::<Text<'a>>()? {
                Text::Said(name) => name,
                _ => return Err(malformed()),
            };
            if !cursor.take(b':') {
                return Err(malformed());
            }
            match &*name {
                "visitor_id" if visitor_id.is_some() => return Err(malformed()),
                "events" if events.is_some() => return Err(malformed()),
                "visitor_id" => visitor_id = Some(cursor.value::<Text<'a>>()?),
                "events" if cursor.peek() == Some(b'[') => {
                    let found = cursor.events()?;
                    if found.len() > MOST_EVENTS {
                        return Ok(Told { visitor_id: visitor_id_of(visitor_id)?, events: found });
                    }
                    events = Some(found);
                }
                // Told only when the rest is JSON: of a body that was cut off nobody knows what it would have said.
                "events" => {
                    cursor.value::<IgnoredAny>()?;
                    no_list = true;
                }
                _ => {
                    cursor.value::<IgnoredAny>()?;
                    unknown = unknown.or(Some(name));
                }
            }
            if cursor.take(b'}') {
                break;
            }
            if !cursor.take(b',') {
                return Err(malformed());
            }
        }
    }
    let visitor_id = visitor_id_of(visitor_id)?;
    let Some(events) = events.filter(|_| !no_list) else {
        return Err(invalid("/events", "expected an array of events"));
    };
    match unknown {
        Some(name) => Err(not_known(&name)),
        None => Ok(Told { visitor_id, events }),
    }
}

fn visitor_id_of(said: Option<Text<'_>>) -> Result<Option<Cow<'_, str>>, Problem> {
    said.unwrap_or(Text::Unsaid).optional().map_err(|_| invalid("/visitor_id", "expected a UUID"))
}

/// A single event without a line's end. Broken, it is the whole body that cannot be read.
fn of_line(body: &[u8]) -> Result<Told<'_>, Problem> {
    let told = of_lines(body);
    let broken = told.events.iter().any(|event| event.form == Err(codes::MALFORMED_REQUEST));
    if broken { Err(malformed()) } else { Ok(told) }
}

fn of_lines(body: &[u8]) -> Told<'_> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let mut events = room_for(body);
    events.extend(lines.take(MOST_EVENTS + 1).map(|sent| {
        let text = std::str::from_utf8(sent).map_err(|_| codes::MALFORMED_REQUEST);
        let said = text.and_then(|text| serde_json::from_str::<Said<'_>>(text).map_err(|_| codes::MALFORMED_REQUEST));
        Event { form: said.and_then(|said| said.0), sent }
    }));
    Told { visitor_id: None, events }
}

/// A list with room for the events that `body` probably holds, and never for more than are taken.
fn room_for<'a>(body: &[u8]) -> Vec<Event<'a>> {
    Vec::with_capacity((body.len() / SHORT).min(MOST_EVENTS) + 1)
}

/// A place in a text of JSON. What stands between values is read here, the values by `serde_json`.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += spaces;
        rest.get(spaces).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Result<T, Problem> {
        let mut values = Deserializer::from_str(&self.text[self.at..]).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(_)) | None => Err(malformed()),
        }
    }

    /// The array that begins here.
    fn events(&mut self) -> Result<Vec<Event<'a>>, Problem> {
        self.take(b'[');
        if self.take(b']') {
            return Ok(Vec::new());
        }
        let mut events = room_for(&self.text.as_bytes()[self.at..]);
        loop {
            self.peek();
            let begin = self.at;
            let said: Said<'a> = self.value()?;
            events.push(Event { form: said.0, sent: &self.text.as_bytes()[begin..self.at] });
            if self.take(b']') || events.len() > MOST_EVENTS {
                return Ok(events);
            }
            if !self.take(b',') {
                return Err(malformed());
            }
        }
    }
}

fn malformed() -> Problem {
    Problem::new(
        ErrorKind::Invalid,
        codes::MALFORMED_REQUEST,
        "the body is not what its type says; nothing was accepted",
    )
}

pub(super) fn invalid(pointer: &str, message: &str) -> Problem {
    Problem::invalid_fields(vec![FieldProblem::new(pointer, INVALID_FIELD, message)])
}

fn not_known(name: &str) -> Problem {
    let pointer = format!("/{}", name.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1"));
    let field = FieldProblem::new(pointer, codes::UNKNOWN_FIELD, "this field is not known here");
    let problem = Problem::new(
        ErrorKind::Unprocessable,
        codes::UNKNOWN_FIELD,
        "the body has a field that is not known; nothing was accepted",
    );
    problem.with_fields(vec![field])
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"{"event_id":"e1","type":"view","sku":"FA-1"}"#;

    fn told(shape: Shape, body: &str) -> (Option<String>, Vec<Result<String, &'static str>>) {
        let told = read(shape, body.as_bytes()).expect(body);
        let events = told.events.into_iter().map(|event| event.form.map(|form| form.event_id.into_owned()));
        (told.visitor_id.map(Cow::into_owned), events.collect())
    }

    fn refused(shape: Shape, body: &[u8]) -> Option<&'static str> {
        read(shape, body).err().map(|problem| problem.code())
    }

    #[test]
    fn three_shapes_say_the_same() {
        let e1 = || vec![Ok("e1".to_owned())];
        let visitor = Some("v".to_owned());
        for object in [
            format!(r#"{{"visitor_id":"v","events":[{VIEW}]}}"#),
            format!(r#" {{ "events" : [ {VIEW} ] , "visitor_id" : "v" }} "#),
            format!(r#"{{"visitor_id":"\u0076","events":[{VIEW}]}}"#),
        ] {
            assert_eq!(told(Shape::Json, &object), (visitor.clone(), e1()), "{object}");
            assert_eq!(told(Shape::Text, &object), (visitor.clone(), e1()), "{object}");
        }
        assert_eq!(told(Shape::Json, &format!("[{VIEW}]")), (None, e1()));
        assert_eq!(told(Shape::Lines, &format!("{VIEW}\n\n")), (None, e1()));
        assert_eq!(told(Shape::Text, &format!("[{VIEW}]")), (None, e1()));
        assert_eq!(told(Shape::Text, VIEW), (None, e1()));
        assert_eq!(told(Shape::Text, &format!("{VIEW}\r\n{VIEW}")).1.len(), 2);
        assert_eq!(told(Shape::Json, r#"{"visitor_id":null,"events":[]}"#), (None, Vec::new()));
    }

    #[test]
    fn a_bad_event_is_refused_alone_and_keeps_what_was_sent() {
        let deep = format!(r#"{{"event_id":"e","type":"view","sku":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        let twice = r#"{"event_id":"e","event_id":"f","type":"view","sku":"A"}"#;
        let bad = [
            (r#"{"event_id":"e","type":"view","user_id":{"a":[1]}}"#, "unknown-field"),
            (r#"{"event_id":7,"type":"view"}"#, "invalid-field"),
            (r#"{"event_id":"e","type":"view","position":-1}"#, "invalid-field"),
            (r#"{"event_id":"e","type":"view","position":1.5}"#, "invalid-field"),
            (r#"{"event_id":"e","type":"view","position":4294967296}"#, "invalid-field"),
            (r#"{"event_id":"e","type":"view","sku":{"a":1}}"#, "invalid-field"),
            (r#""x""#, "invalid-field"),
            ("null", "invalid-field"),
            ("1e3", "invalid-field"),
            ("true", "invalid-field"),
            ("{}", "invalid-field"),
            (r#"["e","view"]"#, "invalid-field"),
            (twice, "invalid-field"),
            (&deep, "invalid-field"),
        ];
        for (event, code) in bad {
            let body = format!("[{VIEW}, {event} ,{VIEW}]");
            let told = read(Shape::Json, body.as_bytes()).expect("a document");
            let codes: Vec<_> = told.events.iter().map(|event| event.form.as_ref().err().copied()).collect();
            assert_eq!(codes, [None, Some(code), None], "{event:.60}");
            assert_eq!(told.events[1].sent, event.as_bytes());
            let lines = format!("{VIEW}\n{event}\n{VIEW}");
            assert_eq!(read(Shape::Lines, lines.as_bytes()).expect("lines").events, told.events, "{event:.60}");
        }
    }

    #[test]
    fn a_broken_line_or_one_that_is_no_text_costs_no_other() {
        let body =
            [VIEW.as_bytes(), b"{broken", b"\xff\xfe", br#"{"event_id":"\ud800"}"#, VIEW.as_bytes()].join(&b'\n');
        let told = read(Shape::Lines, &body).expect("lines");
        let codes: Vec<_> = told.events.iter().map(|event| event.form.as_ref().err().copied()).collect();
        let malformed = Some("malformed-request");
        assert_eq!(codes, [None, malformed, malformed, malformed, None]);
    }

    #[test]
    fn a_body_that_cannot_be_read_is_refused_whole() {
        let document = format!(r#"{{"visitor_id":"v","events":[{VIEW},{VIEW}]}}"#);
        for cut in 0..document.len() {
            for shape in [Shape::Json, Shape::Text] {
                let code = refused(shape, &document.as_bytes()[..cut]);
                assert_eq!(code, Some("malformed-request"), "{shape:?} cut at {cut}");
            }
        }
        for cut in 0..VIEW.len() {
            assert_eq!(refused(Shape::Text, &VIEW.as_bytes()[..cut]), Some("malformed-request"), "cut at {cut}");
        }
        let cases = [
            (Shape::Json, "", "malformed-request"),
            (Shape::Json, "{", "malformed-request"),
            (Shape::Json, "7", "invalid-field"),
            (Shape::Json, r#"{"visitor_id":"v"}"#, "invalid-field"),
            (Shape::Json, "{}", "invalid-field"),
            (Shape::Json, r#"{"events":{}}"#, "invalid-field"),
            (Shape::Json, r#"{"events":7,"events":[]}"#, "invalid-field"),
            (Shape::Json, r#"{"events":"x""#, "malformed-request"),
            (Shape::Json, r#"{"events":x}"#, "malformed-request"),
            (Shape::Json, r#"{"visitor_id":7,"events":[]}"#, "invalid-field"),
            (Shape::Json, r#"{"events":[],"user_id":"u"}"#, "unknown-field"),
            (Shape::Json, r#"{"events":[],"events":[]}"#, "malformed-request"),
            (Shape::Json, "[] []", "malformed-request"),
            (Shape::Json, "[{},]", "malformed-request"),
            (Shape::Json, "[{} {}]", "malformed-request"),
            (Shape::Json, r#"{"events":[],}"#, "malformed-request"),
            (Shape::Json, r#"{7:[]}"#, "malformed-request"),
            (Shape::Text, "hello", "malformed-request"),
        ];
        for (shape, body, code) in cases {
            assert_eq!(refused(shape, body.as_bytes()), Some(code), "{body:?}");
        }
        assert_eq!(refused(Shape::Json, b"[\"\xff\"]"), Some("malformed-request"));
    }

    #[test]
    fn reading_stops_at_the_first_event_too_many() {
        let many = format!("[{}1", "1,".repeat(100_000));
        assert_eq!(
            read(Shape::Json, many.as_bytes()).expect("not read to its broken end").events.len(),
            MOST_EVENTS + 1
        );
        let many = format!(r#"{{"events":[{}1"#, "1,".repeat(100_000));
        assert_eq!(read(Shape::Json, many.as_bytes()).expect("not read to its end").events.len(), MOST_EVENTS + 1);
        let lines = "1\n".repeat(100_000);
        assert_eq!(read(Shape::Lines, lines.as_bytes()).expect("lines").events.len(), MOST_EVENTS + 1);
    }

    #[test]
    fn texts_without_escapes_are_not_copied() {
        let told = read(Shape::Json, br#"[{"event_id":"e1","type":"view","sku":"FA\u002d1"}]"#).expect("a document");
        let form = told.events[0].form.as_ref().expect("an event");
        assert!(matches!((&form.event_id, &form.kind), (Cow::Borrowed("e1"), Cow::Borrowed("view"))));
        assert_eq!(form.sku.as_deref(), Some("FA-1"));
    }
}
