//! The public part of the service, and what staff may see.

pub mod experiments;
pub mod recommendations;

use std::sync::Arc;

use axum::Router;
use chassis::config::Secret;

use crate::usecases::App;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub app: Arc<App>,
    /// Turns a person into the name under which their interests are stored.
    pub pseudonym_key: Arc<Secret>,
}

pub fn router(api: Api) -> Router {
    recommendations::router().merge(experiments::router()).with_state(api)
}
