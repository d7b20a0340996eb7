//! Lists that people were shown: one hash a person, in the slot of their profile (ADR 0082). All lists of a hash are of one mark; with another mark
//! it begins anew, so what somebody has clicked away leaves the store with the first list after it.
//!
//! Decided here, by one script of the server: which list stays. Two processes that made one for the same question send both, and the
//! first to arrive is the list of the session.

use async_trait::async_trait;
use redis::{Pipeline, RedisResult, Value, from_redis_value};

use super::scripts::Script;
use super::{RedisStore, WRONG_TYPE};
use crate::domain::session::SESSION_MS;
use crate::outbound::list_codec::{self, OF};
use crate::usecases::ports::{Lists, MOST_LIST_BYTES};
use crate::usecases::{Asked, Kept, StoreUnavailable};

/// KEYS: the hash, the profile, when its person last said no. ARGV: the mark, the latest receipt in the profile that the list was made of,
/// field, value, when it was made, how long a session is, the most bytes of a person and those of this list. The hash goes with the profile
/// if that goes first. Lua numbers are exact to 2^53.
static KEEP: Script = Script::new(
    "
local left = redis.call('PTTL', KEYS[2])
local refused = tonumber(redis.call('GET', KEYS[3]) or '')
if left == -2 or (refused and tonumber(ARGV[2]) < refused) then return 0 end
local of = redis.call('HGET', KEYS[1], 'of') or ''
local mark, as_of, bytes = string.match(of, '^(%x+);(%-?%d+);(%d+)$')
if mark ~= ARGV[1] then
  if mark and tonumber(as_of) > tonumber(ARGV[2]) then return 0 end
  redis.call('DEL', KEYS[1])
  as_of, bytes = ARGV[2], 0
else
  local made = string.match(redis.call('HGET', KEYS[1], ARGV[3]) or '', '^1;(%d+);')
  if made and tonumber(ARGV[5]) - tonumber(made) < tonumber(ARGV[6]) then return 0 end
end
bytes = tonumber(bytes) + tonumber(ARGV[8])
if bytes > tonumber(ARGV[7]) then
  redis.call('DEL', KEYS[1])
  bytes = tonumber(ARGV[8])
end
redis.call('HSET', KEYS[1], 'of', ARGV[1] .. ';' .. as_of .. ';' .. bytes, ARGV[3], ARGV[4])
local life = tonumber(ARGV[6])
if left >= 0 and left < life then life = left end
redis.call('PEXPIRE', KEYS[1], life)
return 1",
);

#[async_trait]
impl Lists for RedisStore {
    async fn keep(&self, lists: &[(Asked, Kept)]) -> Result<Vec<bool>, StoreUnavailable> {
        let mut pipe = redis::pipe();
        for (asked, kept) in lists {
            self.append_list(&mut pipe, asked, kept);
        }
        let answers = self.run_calls(&KEEP, &pipe).await?.into_iter().map(|answer| match answer {
            Ok(value) => Ok(from_redis_value::<i64>(value).is_ok_and(|stays| stays == 1)),
            Err(error) if error.code() == Some(WRONG_TYPE) => {
                // A key of another type under one of our names: this person's lists are made anew, the others stay.
                tracing::warn!(error = %error, "redis refused a list");
                Ok(false)
            }
            // No memory, a copy that takes no writes: all is to be tried again, and what was written stays.
            Err(error) => Err(StoreUnavailable(error.into())),
        });
        answers.collect()
    }
}

impl RedisStore {
    fn append_list(&self, pipe: &mut Pipeline, asked: &Asked, kept: &Kept) {
        let (field, value) = (list_codec::field(asked), list_codec::encode(kept));
        let bytes = list_codec::cost(&field, &value);
        let who = &asked.who;
        KEEP.call(pipe).arg(3);
        pipe.arg(self.keys.lists(who)).arg(self.keys.profile(who)).arg(self.keys.refused(who));
        pipe.arg(list_codec::mark(kept.mark)).arg(kept.as_of_ms).arg(field).arg(value);
        pipe.arg(kept.made_at_ms).arg(SESSION_MS).arg(MOST_LIST_BYTES).arg(bytes);
    }

    /// Asks for one list of a person, and for what it was made of.
    pub(super) fn ask_list(&self, pipe: &mut Pipeline, asked: &Asked) {
        pipe.cmd("HMGET").arg(self.keys.lists(&asked.who)).arg(OF).arg(list_codec::field(asked));
    }
}

/// What does not read, or a key of another type, is no list.
pub(super) fn read_list(answer: Option<RedisResult<Value>>) -> Option<Kept> {
    let blobs: Vec<Option<Vec<u8>>> = from_redis_value(answer?.ok()?).ok()?;
    let [Some(of), Some(list)] = &blobs[..] else { return None };
    list_codec::decode(of, list)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use redis::Arg;
    use redis::cluster_routing::Slot;

    use super::*;
    use crate::domain::Pseudonym;
    use crate::domain::experiment::plan::Change;
    use crate::usecases::{Kind, List};

    #[tokio::test]
    async fn what_is_kept_and_asked_of_somebody_lies_in_the_slot_of_their_profile() {
        let store = RedisStore::connect("redis+cluster://127.0.0.1:9", "t1:").expect("a well-formed URL");
        let list = List::of(Vec::new(), "popularity-decay-1");
        let kept = Kept { mark: 7, as_of_ms: 5, made_at_ms: 6, list };
        for first in ["00", "51", "ff"] {
            let who = Pseudonym::parse(&first.repeat(16)).expect("a pseudonym");
            let profile = Slot::for_key(store.keys.profile(&who));
            let asked = Asked { who, kind: Kind::ForYou, sku: None, limit: 20, change: Change::Nothing };
            let mut pipe = redis::pipe();
            store.append_list(&mut pipe, &asked, &kept);
            store.ask_list(&mut pipe, &asked);
            let text = |word: Arg<&[u8]>| match word {
                Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
                _ => panic!("a cursor"),
            };
            let commands: Vec<Vec<String>> =
                pipe.cmd_iter().map(|command| command.args_iter().map(text).collect()).collect();
            let (keep, ask) = (&commands[0], &commands[1]);
            assert_eq!((keep[2].as_str(), ask[0].as_str()), ("3", "HMGET"), "keys of the script, then the question");
            let slots: HashSet<Slot> = keep[3..6].iter().chain(&ask[1..2]).map(Slot::for_key).collect();
            assert_eq!(slots, HashSet::from([profile]), "{first}");
        }
    }
}
