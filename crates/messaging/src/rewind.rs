//! Reading a partition again: what a [`BatchHandler`](crate::BatchHandler) asks for whose books do not reach up to the batch it was
//! given, and where the partition is moved to.
//!
//! Decided here: never to before the beginning of the topic, and no further forward than the batch at hand. There is no endless
//! loop. What is asked for a second time at the first batch of a run that began there, or before it, is not in the topic, so the batch
//! is handed over as the first: until a batch is done each move goes strictly further back than the one before, and none beyond the
//! beginning. And who asks again and again without getting further, because what it counts does not stay counted, is left where it is
//! for a while ([`MOST`], [`REST`]).
//!
//! The offset that the group has committed stays where it is: the broker client never commits a lower one. Whoever starts in the middle
//! stands too far ahead again and asks again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::kafka::Record;
use crate::lag::Follower;
use crate::metrics;
use crate::partitions::Stop;

/// How long the broker may take to say where a topic begins, and the client to move.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions while the broker is away.
const PAUSE: Duration = Duration::from_millis(500);
/// Moves of a partition in a row that do not get it further. One is what a loss takes; partitions that are dealt out anew in the middle
/// make it two or three.
const MOST: u32 = 10;
/// How long it then is not moved at all: long enough for live records to be done, and for somebody to read what was logged.
const REST: Duration = Duration::from_secs(10 * 60);

/// From where a partition is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rewind {
    /// From the record with this offset.
    #[error("what stands before this batch is not counted")]
    To(i64),
    /// From the first record that was written at or after this time, in milliseconds since 1970-01-01 UTC.
    #[error("up to where was counted is not known")]
    Since(i64),
}

/// Records that follow one another since a partition was moved, and under which deal of partitions it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    from: i64,
    deals: u64,
}

/// What a worker knows of the moves of its partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    /// Of what the next records are the first; `None` once they are done.
    run: Option<Run>,
    /// The furthest batch that has asked, and how many have asked since that were no further.
    asked: Option<(i64, u32)>,
    rests_until: Option<Instant>,
}

impl Past {
    /// Records are done: the next ones are not the first of their run.
    pub(crate) fn done(&mut self) {
        self.run = None;
    }

    /// How many records before the batch that begins at `first` are passed over although the topic has them; `None`: the step is made.
    fn leaves_out(&mut self, step: Step, first: i64, now: Instant) -> Option<i64> {
        match step {
            Step::Back(to) if !self.may_move(first, now) => Some(first.saturating_sub(to)),
            Step::Back(_) | Step::First => None,
        }
    }

    /// Whether one more move is made for the batch that begins at `first`.
    fn may_move(&mut self, first: i64, now: Instant) -> bool {
        if self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        let (furthest, times) = self.asked.filter(|(furthest, _)| first <= *furthest).unwrap_or((first, 0));
        if times >= MOST {
            (self.asked, self.rests_until) = (None, Some(now + REST));
            return false;
        }
        self.asked = Some((furthest, times + 1));
        true
    }
}

/// What becomes of a batch whose handler wants to read earlier records first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There are none: it is the first.
    First,
    /// The partition is moved here.
    Back(i64),
}

/// Where to go from a batch that begins at `first`: `wanted` is where its handler wants to read, `low` where the topic begins, `begun`
/// where the records at hand begin, if they are the first since a move.
fn step(first: i64, wanted: i64, low: i64, begun: Option<i64>) -> Step {
    let target = wanted.max(low);
    let was_tried = begun.is_some_and(|begun| begun <= target);
    if target >= first || was_tried { Step::First } else { Step::Back(target) }
}

/// Asks the broker, until it answers, and decides about the batch that begins with `first`.
pub(crate) async fn decide(
    consumer: &Arc<Follower>,
    first: &Record,
    rewind: Rewind,
    past: &mut Past,
    shutdown: &CancellationToken,
) -> Result<Step, Stop> {
    let (wanted, low) = loop {
        let (client, topic, partition) = (Arc::clone(consumer), first.topic.clone(), first.partition);
        // The client blocks until it has the answer.
        match tokio::task::spawn_blocking(move || ask(&client, &topic, partition, rewind)).await {
            Ok(Ok(answer)) => break answer,
            Ok(Err(error)) => tracing::warn!(error = %error, "the broker does not say where a partition begins"),
            Err(error) => tracing::error!(error = %error, "the question where a partition begins panicked"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Err(Stop::ShuttingDown),
            () = tokio::time::sleep(PAUSE) => {}
        }
    };
    let begun = past.run.filter(|run| run.deals == consumer.context().deals()).map(|run| run.from);
    let step = step(first.offset, wanted, low, begun);
    if let Some(left_out) = past.leaves_out(step, first.offset, Instant::now()) {
        // They are in the topic: nobody is told that they are out of reach.
        let (Record { topic, partition, offset, .. }, group) = (first, consumer.context().group);
        tracing::error!(group, %topic, partition, offset, left_out, "what is counted of a partition does not stay counted");
        return Ok(Step::First);
    }
    tell(consumer.context().group, first, rewind, step);
    Ok(step)
}

/// The offset that is wanted, and the one at which the partition begins.
fn ask(consumer: &Follower, topic: &str, partition: i32, rewind: Rewind) -> KafkaResult<(i64, i64)> {
    let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
    let since_ms = match rewind {
        Rewind::To(offset) => return Ok((offset, low)),
        Rewind::Since(ms) => ms,
    };
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, partition, Offset::Offset(since_ms))?;
    let list = consumer.offsets_for_times(list, PATIENCE)?;
    let mut wanted = high;
    for found in list.elements() {
        found.error()?;
        // Without an offset: nothing was written since.
        if let Offset::Offset(offset) = found.offset() {
            wanted = offset;
        }
    }
    Ok((wanted, low))
}

