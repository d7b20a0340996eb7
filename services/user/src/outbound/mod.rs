//! What we use: the store of people, the identity provider, the session store, the click log, local limits.

pub mod clicks;
pub mod keycloak;
pub mod limits;
pub mod memory;
pub mod postgres;
pub mod redis;
pub mod tokens;
