//! The effective configuration as text that may be shown. Two independent rules cover a secret: its type is `Secret`, or its
//! key or value looks like one; either suffices.

use toml::Value;

/// Keys whose values are covered even when a settings struct reads them as plain text.
const SECRET_ENDINGS: [&str; 5] = ["secret", "password", "token", "api_key", "private_key"];

pub(super) fn covered(mut document: Value, secrets: &[String]) -> String {
    cover(&mut document, "", secrets);
    toml::to_string(&document).unwrap_or_else(|_| "the configuration cannot be printed".to_owned())
}

fn cover(value: &mut Value, key: &str, secrets: &[String]) {
    match value {
        Value::String(text) if !text.is_empty() => {
            let url = text.contains("://");
            let secret = secrets.contains(text) || SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending));
            if url {
                *text = without_password(text);
            } else if secret {
                "***".clone_into(text);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| cover(item, key, secrets)),
        Value::Table(table) => table.iter_mut().for_each(|(key, value)| cover(value, key, secrets)),
        _ => {}
    }
}

/// `postgres://user:***@host/db`: where a process connects is worth showing, with what is not.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@') else { return url.to_owned() };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => url.to_owned(),
    }
}
