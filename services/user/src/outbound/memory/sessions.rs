//! Sessions in memory, without lifetimes.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use common::{SessionId, UserId};
use contracts::session::SessionRecord;

use super::{down, lock};
use crate::usecases::ports::{Down, RefreshMark, Sessions};

#[derive(Default)]
struct State {
    sessions: HashMap<SessionId, SessionRecord>,
    used: HashMap<RefreshMark, (UserId, SessionId)>,
    away: bool,
}

#[derive(Default)]
pub struct MemorySessions(Mutex<State>);

impl MemorySessions {
    pub fn get(&self, session: &SessionId) -> Option<SessionRecord> {
        lock(&self.0).sessions.get(session).cloned()
    }

    pub fn be_away(&self, away: bool) {
        lock(&self.0).away = away;
    }

    fn present(&self) -> Result<std::sync::MutexGuard<'_, State>, Down> {
        let state = lock(&self.0);
        if state.away { Err(down("the session store", anyhow::anyhow!("told to give no answer"))) } else { Ok(state) }
    }
}

#[async_trait]
impl Sessions for MemorySessions {
    async fn open(&self, session: &SessionId, record: &SessionRecord) -> Result<(), Down> {
        self.present()?.sessions.insert(session.clone(), record.clone());
        Ok(())
    }

    async fn extend(&self, session: &SessionId, record: &SessionRecord, used: &RefreshMark) -> Result<bool, Down> {
        let mut state = self.present()?;
        state.used.insert(used.clone(), (record.user_id, session.clone()));
        let Some(present) = state.sessions.get_mut(session) else { return Ok(false) };
        *present = record.clone();
        Ok(true)
    }

    async fn used_before(&self, mark: &RefreshMark) -> Result<Option<(UserId, SessionId)>, Down> {
        Ok(self.present()?.used.get(mark).cloned())
    }

    async fn close(&self, _user: UserId, session: &SessionId) -> Result<(), Down> {
        self.present()?.sessions.remove(session);
        Ok(())
    }

    async fn close_all(&self, user: UserId) -> Result<(), Down> {
        self.present()?.sessions.retain(|_, record| record.user_id != user);
        Ok(())
    }

    async fn rewrite_all(&self, record: &SessionRecord) -> Result<(), Down> {
        let mut state = self.present()?;
        state
            .sessions
            .values_mut()
            .filter(|present| present.user_id == record.user_id)
            .for_each(|present| *present = record.clone());
        Ok(())
    }
}
