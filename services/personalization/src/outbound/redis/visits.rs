//! The stream of visits: what learners append and every process follows, and the index that one of them wrote down for those that
//! start without one.

use async_trait::async_trait;
use common::Sku;
use redis::{Pipeline, Value, from_redis_value};

use super::RedisStore;
use super::keys::Keys;
use crate::domain::VisitStep;
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::{VISIT_ENTRIES, VisitEntry, VisitStream, WriteDown};

/// Steps per entry, so that no entry is large: 256 steps are about 12 kB.
const STEPS_PER_ENTRY: usize = 256;

/// A written-down index that nobody renews for this long describes another season (30 days).
const SNAPSHOT_LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Nobody else writes the index down within this time: every process has the same one. Under traffic that is as often as a large index
/// should cross the network; an entry is one batch, so the stream reaches back to the last one up to some hundred batches a second.
const fn writer_seconds(why: WriteDown) -> u64 {
    match why {
        WriteDown::Time => 50,
        WriteDown::Traffic => 5,
    }
}

/// Appends steps, as part of the transaction in which their clicks are counted.
pub(super) fn append(pipe: &mut Pipeline, keys: &Keys, steps: &[VisitStep]) {
    for steps in steps.chunks(STEPS_PER_ENTRY) {
        let lines = steps
            .iter()
            .map(|step| format!("{};{};{};{}", step.key, step.at_ms, step.sku, u8::from(step.bought)))
            .collect::<Vec<_>>();
        pipe.cmd("XADD").arg(keys.visits()).arg("MAXLEN").arg("~").arg(VISIT_ENTRIES).arg("*");
        pipe.arg("steps").arg(lines.join("\n"));
    }
}

fn read_step(line: &str) -> Option<VisitStep> {
    let mut fields = line.split(';');
    let (key, at_ms, sku, bought) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(VisitStep {
        key: key.parse().ok()?,
        at_ms: at_ms.parse().ok()?,
        sku: Sku::parse(sku).ok()?,
        bought: bought == "1",
    })
}

/// Entries as `XRANGE` gives them. What does not read teaches nothing, but its position counts: nobody stops at it.
fn entries(value: Value) -> Vec<VisitEntry> {
    let raw: Vec<Value> = from_redis_value(value).unwrap_or_default();
    raw.into_iter().filter_map(entry).collect()
}

fn entry(value: Value) -> Option<VisitEntry> {
    let (position, fields): (String, Value) = from_redis_value(value).ok()?;
    let fields: Vec<String> = from_redis_value(fields).unwrap_or_default();
    let lines = fields.get(1).into_iter().flat_map(|text| text.lines());
    Some(VisitEntry { position, steps: lines.filter_map(read_step).collect() })
}

#[async_trait]
impl VisitStream for RedisStore {
    async fn after(&self, position: &str, limit: usize) -> Result<Vec<VisitEntry>, StoreUnavailable> {
        let mut pipe = redis::pipe();
        pipe.cmd("XRANGE").arg(self.keys.visits()).arg(format!("({position}")).arg("+").arg("COUNT").arg(limit);
        let answer = self.run(&pipe).await?.into_iter().next();
        Ok(answer.and_then(Result::ok).map(entries).unwrap_or_default())
    }

    async fn oldest(&self) -> Result<Option<String>, StoreUnavailable> {
        let mut pipe = redis::pipe();
        pipe.cmd("XRANGE").arg(self.keys.visits()).arg("-").arg("+").arg("COUNT").arg(1);
        let answer = self.run(&pipe).await?.into_iter().next();
        let entries = answer.and_then(Result::ok).map(entries).unwrap_or_default();
        Ok(entries.into_iter().next().map(|entry| entry.position))
    }

    async fn snapshot(&self) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        let mut pipe = redis::pipe();
        pipe.cmd("GET").arg(self.keys.visit_snapshot());
        let answer = self.run(&pipe).await?.into_iter().next();
        Ok(answer.and_then(Result::ok).and_then(|value| from_redis_value(value).ok()).flatten())
    }

    async fn may_write(&self, why: WriteDown) -> Result<bool, StoreUnavailable> {
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(self.keys.visit_writer(why)).arg(1).arg("NX").arg("EX").arg(writer_seconds(why));
        let answer = self.run(&pipe).await?.into_iter().next();
        Ok(matches!(answer, Some(Ok(Value::Okay))))
    }

    async fn write_snapshot(&self, bytes: &[u8]) -> Result<(), StoreUnavailable> {
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(self.keys.visit_snapshot()).arg(bytes).arg("EX").arg(SNAPSHOT_LIFETIME_SECONDS);
        self.run(&pipe).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn an_entry_that_is_none_of_ours_is_passed_over_and_its_position_kept() {
        let entry = |position: &str, fields: Vec<Value>| Value::Array(vec![text(position), Value::Array(fields)]);
        let read = entries(Value::Array(vec![
            entry("1-0", vec![text("steps"), text("7;5;C1;0\nnonsense\n7;6;D1;1")]),
            entry("2-0", vec![text("other")]),
            entry("3-0", vec![text("steps"), Value::BulkString(vec![0xff, 0xfe])]),
        ]));
        let told: Vec<(&str, usize)> = read.iter().map(|entry| (entry.position.as_str(), entry.steps.len())).collect();
        assert_eq!(told, [("1-0", 2), ("2-0", 0), ("3-0", 0)]);
        let step = &read[0].steps[1];
        assert_eq!((step.key, step.at_ms, step.sku.as_str(), step.bought), (7, 6, "D1", true));
        assert!(entries(Value::Nil).is_empty());
    }
}
