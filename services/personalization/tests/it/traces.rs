//! The trace of a click goes on into the batch that counts it, and into the write to Redis.

use std::sync::Arc;

use contracts::user::v1::{Click, ClickType, ClicksReported};
use messaging::{BatchHandler as _, Record};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use personalization::inbound::clicks::ClickConsumer;
use personalization::usecases::ports::Shelves;
use prost::Message as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{self, NOW, somebody};

fn record(offset: i64, trace: u128) -> (personalization::domain::Pseudonym, Record) {
    let who = somebody();
    let click = Click { r#type: ClickType::View as i32, sku: "C1".to_owned(), at_ms: NOW, ..Click::default() };
    let message = ClicksReported {
        pseudonym: who.to_string(),
        personalisation_consent: true,
        received_at_ms: NOW,
        clicks: vec![click],
        bot: false,
    };
    let traceparent = format!("00-{trace:032x}-00f067aa0ba902b7-01");
    let record = Record {
        topic: "eu.clickstream.raw.v1".to_owned(),
        partition: 0,
        offset,
        key: who.to_string().into(),
        payload: message.encode_to_vec().into(),
        headers: vec![("traceparent".to_owned(), traceparent)],
    };
    (who, record)
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn a_click_is_followed_into_redis_and_the_profile_remembers_where_it_was_written() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let subscriber =
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
    let _guard = tracing::subscriber::set_default(subscriber);

    let shop = support::memory();
    let (aside, clock) = (Arc::new(support::Lot::default()), shop.app.clock.clone());
    let consumer = ClickConsumer { learner: shop.learner.clone(), aside, clock };
    let records: Vec<_> =
        (0..40).map(|offset| record(offset, 0xabc0 + u128::try_from(offset).expect("positive"))).collect();
    let batch: Vec<Record> = records.iter().map(|(_, record)| record.clone()).collect();
    consumer.handle(0, &batch).await.expect("the store answers");

    let spans = exporter.get_finished_spans().expect("spans");
    let (folds, writes) = (named(&spans, "click.fold"), named(&spans, "interest.write"));
    assert_eq!((folds.len(), writes.len(), named(&spans, "interest.fold").len()), (32, 32, 1));
    let fold = folds
        .iter()
        .find(|span| span.span_context.trace_id().to_string().ends_with("abc0"))
        .expect("the first click's span");
    assert_eq!(fold.parent_span_id.to_string(), "00f067aa0ba902b7");
    let write = writes.iter().find(|span| span.parent_span_id == fold.span_context.span_id()).expect("its write");
    assert_eq!(write.span_context.trace_id(), fold.span_context.trace_id());

    let person = shop.store.person(&records[0].0).await.expect("an answer");
    let remembered = person.profile.and_then(|profile| profile.traceparent).expect("a trace");
    assert_eq!(remembered, format!("00-{}-{}-01", write.span_context.trace_id(), write.span_context.span_id()));
    let beyond = shop.store.person(&records[39].0).await.expect("an answer");
    assert!(
        beyond
            .profile
            .and_then(|profile| profile.traceparent)
            .is_some_and(|text| text.ends_with("00f067aa0ba902b7-01"))
    );
}
