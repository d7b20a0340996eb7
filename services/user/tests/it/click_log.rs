//! Clicks through the real broker, the good and the refused, one record for each report or for each event.

use chrono::{DateTime, Duration, Utc};
use common::Region;
use contracts::topics::{CLICKSTREAM_RAW, CLICKSTREAM_REFUSED};
use contracts::user::v1::{ClicksRefused, ClicksReported};
use messaging::Firehose;
use prost::Message as _;
use testkit::kafka::{read_all, topics};
use user::domain::click::ToldTime;
use user::domain::{Click, ClickType, RefusedClick};
use user::outbound::clicks::{DurableClicks, KafkaBroker, Records};
use user::usecases::ports::{ClickBatch, ClickLog as _};

/// Good events of one person, and one that was refused.
pub fn batch(events: usize) -> ClickBatch<'static> {
    let received_at = DateTime::<Utc>::UNIX_EPOCH + Duration::days(20_000);
    let click = |number: usize| Click {
        event_id: format!("e{number:02}").into(),
        kind: ClickType::View,
        sku: Some("FA-1".into()),
        query: None,
        list_id: None,
        position: None,
        at: received_at,
        clock: ToldTime::Absent,
    };
    let refused = RefusedClick { index: 3, code: "unknown-field", sample: "{}".to_owned() };
    ClickBatch {
        pseudonym: "b".repeat(32),
        personalisation_consent: true,
        bot: false,
        received_at,
        clicks: (0..events).map(click).collect(),
        refused: vec![refused],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_and_refused_events_are_in_their_topics_when_the_answer_comes() {
    for (records, expected) in [(Records::Report, 1), (Records::Event, 20)] {
        let kafka = topics(&[&CLICKSTREAM_RAW, &CLICKSTREAM_REFUSED]).await;
        let firehose = Firehose::new(&kafka, Region::ALL[0]).expect("settings");
        let log = DurableClicks::new(std::sync::Arc::new(KafkaBroker::new(firehose, false)), None, records);
        log.append(&batch(20)).await.expect("the broker confirms");
        let raw = read_all(&kafka, &CLICKSTREAM_RAW).await;
        assert_eq!(raw.len(), expected, "{records:?}");
        let reports: Vec<ClicksReported> =
            raw.iter().map(|seen| ClicksReported::decode(&*seen.payload).expect("a report")).collect();
        let ids: Vec<&str> = reports.iter().flat_map(|report| &report.clicks).map(|click| &*click.event_id).collect();
        assert_eq!(ids, (0..20).map(|number| format!("e{number:02}")).collect::<Vec<_>>(), "in their order");
        assert!(raw.iter().all(|seen| seen.key == "b".repeat(32)));
        let [bad] = read_all(&kafka, &CLICKSTREAM_REFUSED).await.try_into().expect("one record of refused events");
        let refused = ClicksRefused::decode(&*bad.payload).expect("a message").refused;
        assert_eq!(
            (refused[0].index, refused[0].reason.as_str(), refused[0].sample.as_str()),
            (3, "unknown-field", "{}")
        );
    }
}
