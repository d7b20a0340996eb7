//! Versions as entity tags: `"7"` is version 7. Strong, because a version stands for exactly one content.

use http::HeaderMap;
use http::header::IF_MATCH;

/// `version` as the value of `ETag`.
pub fn of(version: i64) -> String {
    format!("\"{version}\"")
}

/// The version the caller saw. `None` without `If-Match`; a tag that is not one of ours matches no version, and neither does
/// `*`: whoever changes something must have seen it.
pub fn expected(headers: &HeaderMap) -> Option<i64> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let first = values.next()?;
    let single = values.next().is_none();
    let version = first.to_str().ok().and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    Some(version.filter(|_| single).unwrap_or(NO_VERSION))
}

/// No version is negative.
const NO_VERSION: i64 = -1;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn expected_of(values: &[&'static str]) -> Option<i64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, HeaderValue::from_static(value));
        }
        expected(&headers)
    }

    #[test]
    fn only_our_own_tags_name_a_version() {
        assert_eq!(expected_of(&[]), None);
        assert_eq!(expected_of(&["\"7\""]), Some(7));
        assert_eq!(of(7), "\"7\"");
        for other in ["7", "W/\"7\"", "*", "\"x\"", "\"\"", "\"7\", \"8\"", "\"99999999999999999999\""] {
            assert_eq!(expected_of(&[other]), Some(NO_VERSION), "{other}");
        }
        assert_eq!(expected_of(&["\"7\"", "\"7\""]), Some(NO_VERSION));
    }
}
