//! Sessions in Redis (layout in `contracts::session`). Written here, read by every service on every request.
//!
//! Decided here: which of a session's record and the person's index of sessions is written first, because they lie in different slots and
//! a server may go in between; what is written to a living session can never bring a dead one back (`XX`). Not decided here: what a
//! session says.

use std::time::Duration;

use async_trait::async_trait;
use chassis::redis_client::{Limits, RedisClient};
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::{SessionId, UserId};
use contracts::session::{self, ABSOLUTE_LIFETIME_SECONDS, IDLE_LIFETIME_SECONDS, SessionRecord};
use redis::{Pipeline, RedisError};

use crate::usecases::ports::{Down, RefreshMark, Sessions};

/// Redis answers in well under a millisecond; a login may wait this long for it.
const DEADLINE: Duration = Duration::from_millis(500);
/// Sessions of one person: more are leftovers of programs that log in for every call, and the index must stay small.
const MOST_SESSIONS: usize = 50;

#[derive(Clone)]
pub struct RedisSessions {
    connection: RedisClient,
    guard: Guard,
}

impl RedisSessions {
    /// Connects when first used.
    ///
    /// # Errors
    /// The URL is not one.
    pub fn connect(settings: &chassis::config::Redis) -> anyhow::Result<Self> {
        let limits = Limits { connect: DEADLINE, answer: DEADLINE, tries: 1, pause: Duration::from_millis(100) };
        let connection = RedisClient::open(settings.url.open(), limits)?;
        let guard = Guard::new("redis-sessions", GuardSettings { deadline: DEADLINE, ..GuardSettings::default() });
        Ok(Self { connection, guard })
    }

    /// # Errors
    /// What Redis said, or that it said nothing.
    pub async fn ping(&self) -> Result<(), Down> {
        self.run::<(String,)>(redis::pipe().cmd("PING")).await.map(drop)
    }

    /// All commands here may be repeated without harm, so the guard may try again.
    async fn run<T: redis::FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Down> {
        let call = || {
            let mut connection = self.connection.clone();
            async move { commands.query_async::<T>(&mut connection).await }
        };
        self.guard.call(call).await.map_err(down)
    }

    async fn members(&self, user: UserId) -> Result<Vec<String>, Down> {
        let (members,): (Vec<String>,) = self.run(redis::pipe().cmd("SMEMBERS").arg(session::index_key(user))).await?;
        Ok(members)
    }

    /// Takes sessions that are over out of the index; if too many live, ends some of them, never `newest`.
    async fn prune(&self, user: UserId, newest: &SessionId) -> Result<(), Down> {
        let members = self.members(user).await?;
        let mut look = redis::pipe();
        for member in &members {
            look.cmd("EXISTS").arg(key_of(member));
        }
        let alive: Vec<bool> = self.run(&look).await?;
        let (living, dead): (Vec<_>, Vec<_>) = members.into_iter().zip(alive).partition(|(_, alive)| *alive);
        let surplus = living.len().saturating_sub(MOST_SESSIONS);
        let ended =
            living.into_iter().map(|(member, _)| member).filter(|member| member != newest.as_str()).take(surplus);
        let gone: Vec<String> = dead.into_iter().map(|(member, _)| member).chain(ended).collect();
        self.remove(user, &gone).await
    }

    async fn remove(&self, user: UserId, members: &[String]) -> Result<(), Down> {
        if members.is_empty() {
            return Ok(());
        }
        let mut ended = redis::pipe();
        for member in members {
            ended.cmd("DEL").arg(key_of(member)).ignore();
        }
        self.run::<()>(&ended).await?;
        // Only then: a session that no index names is one that nobody can end.
        self.run(redis::pipe().cmd("SREM").arg(session::index_key(user)).arg(members).ignore()).await
    }
}

#[async_trait]
impl Sessions for RedisSessions {
    async fn open(&self, session: &SessionId, record: &SessionRecord) -> Result<(), Down> {
        let mut opened = redis::pipe();
        opened.cmd("SET").arg(session::key(session)).arg(record.encode()).arg("EX").arg(IDLE_LIFETIME_SECONDS).ignore();
        // First: another login takes names out of the index that are no sessions.
        self.run::<()>(&opened).await?;
        let index = session::index_key(record.user_id);
        let mut commands = redis::pipe();
        commands.cmd("SADD").arg(&index).arg(session.as_str()).ignore();
        commands.cmd("EXPIRE").arg(&index).arg(ABSOLUTE_LIFETIME_SECONDS).ignore();
        commands.cmd("SCARD").arg(&index);
        let (count,): (usize,) = self.run(&commands).await?;
        if count > MOST_SESSIONS {
            self.prune(record.user_id, session).await?;
        }
        Ok(())
    }

    async fn extend(&self, session: &SessionId, record: &SessionRecord, used: &RefreshMark) -> Result<bool, Down> {
        let owner = format!("{};{}", record.user_id, session.as_str());
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(session::key(session))
            .arg(record.encode())
            .arg("XX")
            .arg("EX")
            .arg(IDLE_LIFETIME_SECONDS);
        commands.cmd("EXPIRE").arg(session::index_key(record.user_id)).arg(ABSOLUTE_LIFETIME_SECONDS).ignore();
        // A refresh token that is not presented again within the idle time has expired at its issuer as well.
        commands.cmd("SET").arg(mark_key(used)).arg(owner).arg("EX").arg(IDLE_LIFETIME_SECONDS).ignore();
        let (written,): (Option<String>,) = self.run(&commands).await?;
        Ok(written.is_some())
    }

    async fn used_before(&self, mark: &RefreshMark) -> Result<Option<(UserId, SessionId)>, Down> {
        let (owner,): (Option<String>,) = self.run(redis::pipe().cmd("GET").arg(mark_key(mark))).await?;
        Ok(owner.as_deref().and_then(|text| {
            let (user, session) = text.split_once(';')?;
            Some((user.parse().ok()?, SessionId::parse(session).ok()?))
        }))
    }

    async fn close(&self, user: UserId, session: &SessionId) -> Result<(), Down> {
        self.remove(user, &[session.as_str().to_owned()]).await
    }

    async fn close_all(&self, user: UserId) -> Result<(), Down> {
        let members = self.members(user).await?;
        self.remove(user, &members).await
    }

    async fn rewrite_all(&self, record: &SessionRecord) -> Result<(), Down> {
        let members = self.members(record.user_id).await?;
        if members.is_empty() {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for member in &members {
            commands.cmd("SET").arg(key_of(member)).arg(record.encode()).arg("XX").arg("KEEPTTL").ignore();
        }
        self.run(&commands).await
    }
}

/// The key of a session from the index; members were written by us from parsed ids.
fn key_of(member: &str) -> String {
    format!("session:{member}")
}

fn mark_key(mark: &RefreshMark) -> String {
    format!("refresh-used:{}", hex::encode(mark.0))
}

fn down(error: CallError<RedisError>) -> Down {
    let retry_after = match &error {
        CallError::Open { retry_after, .. } => Some(*retry_after),
        CallError::Deadline { .. } | CallError::Failed(_) => None,
    };
    Down { target: "the session store", retry_after, source: anyhow::Error::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_that_every_service_reads() {
        let session = SessionId::parse("a-b_c.1").expect("a session id");
        assert_eq!(key_of(session.as_str()), session::key(&session));
    }
}
