//! Records that a batch puts aside, as a person finds them.

use contracts::topics::{CLICKSTREAM_PARKED, CLICKSTREAM_RAW};
use messaging::aside::{KEPT_BYTES, headers};
use messaging::{Aside as _, PutAside, Record, TopicAside};
use testkit::kafka::{read_all, topics};
use testkit::postgres::region;

fn record(offset: i64, key: Vec<u8>, payload: Vec<u8>) -> Record {
    Record {
        topic: CLICKSTREAM_RAW.name(region()),
        partition: 7,
        offset,
        key: key.into(),
        payload: payload.into(),
        headers: vec![("from".to_owned(), "x".repeat(100_000))],
    }
}

#[tokio::test]
async fn what_is_put_aside_says_why_and_where_it_stood_and_however_long_it_was_it_fits() {
    let kafka = topics(&[&CLICKSTREAM_PARKED]).await;
    let aside = TopicAside::new("aside", &CLICKSTREAM_PARKED, region(), &kafka).expect("settings");
    // More than may be under way at once, and two that no broker would take with anything beside them.
    let mut records: Vec<PutAside> = (0..100)
        .map(|offset| PutAside { record: record(offset, b"k".to_vec(), b"\xff\xfe".to_vec()), reason: "not-a-report" })
        .collect();
    for (offset, reason) in [(100, "foreign-key"), (101, "no-receipt")] {
        records.push(PutAside { record: record(offset, vec![b'k'; 500_000], vec![1; 999_000]), reason });
    }
    aside.put(&records).await.expect("the broker takes them");

    let mut seen = read_all(&kafka, &CLICKSTREAM_PARKED).await;
    let offset =
        |record: &testkit::kafka::Seen| record.header(headers::OFFSET).and_then(|text| text.parse::<i64>().ok());
    seen.sort_by_key(offset);
    assert_eq!(seen.iter().map(offset).collect::<Vec<_>>(), (0..102).map(Some).collect::<Vec<_>>());
    let told = |place: usize| {
        let names = [headers::REASON, headers::TOPIC, headers::PARTITION, headers::BYTES, "dataclass"];
        names.map(|name| seen[place].header(name).unwrap_or_default().to_owned())
    };
    let topic = CLICKSTREAM_RAW.name(region());
    assert_eq!(told(0), ["not-a-report", &topic, "7", "2", "pii"]);
    assert_eq!((seen[0].key.as_str(), seen[0].payload.as_slice()), ("k", &b"\xff\xfe"[..]));
    assert_eq!(told(101), ["no-receipt", &topic, "7", "999000", "pii"]);
    assert_eq!((seen[101].key.len(), seen[101].payload.len()), (256, KEPT_BYTES));
}
