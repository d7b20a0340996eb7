//! Form-encoded parameters with nested names: `metadata[order_id]=…`, `created[gte]=…`.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::ApiError;

/// Parameters in one request; a real request has fewer than ten.
const MOST_PARAMETERS: usize = 100;

/// The parameters of one request. Each reader takes what it knows; what is left at [`Form::finish`] is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pairs: BTreeMap<String, String>,
}

impl Form {
    /// # Errors
    /// 400 for bytes that are no form, a parameter given twice, or more than [`MOST_PARAMETERS`]. List parameters (`name[]`) may repeat; this
    /// gateway only ever ignores them, so the last one is kept.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if std::str::from_utf8(bytes).is_err() {
            return Err(ApiError::malformed("The request body is not text."));
        }
        let decoded: Vec<(String, String)> = serde_urlencoded::from_bytes(bytes)
            .map_err(|_| ApiError::malformed("The request body is not form-encoded."))?;
        if decoded.len() > MOST_PARAMETERS {
            return Err(ApiError::malformed("The request has too many parameters."));
        }
        let mut pairs = BTreeMap::new();
        for (name, value) in decoded {
            let repeatable = name.ends_with("[]");
            if pairs.insert(name.clone(), value).is_some() && !repeatable {
                return Err(ApiError::invalid(&name, "given twice"));
            }
        }
        Ok(Self { pairs })
    }

    /// SHA-256 over method, path and parameters, the same for every order in which the parameters may come.
    pub fn fingerprint(&self, method: &str, path: &str) -> String {
        let mut hash = Sha256::new();
        // Lengths in between, so that no two requests run into the same bytes.
        for part in [method, path]
            .into_iter()
            .chain(self.pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]))
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize())
    }

    /// Takes a parameter; an empty one counts as absent, as on the public API.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.pairs.remove(name).filter(|value| !value.is_empty())
    }

    /// # Errors
    /// 400 when the parameter is missing.
    pub fn require(&mut self, name: &str) -> Result<String, ApiError> {
        self.take(name).ok_or_else(|| ApiError::missing(name))
    }

    /// # Errors
    /// 400 when the parameter is present and no integer.
    pub fn take_integer(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        let integer = |text: String| text.parse().map_err(|_| ApiError::invalid(name, "not an integer"));
        self.take(name).map(integer).transpose()
    }

    /// Takes `name[key]=value` for all keys; empty values are kept, they mean "remove" in an update.
    pub fn take_map(&mut self, name: &str) -> BTreeMap<String, String> {
        let inner = |full: &str| Some(full.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.to_owned());
        let (taken, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.pairs).into_iter().partition(|(full, _)| inner(full).is_some());
        self.pairs = kept;
        taken.into_iter().filter_map(|(full, value)| Some((inner(&full)?, value))).collect()
    }

    /// Drops parameters that change nothing here.
    pub fn ignore(&mut self, names: &[&str]) {
        self.pairs.retain(|name, _| !names.contains(&name.as_str()));
    }

    /// # Errors
    /// 400 that names a parameter nobody took.
    pub fn finish(self) -> Result<(), ApiError> {
        self.pairs.into_keys().next().map_or(Ok(()), |name| Err(ApiError::unknown_parameter(&name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_names_are_read_and_escapes_undone() {
        let mut form = Form::parse(b"amount=4990&metadata[order_id]=a%26b&metadata%5Bnote%5D=x+y&empty=").unwrap();
        assert_eq!(form.take_integer("amount"), Ok(Some(4990)));
        assert_eq!(form.take("empty"), None);
        let metadata = form.take_map("metadata");
        assert_eq!((metadata["order_id"].as_str(), metadata["note"].as_str()), ("a&b", "x y"));
        assert_eq!(form.finish(), Ok(()));
    }

    #[test]
    fn bad_forms_are_refused() {
        let long = "a=1&".repeat(101);
        for body in ["amount=1&amount=2".as_bytes(), b"\xff\xfe", long.as_bytes()] {
            assert_eq!(Form::parse(body).map_err(|error| error.status), Err(400));
        }
        let mut form = Form::parse(b"amount=1e3&surprise=1").unwrap();
        assert!(form.take_integer("amount").is_err());
        assert_eq!(form.finish().unwrap_err().code, Some("parameter_unknown"));
    }

    #[test]
    fn a_fingerprint_ignores_order_and_nothing_else() {
        let print = |method, path, body: &str| Form::parse(body.as_bytes()).unwrap().fingerprint(method, path);
        let first = print("POST", "/v1/a", "a=1&b=2");
        assert_eq!(first, print("POST", "/v1/a", "b=2&a=1"));
        for other in
            [print("POST", "/v1/b", "a=1&b=2"), print("POST", "/v1/a", "a=1&b=3"), print("POST", "/v1/a", "a=1b&=2")]
        {
            assert_ne!(first, other);
        }
    }
}
