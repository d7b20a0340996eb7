//! A topic is read from its beginning to its end beside the group that has done it long ago.

use std::sync::Mutex;

use async_trait::async_trait;
use contracts::topics::PRODUCT_CHANGED;
use messaging::{BatchHandler, Record, read_through};
use testkit::kafka::{put_raw, topics};
use testkit::postgres::region;

/// Keys and payloads, as they come.
#[derive(Default)]
struct Heard {
    records: Mutex<Vec<(String, Vec<u8>)>>,
    refuses: bool,
}

#[async_trait]
impl BatchHandler for Heard {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.refuses, "the store is away");
        assert!(records.iter().all(|record| record.partition == partition));
        let read =
            records.iter().map(|record| (String::from_utf8_lossy(&record.key).into_owned(), record.payload.to_vec()));
        self.records.lock().unwrap().extend(read);
        Ok(())
    }
}

#[tokio::test]
async fn whoever_has_lost_everything_hears_each_record_again_as_often_as_it_asks() {
    let kafka = topics(&[&PRODUCT_CHANGED]).await;
    let nothing = Heard::default();
    let read = read_through("through-empty", &PRODUCT_CHANGED, region(), &kafka, &nothing).await.unwrap();
    assert_eq!(read, 0, "an empty topic has an end as well");
    // Over several partitions, and two of one key.
    for n in 0..40_u8 {
        put_raw(&kafka, &PRODUCT_CHANGED, &format!("S{}", n % 39), &[n], &[]).await;
    }
    for _ in 0..2 {
        let heard = Heard::default();
        let read = read_through("through", &PRODUCT_CHANGED, region(), &kafka, &heard).await.unwrap();
        assert_eq!(read, 40);
        let records = heard.records.into_inner().unwrap();
        let of_one: Vec<u8> = records.iter().filter(|(key, _)| key == "S0").map(|(_, payload)| payload[0]).collect();
        assert_eq!(of_one, [0, 39], "in order within a key");
        let mut payloads: Vec<u8> = records.into_iter().map(|(_, payload)| payload[0]).collect();
        payloads.sort_unstable();
        assert_eq!(payloads, (0..40).collect::<Vec<u8>>());
    }
    let refusing = Heard { refuses: true, ..Heard::default() };
    assert!(read_through("through-refused", &PRODUCT_CHANGED, region(), &kafka, &refusing).await.is_err());
}

/// As the table of topics says it: what the newest record of a key replaced may go, the newest stays.
#[tokio::test]
async fn a_topic_of_states_is_made_so_that_the_newest_of_each_key_stays() {
    use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::config::ClientConfig;

    let kafka = topics(&[&PRODUCT_CHANGED]).await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
    let name = kafka.topic_name(&PRODUCT_CHANGED, region());
    let told = admin.describe_configs([&ResourceSpecifier::Topic(&name)], &AdminOptions::new()).await.unwrap();
    let made = told.into_iter().next().unwrap().unwrap();
    let setting = |key: &str| made.get(key).and_then(|entry| entry.value.clone());
    assert_eq!(setting("cleanup.policy").as_deref(), Some("compact"));
    assert_eq!(setting("min.compaction.lag.ms").as_deref(), Some("604800000"));
}