fn tell(group: &'static str, first: &Record, rewind: Rewind, step: Step) {
    let Record { topic, partition, offset, .. } = first;
    match (step, rewind) {
        (Step::Back(to), _) => {
            let how = if matches!(rewind, Rewind::To(_)) { "mark" } else { "time" };
            metrics::REWINDS.with_label_values(&[group, how]).inc();
            tracing::warn!(group, %topic, partition, offset, to, how, "a partition is read again from an earlier record");
        }
        (Step::First, Rewind::To(wanted)) => {
            let records = offset.saturating_sub(wanted).max(0);
            metrics::OUT_OF_REACH.with_label_values(&[group]).inc_by(u64::try_from(records).unwrap_or_default());
            tracing::warn!(group, %topic, partition, offset, wanted, records, "records that were to be read again are gone");
        }
        (Step::First, Rewind::Since(_)) => {
            tracing::info!(group, %topic, partition, offset, "a partition is counted from here on");
        }
    }
}

/// Moves the partition. What the client had fetched of it before is thrown away, so the next record is the first of a run. A partition
/// that cannot be moved is somebody else's by now, or the client is busy; its next record then begins as if nothing had been asked.
pub(crate) async fn seek(consumer: &Arc<Follower>, topic: &str, partition: i32, to: i64, past: Past) -> Past {
    // Partitions that are dealt out while we move, or later, leave a run of another deal, which is none.
    let deals = consumer.context().deals();
    let (client, name) = (Arc::clone(consumer), topic.to_owned());
    let sought = tokio::task::spawn_blocking(move || client.seek(&name, partition, Offset::Offset(to), PATIENCE)).await;
    let error = match sought {
        Ok(Ok(())) => return Past { run: Some(Run { from: to, deals }), ..past },
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(group = consumer.context().group, %topic, partition, error, "a partition could not be moved back");
    // It may be asked for again at once.
    tokio::time::sleep(PAUSE).await;
    Past { run: None, ..past }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_goes_back_to_what_is_missing_and_no_further_than_the_topic_reaches() {
        for (first, wanted, low, begun, expected, why) in [
            (500, 400, 0, None, Step::Back(400), "a hundred records are missing"),
            (500, 400, 450, None, Step::Back(450), "the topic has forgotten half of them"),
            (500, 400, 500, None, Step::First, "the topic begins here"),
            (500, 400, 600, None, Step::First, "the topic begins behind it by now"),
            (500, 600, 0, None, Step::First, "nothing was written in that time before it"),
            (0, 0, 0, None, Step::First, "a new topic"),
            (450, 400, 450, Some(450), Step::First, "as far as the topic reaches"),
            (450, 400, 0, Some(400), Step::First, "there are no records between"),
            (410, 405, 0, Some(400), Step::First, "an hour later than at the first look"),
            (400, 300, 0, Some(400), Step::Back(300), "it was lost once more, while it was moved"),
        ] {
            assert_eq!(step(first, wanted, low, begun), expected, "{why}");
        }
    }

    /// Until something is done each move goes further back, so after as many as there are records the batch is handed over.
    #[test]
    fn whatever_is_asked_for_a_batch_is_handed_over_in_the_end() {
        for wanted in [i64::MIN, -1, 0, 3, 9, i64::MAX] {
            let (low, mut first, mut begun, mut moves) = (2, 10, None, 0);
            while let Step::Back(to) = step(first, wanted, low, begun) {
                assert!((low..first).contains(&to), "{wanted}: {to} is before {first}");
                (first, begun, moves) = (to, Some(to), moves + 1);
                assert!(moves <= 8, "{wanted}: no end");
            }
            // With holes in the topic: the run begins further on than where it was moved to.
            if let Step::Back(to) = step(10, wanted, low, None) {
                assert_eq!(step(9, wanted, low, Some(to)), Step::First, "{wanted}");
            }
        }
    }

    #[test]
    fn who_does_not_get_further_is_left_where_it_is_and_moved_again_after_a_while() {
        let (mut past, now) = (Past::default(), Instant::now());
        // Each asks behind the one before: as many losses as there are.
        assert!((0..1_000).all(|first| past.may_move(first, now)));
        // None gets further than the last of these.
        let moved = (0..1_000).filter(|n| past.may_move(900 + n % 100, now)).count();
        assert_eq!(u32::try_from(moved), Ok(MOST - 1), "the last of them was the first of these");
        assert!(!past.may_move(5_000, now + REST / 2), "it rests");
        assert!(past.may_move(5_000, now + REST));
    }

    #[test]
    fn what_is_passed_over_is_what_stands_between_where_it_wanted_to_go_and_the_batch() {
        let (mut past, now) = (Past::default(), Instant::now());
        for _ in 0..MOST {
            assert_eq!(past.leaves_out(Step::Back(40), 100, now), None, "it is moved");
        }
        assert_eq!(past.leaves_out(Step::Back(40), 100, now), Some(60));
        assert_eq!(past.leaves_out(Step::First, 100, now), None, "nothing was wanted that is there");
    }
}
