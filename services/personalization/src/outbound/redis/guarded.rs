//! The one write of a place: all its commands in one script, which looks first whether the partition is still counted there up to where it
//! was when they were decided. Redis runs a script alone and whole, so nothing comes between the look and the write.
//!
//! `WATCH` would do the same for a connection of one's own; ours is shared by all partitions. `MULTI` cannot decide. On a cluster the script
//! declares every key that its commands name. So it is refused where they are not all in one slot, and tried again where half of them have
//! moved to another server already (ADR 0082). One server has all of them at hand, and is told the mark only.

use std::collections::BTreeSet;

use contracts::places::Place;
use redis::{Arg, Cmd, FromRedisValue as _, Pipeline, Value};

use super::scripts::Script;
use crate::domain::Position;
use crate::outbound::codec;
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::Saved;

/// KEYS: up to where the partition is counted, then, on a cluster, what the commands name. ARGV: what it was, what it becomes (empty: it stays
/// away), then each command as the number of its words and the words. `MGET`, because it takes a key of another type for none, which `SET`
/// then replaces. The mark is written first and by `call`: a server without memory, or a copy that takes no writes, refuses it, and with it
/// everything. What it refuses of the rest is a key of another type under one of our names; it is told and costs nothing else.
pub(super) static SCRIPT: Script = Script::new(
    "
local now = redis.call('MGET', KEYS[1])[1] or ''
if now ~= ARGV[1] then return {0, 0, ''} end
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2]) end
local at, refused, why = 3, 0, ''
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  local answer = redis.pcall(unpack(ARGV, at + 1, last))
  if type(answer) == 'table' and answer.err then
    refused, why = refused + 1, answer.err
  end
  at = last + 1
end
return {1, refused, why}",
);

/// KEYS: up to where a partition is counted. ARGV: what stands there and cannot be read.
const REMOVE: &str = "if redis.call('MGET', KEYS[1])[1] == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Adds to `pipe` one call of [`SCRIPT`] that runs `commands`, all of this place, only while `key` says `before`, and leaves it saying
/// `counted`.
pub(super) fn only_while(
    pipe: &mut Pipeline,
    place: Place,
    key: &str,
    before: Option<Position>,
    counted: Option<Position>,
    commands: &Pipeline,
) {
    let text = |position: Option<Position>| position.map(codec::encode_counted).unwrap_or_default();
    let keys: BTreeSet<&[u8]> = match place {
        Place::Everything => BTreeSet::new(),
        Place::Shop | Place::Part(_) => commands.cmd_iter().flat_map(keys_of).collect(),
    };
    SCRIPT.call(pipe).arg(1 + keys.len()).arg(key);
    for key in keys {
        pipe.arg(key);
    }
    pipe.arg(text(before)).arg(text(counted));
    for command in commands.cmd_iter() {
        let words = command.args_iter();
        pipe.arg(words.len());
        for word in words {
            // None of our commands has a cursor.
            if let Arg::Simple(word) = word {
                pipe.arg(word);
            }
        }
    }
}

/// The keys that a command names: of `DEL` all that it says, of the others of ours the first.
fn keys_of(command: &Cmd) -> Vec<&[u8]> {
    // None of our commands has a cursor.
    let mut words = command.args_iter().filter_map(|word| match word {
        Arg::Simple(word) => Some(word),
        _ => None,
    });
    let most = if words.next() == Some(b"DEL".as_slice()) { usize::MAX } else { 1 };
    words.take(most).collect()
}

/// What the server says about it.
///
/// # Errors
/// An answer that is none of the script's.
pub(super) fn saved(answer: Value) -> Result<Saved, StoreUnavailable> {
    let (written, refused, why) =
        <(i64, i64, String)>::from_redis_value(answer).map_err(|error| StoreUnavailable(error.into()))?;
    if written == 0 {
        return Ok(Saved::Overtaken);
    }
    if refused > 0 {
        // A key of another type under one of our names: these lists are lost, the rest of the batch is counted.
        tracing::warn!(refused, error = why, "redis refused a part of a batch");
    }
    Ok(Saved::Written)
}

/// Removes what cannot be read, if it still stands there: otherwise nothing would ever be what it was.
pub(super) fn remove(pipe: &mut Pipeline, key: &str, unreadable: &[u8]) {
    pipe.cmd("EVAL").arg(REMOVE).arg(1).arg(key).arg(unreadable);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(place: Place, before: Option<Position>, counted: Option<Position>, commands: &Pipeline) -> Vec<String> {
        let mut pipe = redis::pipe();
        only_while(&mut pipe, place, "k", before, counted, commands);
        let command = pipe.cmd_iter().next().expect("one command");
        let text = |word: Arg<&[u8]>| match word {
            Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
            _ => panic!("a cursor"),
        };
        // Without the name of the command and that of the script.
        command.args_iter().map(text).skip(2).collect()
    }

    #[test]
    fn each_command_goes_along_with_the_number_of_its_words() {
        let mut commands = redis::pipe();
        commands.cmd("SET").arg("a b").arg(&b"\xc3\x28"[..]);
        commands.cmd("DEL").arg("c").arg("").arg("c");
        let before = Position { partition: 3, offset: 7, received_at_ms: 5 };
        let counted = Position { offset: 9, received_at_ms: 6, ..before };
        let told = words(Place::Shop, Some(before), Some(counted), &commands);
        assert_eq!(told[..7], ["4", "k", "", "a b", "c", "7;5", "9;6"], "each key once, the mark first");
        assert_eq!((told[7].as_str(), told[8].as_str(), told[9].as_str()), ("3", "SET", "a b"));
        assert_eq!(told[11..], ["4", "DEL", "c", "", "c"]);
        let at_hand = words(Place::Everything, Some(before), Some(counted), &commands);
        assert_eq!(at_hand[..4], ["1", "k", "7;5", "9;6"], "one server needs no other key");
        assert_eq!(at_hand[4..], told[7..]);
        let unchanged = words(Place::Part(3), Some(before), Some(before), &redis::pipe());
        assert_eq!(unchanged, ["1", "k", "7;5", "7;5"], "nothing new is written as what it was");
        assert_eq!(words(Place::Part(3), None, Some(counted), &redis::pipe()), ["1", "k", "", "9;6"]);
    }

    #[test]
    fn an_answer_says_whether_it_was_written() {
        let answer = |written, refused| {
            let why = Value::BulkString(b"WRONGTYPE".to_vec());
            Value::Array(vec![Value::Int(written), Value::Int(refused), why])
        };
        assert_eq!(saved(answer(1, 0)).expect("an answer"), Saved::Written);
        assert_eq!(saved(answer(1, 2)).expect("an answer"), Saved::Written);
        assert_eq!(saved(answer(0, 0)).expect("an answer"), Saved::Overtaken);
        assert!(saved(Value::Nil).is_err(), "no answer is not taken for one");
    }
}
