//! The signature of webhooks: `t=<seconds>,v1=<hex HMAC-SHA256 of t, a dot and the raw body>`. The bytes as they came count;
//! any one right `v1` under the current or the previous secret is enough.

use chassis::config::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// A webhook older or newer than this is refused: a replay, or a clock that is wrong. Seconds.
const TOLERANCE_S: i64 = 300;
/// Signatures looked at in one header: a rotation needs two.
const MOST_SIGNATURES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is a header, but no time can be read from it.
    #[error("the signature header cannot be read")]
    Malformed,
    #[error("the signature is missing, wrong or too old")]
    Invalid,
}

/// Checks `header` against the raw `body`.
///
/// # Errors
/// [`SignatureError`]; nothing about which part was wrong.
pub fn verify(header: &str, body: &[u8], secrets: &[Secret], now_unix: i64) -> Result<(), SignatureError> {
    let mut time: Option<&str> = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" if time.is_some() => return Err(SignatureError::Malformed),
            "t" => time = Some(value),
            "v1" => signatures.push(value),
            _ => {}
        }
    }
    let time_text = time.ok_or(SignatureError::Malformed)?;
    let digits = !time_text.is_empty() && time_text.bytes().all(|byte| byte.is_ascii_digit());
    let at: i64 = time_text.parse().ok().filter(|_| digits).ok_or(SignatureError::Malformed)?;
    let genuine = secrets.iter().filter(|secret| !secret.is_empty()).any(|secret| {
        signatures.iter().take(MOST_SIGNATURES).any(|signature| matches_secret(secret, time_text, body, signature))
    });
    // The time is looked at last: it means something only when it is signed.
    if genuine && at.abs_diff(now_unix) <= TOLERANCE_S.unsigned_abs() { Ok(()) } else { Err(SignatureError::Invalid) }
}

fn matches_secret(secret: &Secret, time: &str, body: &[u8], signature: &str) -> bool {
    // Lower-case hexadecimal only; the comparison takes the same time wherever the first difference is.
    let lower = signature.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (Ok(claimed), true) = (hex::decode(signature), lower) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.open().as_bytes()) else { return false };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&claimed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;
    const BODY: &[u8] = br#"{"a":1}"#;

    fn signed(secret: &str, at: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at}.").as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn header(secret: &str, at: i64, body: &[u8]) -> String {
        format!("t={at},v1={}", signed(secret, at, body))
    }

    fn outcome(header: &str, body: &[u8]) -> Result<(), SignatureError> {
        verify(header, body, &[Secret::new("new"), Secret::new("old")], NOW)
    }

    #[test]
    fn a_right_signature_of_either_secret_is_accepted() {
        for secret in ["new", "old"] {
            assert_eq!(outcome(&header(secret, NOW, BODY), BODY), Ok(()));
        }
        let two = format!("t={NOW},v1={},v1={}", "0".repeat(64), signed("new", NOW, BODY));
        assert_eq!(outcome(&two, BODY), Ok(()));
        for at in [NOW - 300, NOW + 300] {
            assert_eq!(outcome(&header("new", at, BODY), BODY), Ok(()));
        }
    }

    #[test]
    fn forged_stale_and_altered_webhooks_are_refused() {
        let genuine = header("new", NOW, BODY);
        let upper = format!("t={NOW},v1={}", signed("new", NOW, BODY).to_uppercase());
        let cases: [(String, &[u8]); 9] = [
            (header("stolen", NOW, BODY), BODY),
            (header("", NOW, BODY), BODY),
            (header("new", NOW - 301, BODY), BODY),
            (header("new", NOW + 301, BODY), BODY),
            (genuine.clone(), br#"{"a": 1}"#),
            (genuine.clone(), b"{\"a\":1}\n"),
            (genuine[..genuine.len() - 2].to_owned(), BODY),
            (upper, BODY),
            (format!("t={NOW}"), BODY),
        ];
        for (header, body) in cases {
            assert_eq!(outcome(&header, body), Err(SignatureError::Invalid), "{header}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_malformed() {
        let signature = signed("new", NOW, BODY);
        for time in ["", "t=,", "t=soon,", "t=-5,", "t=+5,", "t=9223372036854775808,", "t=1,t=2,"] {
            assert_eq!(outcome(&format!("{time}v1={signature}"), BODY), Err(SignatureError::Malformed), "{time}");
        }
    }

    #[test]
    fn without_a_secret_nothing_is_genuine() {
        assert_eq!(verify(&header("", NOW, BODY), BODY, &[Secret::default()], NOW), Err(SignatureError::Invalid));
    }
}
