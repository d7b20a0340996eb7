//! How a body travels. Decided here: which encodings are made, which of them a client gets, and from what size on it is worth it.

use std::io::Write as _;

use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// Smaller bodies fit into the packet that is sent anyway.
const SMALLEST: usize = 1024;
/// Bodies are encoded once and sent many times, so the levels are above the usual ones for answers made on the way.
const BROTLI_QUALITY: i32 = 7;
const GZIP_LEVEL: u32 = 8;
/// Window of brotli, as a power of two: a page is far below a quarter of a megabyte.
const BROTLI_WINDOW: i32 = 18;
/// A client lists a handful; the rest is not looked at.
const MAX_LISTED: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Identity,
    Gzip,
    Brotli,
}

impl Encoding {
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Brotli];

    /// The best that the client takes: brotli before gzip. Whoever says nothing gets the plain bytes.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let Some(listed) = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
            return Self::Identity;
        };
        let mut best = Self::Identity;
        for range in listed.split(',').take(MAX_LISTED) {
            let (name, parameter) = range.split_once(';').unwrap_or((range, ""));
            let refused =
                parameter.trim().strip_prefix("q=").is_some_and(|q| q.bytes().all(|b| matches!(b, b'0' | b'.')));
            match name.trim() {
                "br" if !refused => return Self::Brotli,
                "gzip" if !refused => best = Self::Gzip,
                _ => {}
            }
        }
        best
    }

    /// The value of `Content-Encoding`.
    pub fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Brotli => Some(HeaderValue::from_static("br")),
        }
    }

    /// Ends the entity tag: other bytes are another entity.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => "-g",
            Self::Brotli => "-b",
        }
    }

    /// `body` in this encoding; `None` when it would not become smaller.
    pub fn encode(self, body: &[u8]) -> Option<Bytes> {
        if body.len() < SMALLEST {
            return None;
        }
        let encoded = match self {
            Self::Identity => return None,
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
                encoder.write_all(body).and_then(|()| encoder.finish()).ok()?
            }
            Self::Brotli => {
                let settings = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: BROTLI_WINDOW,
                    size_hint: body.len(),
                    ..BrotliEncoderParams::default()
                };
                let mut encoded = Vec::new();
                brotli::BrotliCompress(&mut &*body, &mut encoded, &settings).ok()?;
                encoded
            }
        };
        (encoded.len() < body.len()).then(|| encoded.into_boxed_slice().into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_client_gets_the_best_it_takes() {
        let table = [
            ("", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("gzip, deflate, br, zstd", Encoding::Brotli),
            ("gzip;q=1.0, br;q=0", Encoding::Gzip),
            ("br;q=0.000,gzip;q=0", Encoding::Identity),
            ("deflate, *;q=0.1", Encoding::Identity),
            ("GZIP", Encoding::Identity),
        ];
        for (listed, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(listed));
            assert_eq!(Encoding::wanted(&headers), expected, "{listed}");
        }
        assert_eq!(Encoding::wanted(&HeaderMap::new()), Encoding::Identity);
    }

    #[test]
    fn what_was_encoded_reads_the_same_again() {
        let body = "a page that says the same again and again. ".repeat(60);
        let gzip = Encoding::Gzip.encode(body.as_bytes()).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, body);
        let brotli = Encoding::Brotli.encode(body.as_bytes()).unwrap();
        let mut read = Vec::new();
        brotli::BrotliDecompress(&mut &brotli[..], &mut read).unwrap();
        assert_eq!(read, body.as_bytes());
        assert!(brotli.len() < body.len() && gzip.len() < body.len());
    }

    #[test]
    fn what_is_small_or_does_not_shrink_travels_as_it_is() {
        assert!(Encoding::Brotli.encode(&[b'x'; SMALLEST - 1]).is_none());
        let noise: Vec<u8> = (0..4096_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        assert!(Encoding::Gzip.encode(&noise).is_none_or(|encoded| encoded.len() < noise.len()));
        assert!(Encoding::Identity.encode(&[b'x'; 9000]).is_none());
    }
}
