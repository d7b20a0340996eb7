//! Whether a browser objects to being watched. Everybody who would know its visitor again asks here.

use http::HeaderMap;

/// `DNT: 1` or `Sec-GPC: 1`.
pub fn objects(headers: &HeaderMap) -> bool {
    says_one(headers, "dnt") || says_one(headers, "sec-gpc")
}

fn says_one(headers: &HeaderMap, name: &str) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes() == b"1")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn either_header_objects_and_only_with_a_one() {
        for (name, value, expected) in [
            ("dnt", "1", true),
            ("sec-gpc", "1", true),
            ("dnt", "0", false),
            ("sec-gpc", "", false),
            ("dnt", "null", false),
            ("x-dnt", "1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(objects(&headers), expected, "{name}: {value}");
        }
        assert!(!objects(&HeaderMap::new()));
    }
}
