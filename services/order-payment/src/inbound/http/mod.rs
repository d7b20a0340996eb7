//! The public routes of orders and payments.

mod admin;
mod admin_bodies;
mod bodies;
mod cart;
mod cart_bodies;
mod coupons;
mod cursor;
mod money;
mod orders;
mod refunds;
mod signature;
mod square_webhook;
mod store_credit;
mod stream;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use chassis::config::Secret;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::usecases::App;

pub use admin::{Admin, router as admin_router};

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    gateways: Vec<WebhookSettings>,
    /// Live views under way; each costs a query per second.
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// A gateway whose webhooks are accepted.
pub struct WebhookSettings {
    /// Last part of its webhook URL.
    pub name: String,
    pub wire: WebhookWire,
    /// The current secret and, during a rotation, the previous one.
    pub secrets: Vec<Secret>,
}

/// What its webhooks look like and how they are signed.
pub enum WebhookWire {
    /// Time and body under `Stripe-Signature`.
    PaymentIntents,
    /// This URL, exactly as the gateway was given it, and the body under `X-Square-HmacSha256-Signature`.
    Square { notification_url: String },
}

impl Api {
    pub fn new(app: Arc<App>, gateways: Vec<WebhookSettings>, max_streams: usize, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Inner { app, gateways, streams: Arc::new(Semaphore::new(max_streams)), shutdown }))
    }

    fn app(&self) -> &App {
        &self.0.app
    }
}

pub fn router(api: Api) -> Router {
    Router::new()
        .merge(orders::router())
        .merge(refunds::router())
        .merge(store_credit::router())
        .merge(cart::router())
        .merge(coupons::router())
        .merge(stream::router())
        .merge(webhooks::router())
        .with_state(api)
}
