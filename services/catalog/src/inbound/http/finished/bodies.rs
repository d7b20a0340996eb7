//! Bodies of lists, of the tree of categories and of strips, in the encodings they travel in.
//!
//! Decided here: the same bytes are encoded once, however often they are sent. What is kept goes by the hash of the plain bytes, so it
//! is never wrong: a list that changed is other bytes. Nobody takes it away; what is not asked for any more makes room for the rest.
//! Not decided here: which answers are for everybody (`pages`).

use bytes::Bytes;
use http::HeaderValue;
use quick_cache::sync::Cache;
use tokio::task::spawn_blocking;

use super::encoding::Encoding;
use super::page::tag;
use super::{ByBytes, bounded};

/// Longer ones travel as they are: a hundred products with long descriptions would keep a processor busy for longer than they travel.
const LONGEST: usize = 512 * 1024;

/// A body as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub body: Bytes,
    pub tag: HeaderValue,
    pub encoding: Encoding,
}

impl Sent {
    pub fn plain(body: Bytes) -> Self {
        Self { tag: tag(&body, Encoding::Identity), body, encoding: Encoding::Identity }
    }
}

/// By the tag of the encoded body; `None` where it would not become smaller.
pub struct Bodies(Cache<HeaderValue, Option<Bytes>, ByBytes>);

impl Bodies {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self(bounded(max_bytes, ByBytes))
    }

    /// `body` in this encoding if that makes it smaller: made by one caller while the others wait, away from those who answer.
    pub async fn encoded(&self, body: Bytes, encoding: Encoding) -> Sent {
        if encoding == Encoding::Identity || body.len() > LONGEST {
            return Sent::plain(body);
        }
        let (tag, plain) = (tag(&body, encoding), body.clone());
        let made = async move { spawn_blocking(move || encoding.encode(&plain)).await };
        let made = self.0.get_or_insert_async(&tag, made).await;
        match made {
            Ok(Some(encoded)) => Sent { body: encoded, tag, encoding },
            // It does not shrink, or nobody encodes any more because the process ends.
            Ok(None) | Err(_) => Sent::plain(body),
        }
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(number: usize) -> Bytes {
        format!("{number}: {}", "the same again and again, ".repeat(200)).into()
    }

    #[tokio::test]
    async fn the_same_bytes_are_encoded_once_and_others_have_another_tag() {
        let bodies = Bodies::new(1 << 20);
        let first = bodies.encoded(list(1), Encoding::Brotli).await;
        assert_eq!(first.encoding, Encoding::Brotli);
        assert!(first.body.len() * 2 < list(1).len(), "the text repeats itself");
        let again = bodies.encoded(list(1), Encoding::Brotli).await;
        assert_eq!(first, again);
        assert_eq!(first.body.as_ptr(), again.body.as_ptr(), "these very bytes, not made again");
        let gzip = bodies.encoded(list(1), Encoding::Gzip).await;
        let plain = bodies.encoded(list(1), Encoding::Identity).await;
        let other = bodies.encoded(list(2), Encoding::Brotli).await;
        let tags = [&first.tag, &gzip.tag, &plain.tag, &other.tag];
        assert!((0..4).all(|one| (0..one).all(|other| tags[one] != tags[other])), "{tags:?}");
        assert_eq!(plain, Sent::plain(list(1)));
    }

    #[tokio::test]
    async fn what_is_small_and_what_is_huge_travels_as_it_is() {
        let bodies = Bodies::new(1 << 20);
        for body in [Bytes::from_static(b"[]"), vec![b'x'; LONGEST + 1].into()] {
            assert_eq!(bodies.encoded(body.clone(), Encoding::Brotli).await, Sent::plain(body));
        }
    }

    #[tokio::test]
    async fn encoded_lists_never_take_more_than_their_memory() {
        let limit = 64 << 10;
        let bodies = Bodies::new(limit);
        for number in 0..500 {
            bodies.encoded(list(number), Encoding::Gzip).await;
            assert!(bodies.bytes() <= limit, "{}", bodies.bytes());
        }
        assert!(bodies.bytes() > limit / 2, "it is used: {}", bodies.bytes());
    }
}
