//! What people agree to now, from their sessions: the one place outside its database where the user service tells it, changed there in
//! the moment in which a consent changes. Sessions are shared by all services, so their keys have no prefix of ours.

use std::collections::HashSet;

use async_trait::async_trait;
use common::{SessionId, UserId};
use contracts::session::{self, SessionRecord};

use super::{RedisStore, readable};
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::Consents;

/// Names of sessions looked at per person: several times as many as user lets anybody have, because some of them are over.
const MOST_SESSIONS: usize = 256;

#[async_trait]
impl Consents for RedisStore {
    async fn withdrawn(&self, users: &[UserId]) -> Result<HashSet<UserId>, StoreUnavailable> {
        if users.is_empty() {
            return Ok(HashSet::new());
        }
        let mut pipe = redis::pipe();
        for user in users {
            pipe.cmd("SMEMBERS").arg(session::index_key(*user));
        }
        let mut keys: Vec<String> = Vec::new();
        for answer in self.run(&pipe).await? {
            // Who cannot be asked has not agreed to anything; so nobody is counted until they can.
            let ids: Vec<String> = readable(answer)?;
            let ids = ids.iter().filter_map(|id| SessionId::parse(id).ok()).take(MOST_SESSIONS);
            keys.extend(ids.map(|id| session::key(&id)));
        }
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let mut pipe = redis::pipe();
        for key in keys {
            // Each lies where it does; a key of another type is none.
            pipe.cmd("MGET").arg(key);
        }
        let mut texts: Vec<Option<String>> = Vec::new();
        for answer in self.run(&pipe).await? {
            texts.extend(readable::<Vec<Option<String>>>(answer)?);
        }
        let records = texts.iter().flatten().filter_map(|text| SessionRecord::decode(text));
        Ok(records.filter(|record| !record.personalisation_consent).map(|record| record.user_id).collect())
    }
}
