//! An issuer that a test turns: keys of a real curve, a key set over HTTP, and tokens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chassis::auth::Algorithm;
use chrono::{DateTime, Utc};
use jwks_sync::issuer::Issuer;
use jwks_sync::{Done, Target, sync};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// A signing key with its id.
pub struct Signer {
    pub id: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub fn new(id: &str) -> Signer {
        let rng = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &rng).unwrap();
        Signer { id: id.to_owned(), pair }
    }

    /// As an issuer publishes it.
    pub fn published(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "typ": "at+jwt", "kid": self.id}), claims)
    }

    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// Does the key of a PEM text verify what the signer signs? The point is the end of the DER.
pub fn verifies(pem: &str, signer: &Signer) -> bool {
    let body: String = pem.lines().filter(|line| !line.contains(':') && !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).expect("PEM is base64");
    let point = &der[der.len() - 65..];
    let token = signer.token(&json!({"sub": "somebody"}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
}

type Answer = Arc<Mutex<(StatusCode, String)>>;

/// Somebody who publishes keys.
pub struct FakeIssuer {
    answer: Answer,
    address: SocketAddr,
}

async fn certs(State(answer): State<Answer>) -> Response {
    answer.lock().unwrap_or_else(PoisonError::into_inner).clone().into_response()
}

impl FakeIssuer {
    pub async fn start() -> FakeIssuer {
        let answer: Answer = Arc::new(Mutex::new((StatusCode::OK, String::new())));
        let router = Router::new().route("/certs", get(certs)).with_state(answer.clone());
        FakeIssuer { answer, address: serve(router).await }
    }

    pub fn publishes(&self, signers: &[&Signer]) {
        let encryption = json!({"kty": "RSA", "use": "enc", "kid": "not-for-signing", "n": "AQAB", "e": "AQAB"});
        let keys: Vec<_> = signers.iter().map(|signer| signer.published()).chain([encryption]).collect();
        self.answers(StatusCode::OK, &json!({"keys": keys}).to_string());
    }

    pub fn answers(&self, status: StatusCode, body: &str) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.to_owned());
    }

    pub fn issuer(&self) -> Issuer {
        Issuer::new(&format!("http://{}/certs", self.address), Algorithm::Es256).unwrap()
    }

    /// A run, `second` seconds after the beginning of the story.
    pub async fn run(&self, target: &Target, second: i64) -> anyhow::Result<Done> {
        sync(&self.issuer(), target, OVERLAP, at(second)).await
    }
}

pub const OVERLAP: chrono::Duration = chrono::Duration::seconds(660);

pub fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
}

pub async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A folder of one test, gone afterwards.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("shopsphere-jwks-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Place(folder)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
