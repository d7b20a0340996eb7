//! One line of the edge's log: one finished request as a JSON object. Pure.
//!
//! Decided here: what a usable line is. A line is written by the edge, but parts of it (path, method, request id) were
//! chosen by a stranger; whatever does not fit is refused with a reason and never a reason to stop.

use serde::Deserialize;

/// The longest path kept. A trace is no place for a longer one.
const LONGEST_PATH: usize = 2048;
/// Methods in use are shorter; a longer word is an attack or a broken client.
const LONGEST_WORD: usize = 128;

/// A request as the edge saw it. Instants in Unix nanoseconds; ids are exactly those in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// `None` when the client sent no valid trace context: the edge's span is the root.
    pub parent_span_id: Option<[u8; 8]>,
    pub request_id: String,
    pub method: String,
    /// Without the query string.
    pub path: String,
    /// `None` when no status was sent, for example because the client went away.
    pub status: Option<u16>,
    pub backend: String,
    pub server: String,
    /// The proxy's two letters for how the exchange ended, `--` when all was well.
    pub termination: String,
    pub start_ns: u64,
    pub end_ns: u64,
}

/// Why a line is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("not the expected object")]
    Json,
    #[error("an id that is no id")]
    Id,
    #[error("a time that cannot be")]
    Time,
    #[error("a text that is too long or empty")]
    Text,
}

#[derive(Deserialize)]
struct Line {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    #[serde(default)]
    request_id: String,
    method: String,
    path: String,
    status: i64,
    backend: String,
    #[serde(default)]
    server: String,
    #[serde(default)]
    term: String,
    start_us: u64,
    duration_us: u64,
}

/// Reads a datagram.
///
/// # Errors
/// [`Unusable`] for everything that is not exactly one complete line with valid ids and times.
pub fn parse(datagram: &[u8]) -> Result<Request, Unusable> {
    let line: Line = serde_json::from_slice(datagram).map_err(|_| Unusable::Json)?;
    let parent_span_id = match line.parent_span_id.as_str() {
        "-" => None,
        text => Some(id(text)?),
    };
    let start_ns = line.start_us.checked_mul(1000).ok_or(Unusable::Time)?;
    let end_ns =
        line.duration_us.checked_mul(1000).and_then(|duration| start_ns.checked_add(duration)).ok_or(Unusable::Time)?;
    if line.start_us == 0 {
        return Err(Unusable::Time);
    }
    let words = [&line.request_id, &line.method, &line.backend, &line.server, &line.term];
    if line.method.is_empty() || line.backend.is_empty() || words.into_iter().any(|word| word.len() > LONGEST_WORD) {
        return Err(Unusable::Text);
    }
    Ok(Request {
        trace_id: id(&line.trace_id)?,
        span_id: id(&line.span_id)?,
        parent_span_id,
        request_id: line.request_id,
        method: line.method,
        path: shortened(line.path),
        status: u16::try_from(line.status).ok().filter(|status| (100..=999).contains(status)),
        backend: line.backend,
        server: line.server,
        termination: line.term,
        start_ns,
        end_ns,
    })
}

/// Lower-case hex of exactly `N` bytes, not all zero, as W3C trace context wants it.
fn id<const N: usize>(text: &str) -> Result<[u8; N], Unusable> {
    let mut bytes = [0; N];
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !lower || hex::decode_to_slice(text, &mut bytes).is_err() || bytes == [0; N] {
        return Err(Unusable::Id);
    }
    Ok(bytes)
}

fn shortened(mut path: String) -> String {
    if path.len() > LONGEST_PATH {
        let end = (0..=LONGEST_PATH).rev().find(|end| path.is_char_boundary(*end)).unwrap_or(0);
        path.truncate(end);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"trace_id":"0af7651916cd43dd8448eb211c80319c","parent_span_id":"b7ad6b7169203331","span_id":"9640601af49a18a5","request_id":"r-1","method":"GET","path":"\/v1\/products","status":200,"backend":"catalog","server":"catalog-1","start_us":1795630656339859,"duration_us":1270,"term":"--"}"#;

    #[test]
    fn a_good_line_keeps_its_ids_and_times() {
        let request = parse(format!("{GOOD}\n").as_bytes()).unwrap();
        assert_eq!(hex::encode(request.trace_id), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(hex::encode(request.span_id), "9640601af49a18a5");
        assert_eq!(request.parent_span_id.map(hex::encode).as_deref(), Some("b7ad6b7169203331"));
        assert_eq!(
            (request.path.as_str(), request.status, request.backend.as_str()),
            ("/v1/products", Some(200), "catalog")
        );
        assert_eq!((request.start_ns, request.end_ns - request.start_ns), (1_795_630_656_339_859_000, 1_270_000));
    }

    #[test]
    fn unusual_but_honest_lines_are_kept() {
        let root = parse(GOOD.replace("b7ad6b7169203331", "-").as_bytes()).unwrap();
        assert_eq!(root.parent_span_id, None);
        let gone = parse(GOOD.replace(":200", ":-1").as_bytes()).unwrap();
        assert_eq!(gone.status, None);
        let more = parse(GOOD.replace("\"term\"", "\"new_field\":1,\"term\"").as_bytes()).unwrap();
        assert_eq!(more.termination, "--");
        let long = parse(GOOD.replace("products", &"ä".repeat(4000)).as_bytes()).unwrap();
        assert!(long.path.len() <= LONGEST_PATH);
    }

    #[test]
    fn garbage_is_refused_with_a_reason() {
        let changed = |from: &str, to: &str| {
            assert!(GOOD.contains(from));
            GOOD.replace(from, to)
        };
        let table = [
            (String::new(), Unusable::Json),
            ("{}".to_owned(), Unusable::Json),
            ("<134>haproxy: text".to_owned(), Unusable::Json),
            (GOOD[..GOOD.len() - 1].to_owned(), Unusable::Json),
            (format!("{GOOD}{GOOD}"), Unusable::Json),
            (changed("1795630656339859", "-"), Unusable::Json),
            (changed("1795630656339859", "-5"), Unusable::Json),
            (changed("\"method\":\"GET\",", ""), Unusable::Json),
            (changed("\"status\":200", "\"status\":\"200\""), Unusable::Json),
            (changed("0af7651916cd43dd8448eb211c80319c", "0AF7651916CD43DD8448EB211C80319C"), Unusable::Id),
            (changed("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"), Unusable::Id),
            (changed("9640601af49a18a5", "9640601af49a18"), Unusable::Id),
            (changed("9640601af49a18a5", "9640601af49a18ag"), Unusable::Id),
            (changed("b7ad6b7169203331", ""), Unusable::Id),
            (changed("1795630656339859", "18446744073709551615"), Unusable::Time),
            (changed("1795630656339859", "0"), Unusable::Time),
            (changed("GET", ""), Unusable::Text),
            (changed("GET", &"G".repeat(200)), Unusable::Text),
        ];
        for (line, reason) in table {
            assert_eq!(parse(line.as_bytes()), Err(reason), "{}", &line[..line.len().min(300)]);
        }
        assert_eq!(parse(&[0xff, 0xfe, 0x00]), Err(Unusable::Json));
        for cut in 0..GOOD.len() {
            assert!(parse(&GOOD.as_bytes()[..cut]).is_err());
        }
    }
}
