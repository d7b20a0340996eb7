//! People in experiments and the sums per arm. A person's record is the state, and the sums follow it: both are written by one script
//! of the server, which looks first whether the record is still the one that was decided about. So on a cluster each part of people has sums of
//! its own, and what an arm has is all of them together.

use async_trait::async_trait;
use redis::{Pipeline, from_redis_value};

use super::scripts::Script;
use super::{RedisStore, WRONG_TYPE, readable};
use crate::domain::Pseudonym;
use crate::domain::experiment::Arm;
use crate::domain::experiment::enrolment::{Enrolment, Enrolments, MOST_ENROLMENTS, MOST_ORDERS};
use crate::domain::experiment::plan::MOST_MINOR;
use crate::domain::experiment::tally::{ByArm, Count};
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::{EnrolmentChange, Tallies};

/// A record that nothing was written to for this long is forgotten (90 days), so an experiment has to be shorter.
const RECORD_LIFETIME_SECONDS: u64 = 90 * 24 * 60 * 60;

/// Sums that nobody adds to are forgotten after this long (a year): by then somebody wrote down what they said.
const SUMS_LIFETIME_SECONDS: u64 = 365 * 24 * 60 * 60;

/// KEYS: the record, then the sums of each delta. ARGV: the record before and after, its lifetime, that of sums, then a field and a
/// number for each delta. Lua numbers are exact to 2^53; the numbers are handed on as text.
static CHANGE: Script = Script::new(
    "
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
for i = 2, #KEYS do
  redis.call('HINCRBY', KEYS[i], ARGV[2 * i + 1], ARGV[2 * i + 2])
  redis.call('EXPIRE', KEYS[i], ARGV[4])
end
return 1",
);

#[async_trait]
impl Tallies for RedisStore {
    async fn enrolments(&self, people: &[&Pseudonym]) -> Result<Vec<Enrolments>, StoreUnavailable> {
        if people.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for who in people {
            pipe.cmd("MGET").arg(self.keys.enrolments(who));
        }
        let mut blobs: Vec<Option<Vec<u8>>> = Vec::with_capacity(people.len());
        for answer in self.run(&pipe).await? {
            blobs.extend(readable::<Vec<Option<Vec<u8>>>>(answer)?);
        }
        let (mut records, mut unreadable) = (Vec::with_capacity(people.len()), redis::pipe());
        for (place, who) in people.iter().enumerate() {
            let blob = blobs.get(place).and_then(Option::as_deref).unwrap_or_default();
            let record = decode(blob);
            if record.is_none() {
                // Otherwise it would stand in the way of every change. The person begins anew.
                unreadable.cmd("DEL").arg(self.keys.enrolments(who));
                tracing::warn!("a record of experiments that cannot be read was removed");
            }
            records.push(record.unwrap_or_default());
        }
        if !unreadable.is_empty() {
            self.run(&unreadable).await?;
        }
        Ok(records)
    }

    async fn change(&self, changes: &[EnrolmentChange]) -> Result<Vec<bool>, StoreUnavailable> {
        let mut pipe = redis::pipe();
        for change in changes {
            self.append(&mut pipe, change);
        }
        let answers = self.run_calls(&CHANGE, &pipe).await?.into_iter().map(|answer| match answer {
            Ok(value) => Ok(from_redis_value::<i64>(value).is_ok_and(|written| written == 1)),
            Err(error) if error.code() == Some(WRONG_TYPE) => {
                // A key of another type under one of our names: this person is not counted, the others are.
                tracing::warn!(error = %error, "redis refused a change of an experiment");
                Ok(true)
            }
            // No memory, a copy that takes no writes: all is to be tried again, and what was written is known by its record.
            Err(error) => Err(StoreUnavailable(error.into())),
        });
        answers.collect()
    }

    async fn sums(&self, series: &str) -> Result<ByArm, StoreUnavailable> {
        let mut pipe = redis::pipe();
        let places = places();
        let fields: Vec<String> = places.iter().map(|(arm, of)| field(*arm, *of)).collect();
        for home in self.keys.layout.homes() {
            pipe.cmd("HMGET").arg(self.keys.sums(home, series)).arg(&fields);
        }
        let mut sums = ByArm::default();
        for answer in self.run(&pipe).await? {
            for ((arm, of), number) in places.iter().zip(readable::<Vec<Option<i64>>>(answer)?) {
                sums.of_mut(*arm).add(*of, number.unwrap_or_default());
            }
        }
        Ok(sums)
    }
}

