//! Public keys of an issuer: which JSON Web Keys are usable, and checking a signature with one.
//!
//! Only one algorithm is pinned per process; a key of another type, use or curve is as good as absent, so no token can choose
//! how it is checked.

use std::collections::HashMap;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// An issuer has a current and a previous key, perhaps a next one.
const MAX_KEYS: usize = 16;

/// Longest key id that is looked at.
pub(super) const MAX_KEY_ID: usize = 128;

/// The pinned signature algorithm, by its name in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    EdDsa,
    Ps256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be ES256, EdDSA or PS256")]
pub struct UnknownAlgorithm;

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Es256, Self::EdDsa, Self::Ps256]
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or(UnknownAlgorithm)
    }
}

/// A key that can check signatures of the pinned algorithm.
#[derive(Clone, Debug)]
pub enum Key {
    /// Uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl Key {
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            Self::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature),
        }
        .is_ok()
    }
}

/// Keys by id.
pub type KeySet = HashMap<String, Key>;

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct WebKey {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: String,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// The usable keys of a key set document; `None` when it is not one. Keys we cannot use are skipped: issuers publish keys for
/// encryption and for other algorithms in the same document.
pub fn usable(document: &[u8], algorithm: Algorithm) -> Option<KeySet> {
    let document: Document = serde_json::from_slice(document).ok()?;
    let keys = document.keys.into_iter().filter_map(|value| {
        let key: WebKey = serde_json::from_value(value).ok()?;
        let fits = key.purpose == "sig"
            && key.alg.as_deref().is_none_or(|name| name == algorithm.name())
            && key.kid.len() <= MAX_KEY_ID;
        if fits { Some((key.kid.clone(), material(&key, algorithm)?)) } else { None }
    });
    Some(keys.take(MAX_KEYS).collect())
}

fn material(key: &WebKey, algorithm: Algorithm) -> Option<Key> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    match (algorithm, &*key.kty, &*key.crv) {
        (Algorithm::Es256, "EC", "P-256") => {
            let (x, y) = (bytes(&key.x)?, bytes(&key.y)?);
            (x.len() == 32 && y.len() == 32).then(|| Key::P256([&[4_u8][..], &x, &y].concat()))
        }
        (Algorithm::EdDsa, "OKP", "Ed25519") => bytes(&key.x).filter(|x| x.len() == 32).map(Key::Ed25519),
        // 2048 bits or more; the verification itself refuses less as well.
        (Algorithm::Ps256, "RSA", "") => {
            let (n, e) = (bytes(&key.n)?, bytes(&key.e)?);
            (n.len() >= 256).then_some(Key::Rsa { n, e })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;

    fn found(key: Value, algorithm: Algorithm) -> usize {
        usable(json!({ "keys": [key] }).to_string().as_bytes(), algorithm).unwrap().len()
    }

    #[test]
    fn only_signing_keys_of_the_pinned_algorithm_are_usable() {
        let coordinate = URL_SAFE_NO_PAD.encode([7; 32]);
        let good = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k", "x": coordinate, "y": coordinate});
        let with = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        assert_eq!(found(good.clone(), Algorithm::Es256), 1);
        assert_eq!(found(good.clone(), Algorithm::EdDsa), 0);
        for (name, value) in [
            ("use", json!("enc")),
            ("use", json!(null)),
            ("alg", json!("ES384")),
            ("kty", json!("RSA")),
            ("crv", json!("P-384")),
            ("x", json!(URL_SAFE_NO_PAD.encode([7; 31]))),
            ("y", json!("not base64!")),
            ("kid", json!("k".repeat(MAX_KEY_ID + 1))),
            ("kid", json!(7)),
        ] {
            assert_eq!(found(with(name, value.clone()), Algorithm::Es256), 0, "{name} {value}");
        }
        let rsa = |bytes: usize| json!({"kty": "RSA", "use": "sig", "kid": "r", "n": URL_SAFE_NO_PAD.encode(vec![255; bytes]), "e": "AQAB"});
        assert_eq!(
            (found(rsa(256), Algorithm::Ps256), found(rsa(128), Algorithm::Ps256)),
            (1, 0),
            "1024 bits are too few"
        );
        assert!(usable(b"<html>", Algorithm::Es256).is_none());
    }

    #[test]
    fn an_edwards_key_checks_its_signature_and_no_other() {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let keys = usable(
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "e", "x": x}]})
                .to_string()
                .as_bytes(),
            Algorithm::EdDsa,
        );
        let key = keys.unwrap().remove("e").unwrap();
        let mut signature = pair.sign(b"message").as_ref().to_vec();
        assert!(key.verifies(b"message", &signature));
        assert!(!key.verifies(b"massage", &signature));
        signature[5] ^= 1;
        assert!(!key.verifies(b"message", &signature));
    }
}
