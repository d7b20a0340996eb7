//! A record on its way, and how it stands in a file of the spill: its length, a sum over it, then topic, key and payload. A file
//! ends where the process stopped; what stands there in part was promised to nobody.

use std::borrow::Cow;

use contracts::Topic;
use contracts::topics::{CLICKSTREAM_REFUSED, TOPICS};

/// A line is shorter than this, or it is none: the largest body there is, and what its events grow by.
const LONGEST: usize = 4 << 20;
const HEAD: usize = 8;

#[derive(Clone, Debug)]
pub struct Line<'a> {
    pub topic: &'static Topic,
    pub key: Cow<'a, str>,
    pub payload: Cow<'a, [u8]>,
}

impl Line<'_> {
    /// Whether it tells of events that were refused: as durable as a click, as long as there is room.
    pub fn is_refused(&self) -> bool {
        self.topic.kind == CLICKSTREAM_REFUSED.kind
    }

    /// Bytes that [`write`](Self::write) adds.
    pub fn size(&self) -> u64 {
        let text = |text: &str| 1 + text.len().min(usize::from(u8::MAX));
        (HEAD + text(self.topic.kind) + text(&self.key) + self.payload.len()) as u64
    }

    /// Adds the line to `out` as it will stand in the file.
    pub fn write(&self, out: &mut Vec<u8>) {
        let head = out.len();
        out.extend_from_slice(&[0; HEAD]);
        for text in [self.topic.kind, &*self.key] {
            // Kinds of topics and keys are ours and have some dozen bytes.
            out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(&text.as_bytes()[..text.len().min(usize::from(u8::MAX))]);
        }
        out.extend_from_slice(&self.payload);
        let body = &out[head + HEAD..];
        let (length, sum) = (u32::try_from(body.len()).unwrap_or(u32::MAX), crc32fast::hash(body));
        out[head..head + 4].copy_from_slice(&length.to_le_bytes());
        out[head + 4..head + HEAD].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The lines of a file, in order, and the bytes at its end that are none.
pub fn lines(bytes: &[u8]) -> (Vec<Line<'_>>, &[u8]) {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while let Some((line, behind)) = first(rest) {
        found.push(line);
        rest = behind;
    }
    (found, rest)
}

fn first(bytes: &[u8]) -> Option<(Line<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= LONGEST)?;
    let (body, behind) = rest.split_at_checked(length)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (kind, body) = text(body)?;
    let (key, payload) = text(body)?;
    let topic = TOPICS.iter().copied().find(|topic| topic.kind == kind)?;
    Some((Line { topic, key: Cow::Borrowed(key), payload: Cow::Borrowed(payload) }, behind))
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use contracts::topics::{CLICKSTREAM_RAW, CLICKSTREAM_REFUSED};

    use super::*;

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        for (topic, key, payload) in [
            (&CLICKSTREAM_RAW, "one", &b"first"[..]),
            (&CLICKSTREAM_REFUSED, "two", b""),
            (&CLICKSTREAM_RAW, "", b"last"),
        ] {
            let (line, before) = (Line { topic, key: key.into(), payload: payload.into() }, file.len());
            line.write(&mut file);
            assert_eq!(line.size(), (file.len() - before) as u64, "its size was reckoned");
        }
        file
    }

    #[test]
    fn lines_come_back_in_their_order_and_what_was_cut_off_is_told() {
        let file = file();
        let shown = |bytes| {
            let (lines, rest): (Vec<Line<'_>>, &[u8]) = lines(bytes);
            let lines = lines.iter().map(|line| format!("{} {} {:?}", line.topic, line.key, &*line.payload));
            (lines.collect::<Vec<_>>(), rest.len())
        };
        let (all, rest) = shown(&file);
        assert_eq!((all.len(), rest), (3, 0));
        assert_eq!(all[0], format!("clickstream.raw one {:?}", b"first"));
        for cut in 0..file.len() {
            let (some, rest) = shown(&file[..cut]);
            assert_eq!(some[..], all[..some.len()], "cut at {cut}");
            assert!(some.len() < 3 && (rest > 0 || !some.is_empty() || cut == 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_byte_that_changed_ends_the_lines_before_it() {
        let whole = file();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            let (found, rest) = lines(&damaged);
            assert!(found.len() < 3 && !rest.is_empty(), "changed at {place}");
        }
    }
}