impl RedisStore {
    fn append(&self, pipe: &mut Pipeline, change: &EnrolmentChange) {
        CHANGE.call(pipe).arg(1 + change.deltas.len()).arg(self.keys.enrolments(&change.who));
        let home = self.keys.layout.home(change.who.as_str());
        for delta in &change.deltas {
            pipe.arg(self.keys.sums(home, &delta.series));
        }
        pipe.arg(encode(&change.before)).arg(encode(&change.after));
        pipe.arg(RECORD_LIFETIME_SECONDS).arg(SUMS_LIFETIME_SECONDS);
        for delta in &change.deltas {
            pipe.arg(field(delta.arm, delta.of)).arg(delta.by);
        }
    }
}

/// What is counted of each arm.
fn places() -> Vec<(Arm, Count)> {
    Arm::ALL.iter().flat_map(|arm| Count::ALL.iter().map(move |of| (*arm, *of))).collect()
}

fn field(arm: Arm, of: Count) -> String {
    format!("{}:{}", arm.code(), of.code())
}

/// `1` and then one `series;arm;since;most;spent;degraded;marks` per line, the marks with `,` between them; empty for nobody. What is
/// decoded is encoded to the same text, or the record could not be found unchanged.
fn encode(record: &Enrolments) -> String {
    if record.is_empty() {
        return String::new();
    }
    let lines = record.0.iter().map(|known| {
        let marks: Vec<String> = known.orders.iter().map(u32::to_string).collect();
        format!(
            "\n{};{};{};{};{};{};{}",
            known.series,
            known.arm.code(),
            known.since_ms,
            known.most_minor,
            known.spent_minor,
            u8::from(known.degraded),
            marks.join(",")
        )
    });
    std::iter::once("1".to_owned()).chain(lines).collect()
}

/// `None` for what [`encode`] would not have written.
fn decode(bytes: &[u8]) -> Option<Enrolments> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.is_empty() {
        return Some(Enrolments::default());
    }
    let lines = text.strip_prefix("1\n")?.lines().map(line);
    let record = Enrolments(lines.collect::<Option<_>>()?);
    Some(record).filter(|record| record.0.len() <= MOST_ENROLMENTS && encode(record) == text)
}

fn line(text: &str) -> Option<Enrolment> {
    let mut parts = text.split(';');
    let mut next = || parts.next();
    let (series, arm) = (next()?.to_owned(), next()?);
    let arm = Arm::ALL.into_iter().find(|known| known.code() == arm)?;
    let (since_ms, most_minor, spent_minor) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
    let (degraded, marks) = (next()? == "1", next()?);
    let orders: Option<Vec<u32>> =
        marks.split(',').filter(|mark| !mark.is_empty()).map(|mark| mark.parse().ok()).collect();
    let known = Enrolment { series, arm, since_ms, most_minor, spent_minor, degraded, orders: orders? };
    let fits = (0..=MOST_MINOR).contains(&known.most_minor) && (0..=known.most_minor).contains(&known.spent_minor);
    Some(known).filter(|known| fits && known.orders.len() <= MOST_ORDERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::experiment::plan::LONGEST_SERIES;

    fn known(series: &str, orders: Vec<u32>) -> Enrolment {
        let (arm, since_ms, most_minor, spent_minor) = (Arm::Treatment, 1_790_000_000_000, 10_000, 700);
        Enrolment { series: series.to_owned(), arm, since_ms, most_minor, spent_minor, degraded: true, orders }
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        let record = Enrolments(vec![known("calm.5000.off", vec![1, u32::MAX]), known("b.1.nothing", Vec::new())]);
        let text = encode(&record);
        assert_eq!(
            text,
            "1\ncalm.5000.off;treatment;1790000000000;10000;700;1;1,4294967295\nb.1.nothing;treatment;1790000000000;10000;700;1;"
        );
        assert_eq!(decode(text.as_bytes()), Some(record));
        assert_eq!((encode(&Enrolments::default()).as_str(), decode(b"")), ("", Some(Enrolments::default())));
        let fullest = known(&"s".repeat(LONGEST_SERIES), vec![u32::MAX; MOST_ORDERS]);
        assert!(encode(&Enrolments(vec![fullest; MOST_ENROLMENTS])).len() < 4_096, "bytes of one person");
    }

    #[test]
    fn what_is_no_record_is_none() {
        let good = encode(&Enrolments(vec![known("calm.5000.off", vec![1])]));
        for broken in [
            "2\n".to_owned(),
            good.replace("treatment", "both"),
            good.replace(";700;", ";10001;"),
            good.replace(";700;", ";0700;"),
            good.replace(";1;1", ";2;1"),
            good.replace("10000;", "9999999;"),
            format!("{good}\n"),
            good.lines().take(1).collect(),
        ] {
            assert_eq!(decode(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(decode(&[0xff]), None);
    }
}
