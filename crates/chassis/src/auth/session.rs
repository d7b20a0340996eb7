//! Sessions as `user` writes them to Redis (layout in `contracts::session`): one GET per request, with little patience.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::SessionId;
use contracts::session::{self, SessionRecord};
use redis::AsyncCommands;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use crate::config::Redis;

/// The store could not be asked, with the reason for the log; nobody is let in on that ground.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session look-up: {0}")]
pub struct SessionStoreDown(pub String);

/// Where sessions are looked up.
#[async_trait::async_trait]
pub trait SessionReader: Send + Sync {
    /// The session, or `None` when it is gone.
    ///
    /// # Errors
    /// [`SessionStoreDown`] when that cannot be found out in time.
    async fn read(&self, session: &SessionId) -> Result<Option<SessionRecord>, SessionStoreDown>;
}

/// Sessions in Redis. Connects when first used and reconnects by itself.
pub struct RedisSessions {
    connection: ConnectionManager,
    deadline: Duration,
}

impl RedisSessions {
    /// `deadline` bounds each look-up, connecting included.
    ///
    /// # Errors
    /// The URL is not one. That Redis is away is not an error.
    pub fn connect(settings: &Redis, deadline: Duration) -> anyhow::Result<Arc<Self>> {
        let client = redis::Client::open(settings.url.open()).context("redis.url")?;
        // Each look-up has its own deadline; the manager only has to come back quickly once Redis is there again.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(deadline))
            .set_response_timeout(Some(deadline))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(100));
        let connection = ConnectionManager::new_lazy_with_config(client, config).context("redis.url")?;
        Ok(Arc::new(Self { connection, deadline }))
    }
}

#[async_trait::async_trait]
impl SessionReader for RedisSessions {
    async fn read(&self, session: &SessionId) -> Result<Option<SessionRecord>, SessionStoreDown> {
        let mut connection = self.connection.clone();
        let key = session::key(session);
        match tokio::time::timeout(self.deadline, connection.get::<_, Option<String>>(key)).await {
            Ok(Ok(text)) => Ok(text.as_deref().and_then(SessionRecord::decode)),
            Ok(Err(error)) => Err(SessionStoreDown(error.to_string())),
            Err(_) => Err(SessionStoreDown(format!("no answer within {} ms", self.deadline.as_millis()))),
        }
    }
}
