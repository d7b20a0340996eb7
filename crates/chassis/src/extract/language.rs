//! Which of the region's languages an answer uses, by `Accept-Language`.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use common::Region;
use http::header::ACCEPT_LANGUAGE;
use http::request::Parts;

use super::Home;

/// A client lists a few languages; beyond this many the rest is not looked at.
const MAX_RANGES: usize = 16;

/// A language of the region's catalog (primary tag, for example `de`): the caller's best, else the region's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(pub &'static str);

impl<S: Send + Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let region = parts.extensions.get::<Home>().map_or(Region::ALL[0], |home| home.region);
        let wanted = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self::negotiate(wanted, region.languages()))
    }
}

impl Language {
    /// The offered language that `wanted` rates highest; of equals the one named first. `offered` is not empty.
    pub fn negotiate(wanted: &str, offered: &'static [&'static str]) -> Self {
        let first = offered.first().copied().unwrap_or("en");
        let mut best: (u32, &'static str) = (0, first);
        for range in wanted.split(',').take(MAX_RANGES) {
            let (tag, quality) =
                range.split_once(';').map_or((range, 1000), |(tag, parameter)| (tag, thousandths(parameter)));
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let found = if primary == "*" {
                Some(first)
            } else {
                offered.iter().copied().find(|code| code.eq_ignore_ascii_case(primary))
            };
            if let Some(code) = found.filter(|_| quality > best.0) {
                best = (quality, code);
            }
        }
        Self(best.1)
    }
}

/// `q=0.8` as 800; anything unreadable counts as not wanted.
fn thousandths(parameter: &str) -> u32 {
    let Some(number) = parameter.trim().strip_prefix("q=") else { return 0 };
    match number.split_once('.') {
        None => number.parse::<u32>().map_or(0, |whole| whole.min(1) * 1000),
        Some((whole, fraction)) => {
            let digit = |sum: u32, byte: u8| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'));
            let digits = fraction.bytes().chain(*b"000").take(3).try_fold(0, digit).unwrap_or(0);
            let whole = whole.parse::<u32>().unwrap_or(0).min(1) * 1000;
            (whole + digits).min(1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_offered_language_is_chosen() {
        let offered: &[&str] = &["de", "fr", "en"];
        for (wanted, expected) in [
            ("", "de"),
            ("en", "en"),
            ("en-US,en;q=0.9", "en"),
            ("it, fr;q=0.4, en;q=0.8", "en"),
            ("fr;q=0.8, en;q=0.8", "fr"),
            ("*", "de"),
            ("xx, *;q=0.1", "de"),
            ("EN-gb", "en"),
            ("fr;q=0", "de"),
            ("fr;q=nonsense, ;;;,,=", "de"),
            ("fr;q=99999999999", "de"),
        ] {
            assert_eq!(Language::negotiate(wanted, offered).0, expected, "{wanted:?}");
        }
    }
}
