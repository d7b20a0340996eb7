//! Sessions as `user` writes them to Redis (layout in `contracts::session`): one GET per request, with little patience; a second one only
//! when the connection of the first has ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::SessionId;
use contracts::session::{self, SessionRecord};
use redis::AsyncCommands;
use tokio::runtime::Handle;

use crate::config::Redis;
use crate::redis_client::{Limits, RedisClient};

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
    connection: RedisClient,
    deadline: Duration,
    /// Where the connection lives, whoever asks first: a connection is carried by a task of the runtime on which it was made, and the
    /// runtime of a core ends before the process does, or is busy with something else.
    home: Handle,
}

impl RedisSessions {
    /// `deadline` bounds each look-up, connecting included. The connection lives on the runtime of whoever calls this.
    ///
    /// # Errors
    /// The URL is not one, or there is no runtime. That Redis is away is not an error.
    pub fn connect(settings: &Redis, deadline: Duration) -> anyhow::Result<Arc<Self>> {
        // Each look-up has its own deadline; the client only has to come back quickly once Redis is there again.
        let limits = Limits { connect: deadline, answer: deadline, tries: 1, pause: Duration::from_millis(100) };
        let connection = RedisClient::open(settings.url.open(), limits)?;
        let home = Handle::try_current().context("sessions are looked up on a runtime")?;
        Ok(Arc::new(Self { connection, deadline, home }))
    }
}

#[async_trait::async_trait]
impl SessionReader for RedisSessions {
    async fn read(&self, session: &SessionId) -> Result<Option<SessionRecord>, SessionStoreDown> {
        let mut connection = self.connection.clone();
        let key = session::key(session);
        // Whoever asked may go away; then the look-up ends with the patience of the connection.
        let look_up = self.home.spawn(async move {
            match connection.get::<_, Option<String>>(&key).await {
                // Found out by using it: the first look-up after Redis has changed places is not to be the one that fails.
                Err(error) if error.is_connection_dropped() => connection.get(&key).await,
                done => done,
            }
        });
        match tokio::time::timeout(self.deadline, look_up).await {
            Ok(Ok(Ok(text))) => Ok(text.as_deref().and_then(SessionRecord::decode)),
            Ok(Ok(Err(error))) => Err(SessionStoreDown(error.to_string())),
            Ok(Err(stopped)) => Err(SessionStoreDown(stopped.to_string())),
            Err(_) => Err(SessionStoreDown(format!("no answer within {} ms", self.deadline.as_millis()))),
        }
    }
}
