//! What reading a topic costs when nothing is done with what was read: all partitions from the beginning, record after record dropped.
//!
//! A line `go RECORDS PASSES` on the input is so many passes, each over so many records with a client of its own: `done RECORDS BYTES`.
//! A line `count` asks the broker how many there are: `done RECORDS`.

use std::io::BufRead as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Questions about the topic are answered within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing new for this long means that there is nothing more.
const SILENCE: Duration = Duration::from_secs(20);

#[derive(Args)]
pub struct Consume {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
}

pub fn run(consume: &Consume) -> Result<()> {
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["go", records, passes] => {
                let (mut read, mut bytes) = (0, 0);
                for _ in 0..passes.parse::<u64>()? {
                    let (more, longer) = pass(consume, records.parse()?)?;
                    (read, bytes) = (read + more, bytes + longer);
                }
                println!("done {read} {bytes}");
            }
            ["count"] => println!("done {}", count(consume)?),
            _ => bail!("asked for neither `go RECORDS PASSES` nor `count`"),
        }
    }
    Ok(())
}

/// With the limits that our services' consumers have.
fn client(consume: &Consume) -> Result<(BaseConsumer, Vec<i32>)> {
    let mut config = ClientConfig::new();
    for (key, value) in [
        ("bootstrap.servers", consume.brokers.as_str()),
        ("group.id", "bench-consume"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("fetch.wait.max.ms", "100"),
        ("queued.max.messages.kbytes", "8192"),
        ("fetch.queue.backoff.ms", "50"),
    ] {
        config.set(key, value);
    }
    let consumer: BaseConsumer = config.create()?;
    let known = consumer.fetch_metadata(Some(&consume.topic), PATIENCE)?;
    let topic = known.topics().first().context("the topic is known")?;
    let partitions: Vec<i32> = topic.partitions().iter().map(|partition| partition.id()).collect();
    if partitions.is_empty() {
        bail!("there is no topic {}", consume.topic);
    }
    Ok((consumer, partitions))
}

fn pass(consume: &Consume, wanted: u64) -> Result<(u64, u64)> {
    let (consumer, partitions) = client(consume)?;
    let mut all = TopicPartitionList::new();
    for partition in partitions {
        all.add_partition_offset(&consume.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (mut records, mut bytes, mut since) = (0, 0, Instant::now());
    while records < wanted {
        match consumer.poll(Duration::from_millis(100)) {
            Some(message) => {
                bytes += message?.payload_len() as u64;
                records += 1;
                // The clock is asked now and then: a look at it costs a part of what a record does.
                if records % 1_024 == 0 {
                    since = Instant::now();
                }
            }
            None if since.elapsed() > SILENCE => bail!("{records} of {wanted} records came, and no more"),
            None => {}
        }
    }
    Ok((records, bytes))
}

fn count(consume: &Consume) -> Result<u64> {
    let (consumer, partitions) = client(consume)?;
    let mut records = 0;
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(&consume.topic, partition, PATIENCE)?;
        records += u64::try_from(high - low).unwrap_or(0);
    }
    Ok(records)
}
