//! An index as bytes, so that a process that starts answers at once and reads only what is newer. The layout has a number; a
//! snapshot of another layout, or one that was cut off, is [`Damaged`] and the reader begins from nothing.

use std::collections::HashMap;

use crate::index::{Index, Limits, VISIT_GAP_MS};
use crate::names::Id;

/// The first bytes of every snapshot; the last of them is the number of the layout.
const MAGIC: &[u8; 8] = b"visits\0\x01";

/// A longer name is no item; `Sku` allows 64 bytes, other shops' files may have more.
const LONGEST_NAME: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl std::fmt::Display for Damaged {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the snapshot is damaged or of another layout")
    }
}

impl std::error::Error for Damaged {}

impl Index {
    /// The whole index with `position`, a text that tells where in the stream of visits it stands.
    pub fn to_bytes(&self, position: &str) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_text(&mut out, position);
        let mut numbers: HashMap<Id, u32> = HashMap::new();
        let mut names: Vec<&str> = Vec::new();
        for step in self.visits.iter().flat_map(|visit| &visit.steps) {
            numbers.entry(step.item).or_insert_with(|| {
                names.push(self.names.name(step.item));
                names.len() as u32 - 1
            });
        }
        put(&mut out, names.len() as u32);
        names.into_iter().for_each(|name| put_text(&mut out, name));
        put(&mut out, self.visits.len() as u32);
        let open_since = self.newest_ms().unwrap_or_default().saturating_sub(VISIT_GAP_MS);
        for visit in &self.visits {
            // Only a visit that may still go on is found again by its key.
            let key = if visit.at_ms >= open_since { visit.key } else { 0 };
            out.extend_from_slice(&key.to_le_bytes());
            out.extend_from_slice(&visit.at_ms.to_le_bytes());
            out.push(visit.steps.len() as u8);
            for step in &visit.steps {
                put(&mut out, numbers[&step.item] << 1 | u32::from(step.bought));
            }
        }
        let sum = checksum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// The index and its position. What does not fit into `limits` is forgotten, the oldest first.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<(Self, String), Damaged> {
        let body = bytes.len().checked_sub(8).ok_or(Damaged)?;
        let (body, sum) = bytes.split_at(body);
        if checksum(body).to_le_bytes() != *sum || !body.starts_with(MAGIC) {
            return Err(Damaged);
        }
        let mut reader = Reader(&body[MAGIC.len()..]);
        let position = reader.text()?.to_owned();
        let names: Vec<&str> = (0..reader.number()?).map(|_| reader.text()).collect::<Result<_, _>>()?;
        let mut index = Self::new(limits);
        for place in 0..reader.number()? {
            let (key, at_ms) = (u64::from_le_bytes(reader.take()?), i64::from_le_bytes(reader.take()?));
            // A visit that is over gets a key of its own, so that two of them are not taken for one.
            let key = if key == 0 { u64::MAX - u64::from(place) } else { key };
            for _ in 0..u8::from_le_bytes(reader.take()?) {
                let step = reader.number()?;
                index.learn(key, at_ms, names.get(step as usize >> 1).ok_or(Damaged)?, step & 1 == 1);
            }
        }
        if reader.0.is_empty() { Ok((index, position)) } else { Err(Damaged) }
    }
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u32);
    out.extend_from_slice(text.as_bytes());
}

/// FNV-1a over words of eight bytes: finds a file that was cut off or half written; it keeps nobody out.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = self.number()? as usize;
        if length > LONGEST_NAME {
            return Err(Damaged);
        }
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mixture, Question};

    fn index() -> Index {
        let mut index = Index::new(Limits::default());
        for n in 0..200u64 {
            index.learn(n / 4, n as i64 * 60_000, &format!("S{}", n * n % 17), n % 5 == 0);
        }
        index
    }

    fn answers(index: &Index) -> Vec<(String, f32)> {
        let question = Question { visit: &["S1", "S4"], own: None, seen_too: true };
        let list = Mixture::default().suggest(index, &question, 20);
        list.into_iter().map(|suggestion| (suggestion.item.to_owned(), suggestion.share)).collect()
    }

    #[test]
    fn an_index_answers_the_same_after_its_bytes_and_an_open_visit_goes_on() {
        let mut index = index();
        let (mut read, position) =
            Index::from_bytes(&index.to_bytes("17-3"), Limits::default()).expect("its own bytes");
        assert_eq!((position.as_str(), read.len()), ("17-3", index.len()));
        assert_eq!(answers(&read), answers(&index));
        assert!(!answers(&index).is_empty());
        for index in [&mut index, &mut read] {
            index.learn(49, 200 * 60_000, "S4", false);
            index.learn(0, 200 * 60_000, "S1", false);
        }
        assert_eq!(read.len(), index.len());
        assert_eq!(answers(&read), answers(&index));
    }

    #[test]
    fn smaller_limits_keep_the_newest() {
        let bytes = index().to_bytes("");
        let (read, _) = Index::from_bytes(&bytes, Limits { visits: 3, visits_per_item: 2 }).expect("good bytes");
        assert_eq!((read.len(), read.newest_ms()), (3, index().newest_ms()));
    }

    #[test]
    fn damaged_bytes_are_refused_wherever_they_are_damaged() {
        let bytes = index().to_bytes("17-3");
        for cut in [0, 1, 7, 8, 20, bytes.len() / 2, bytes.len() - 1] {
            assert_eq!(Index::from_bytes(&bytes[..cut], Limits::default()).map(|_| ()), Err(Damaged), "{cut}");
        }
        for at in (0..bytes.len()).step_by(37) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x20;
            assert_eq!(Index::from_bytes(&bytes, Limits::default()).map(|_| ()), Err(Damaged), "{at}");
        }
    }
}
