//! What an order-payment process that runs alone has to ask: an issuer's keys, prices, sessions. Sessions are real ones in the
//! real Redis; keys and prices are answered here.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use axum::{Json, Router, routing::get};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Clock as _, Money, Region, SessionId, SystemClock, UserId, ids};
use contracts::catalog::v1::price_service_server::{PriceService, PriceServiceServer};
use contracts::catalog::v1::{QuoteRequest, QuoteResponse, QuotedLine};
use contracts::session::{self, SessionRecord};
use redis::AsyncCommands as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// What everything costs, in minor units. `orders` expects the same.
pub const PRICE_MINOR: i64 = 1_000;
/// Tokens outlive any benchmark; refreshing them is not what is measured.
const TOKEN_LIFE_S: i64 = 6 * 60 * 60;

pub struct StandIns {
    pub issuer_address: SocketAddr,
    pub issuer: String,
    pub quote_address: SocketAddr,
    pub redis: String,
    pub people: usize,
    pub tokens: PathBuf,
}

pub fn run(settings: &StandIns) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(settings))
}

async fn serve(settings: &StandIns) -> Result<()> {
    let key = Key::new()?;
    let keys = json!({"keys": [key.public()]});
    let path = settings.issuer.find("/realms/").map(|at| &settings.issuer[at..]).context("an issuer has a realm")?;
    let certs = Router::new()
        .route(&format!("{path}/protocol/openid-connect/certs"), get(move || async move { Json::<Value>(keys) }));
    let listener = tokio::net::TcpListener::bind(settings.issuer_address).await.context("the issuer's address")?;
    std::fs::write(&settings.tokens, people(settings, &key).await?).context("write the tokens")?;
    let prices = tonic::transport::Server::builder()
        .add_service(PriceServiceServer::new(FixedPrices))
        .serve(settings.quote_address);
    let (keys_ended, prices_ended) = futures::join!(axum::serve(listener, certs).into_future(), prices);
    keys_ended?;
    Ok(prices_ended?)
}

/// People with a session each; gives their tokens, one a line.
async fn people(settings: &StandIns, key: &Key) -> Result<String> {
    let mut redis = redis::Client::open(settings.redis.as_str())?.get_multiplexed_async_connection().await?;
    let now = SystemClock.now().timestamp();
    let region = Region::ALL[0];
    let mut tokens = String::new();
    for number in 0..settings.people {
        let user = UserId::from_uuid(ids::random());
        let session = SessionId::parse(&format!("bench-{number}-{}", ids::random().simple()))
            .map_err(|error| anyhow!("a session id: {error}"))?;
        let record = SessionRecord { user_id: user, region, personalisation_consent: false };
        let _: () = redis.set(session::key(&session), record.encode()).await?;
        let claims = json!({
            "iss": settings.issuer, "aud": "shopsphere-api", "sub": user.to_string(), "sid": session.as_str(),
            "residency_region": region.code(), "iat": now, "nbf": now, "exp": now + TOKEN_LIFE_S,
            "realm_access": {"roles": ["shopper"]},
        });
        tokens.push_str(&key.sign(&claims)?);
        tokens.push('\n');
    }
    Ok(tokens)
}

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Result<Self> {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| anyhow!("make a key"))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).map_err(|_| anyhow!("read a key"))?;
        Ok(Self(pair))
    }

    fn public(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "bench", "x": text(&point[1..33]), "y": text(&point[33..65])})
    }

    fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "bench"});
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", text(&header), text(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| anyhow!("sign a token"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

/// Everything is sold, at one price, without end.
struct FixedPrices;

#[tonic::async_trait]
impl PriceService for FixedPrices {
    async fn quote(
        &self,
        request: tonic::Request<QuoteRequest>,
    ) -> Result<tonic::Response<QuoteResponse>, tonic::Status> {
        let price = Money::from_minor(PRICE_MINOR, Region::ALL[0].currency())
            .map_err(|error| tonic::Status::internal(error.to_string()))?;
        let lines = request.into_inner().lines.into_iter().map(|line| QuotedLine {
            name: format!("Product {}", line.sku),
            sku: line.sku,
            quantity: line.quantity,
            family: "bench".to_owned(),
            unit_price: Some(price.into()),
            available: 1_000_000,
            revision: 1,
            reductions: Vec::new(),
        });
        Ok(tonic::Response::new(QuoteResponse { lines: lines.collect(), unknown_skus: Vec::new(), coupon: None }))
    }
}
