//! Tokens and sessions of the people in the sandbox: an identity provider with one key of its own, and rows in Redis as a login
//! would have left them. The services verify both as they do everywhere.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{SessionId, UserId, ids};
use contracts::session::{self, SessionRecord};
use redis::AsyncCommands as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use testkit::postgres::region;
use testkit::servers;

/// The audience that services want, and how long a token holds: longer than any run.
const AUDIENCE: &str = "shopsphere-api";
const LIFETIME_S: i64 = 6 * 3600;
const KEY_ID: &str = "crash-points";

pub struct Issuer {
    pair: EcdsaKeyPair,
    address: SocketAddr,
}

/// Somebody with a session.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: UserId,
    pub token: String,
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key is made");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .expect("the key can be read");
        let address = listener.local_addr().expect("a bound port has an address");
        let point = pair.public_key().as_ref();
        let keys = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID,
            "x": encode(&point[1..33]), "y": encode(&point[33..65]),
        }] });
        let router = Router::new().route("/certs", get(move || async move { axum::Json(keys) }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Arc::new(Self { pair, address })
    }

    /// Ends with the region's code, as issuers do.
    pub fn name(&self) -> String {
        format!("http://{}/realms/shopsphere-{}", self.address, region().code())
    }

    pub fn keys_url(&self) -> String {
        format!("http://{}/certs", self.address)
    }

    /// A new person who is logged in.
    ///
    /// # Panics
    /// Without the Redis of the test stack.
    pub async fn person(&self, role: &str) -> Person {
        let user: UserId = ids::random().into();
        let session = ids::random().to_string();
        let id = SessionId::parse(&session).expect("a UUID is a session id");
        let record = SessionRecord { user_id: user, region: region(), personalisation_consent: false };
        let client = redis::Client::open(servers().redis_url).expect("the URL is well formed");
        let mut redis = client.get_multiplexed_async_connection().await.expect("the test stack has a Redis");
        let lifetime = u64::try_from(LIFETIME_S).unwrap_or_default();
        redis.set_ex::<_, _, ()>(session::key(&id), record.encode(), lifetime).await.expect("a session can be stored");
        Person { user, token: self.token(user, &session, role) }
    }

    fn token(&self, user: UserId, session: &str, role: &str) -> String {
        let now = chrono::Utc::now().timestamp();
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": KEY_ID});
        let claims = json!({
            "iss": self.name(), "aud": [AUDIENCE], "sub": user.to_string(), "sid": session,
            "residency_region": region().code(), "exp": now + LIFETIME_S, "nbf": now, "iat": now, "typ": "Bearer",
            "realm_access": {"roles": [role]},
        });
        self.sign(&header, &claims)
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("the key signs");
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}
