//! One JSON object per event: time, level, message, where it was written, service, region, site, trace and span id, then the
//! event's own fields. A field never overwrites one of the former.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use common::{Clock, SystemClock};
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Common;

/// Longer texts in one field are cut: a line is for reading, and the log must not become a copy of the traffic.
const MAX_TEXT: usize = 4096;

pub(super) fn layer<S>(service: &'static str, common: &Common) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let format = Lines { service, region: common.site.region.code(), site: common.site.name.clone() };
    tracing_subscriber::fmt::layer().event_format(format)
}

struct Lines {
    service: &'static str,
    region: &'static str,
    site: String,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = self.line(event, SystemClock.now());
        writeln!(out, "{}", Value::Object(line))
    }
}

impl Lines {
    fn line(&self, event: &Event<'_>, now: DateTime<Utc>) -> Map<String, Value> {
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".into(), now.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        line.insert("level".into(), metadata.level().as_str().into());
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.insert("message".into(), fields.message.into());
        line.insert("target".into(), metadata.target().into());
        line.insert("service".into(), self.service.into());
        line.insert("region".into(), self.region.into());
        line.insert("site".into(), self.site.clone().into());
        // Entering a span makes its OpenTelemetry context the current one.
        let context = opentelemetry::Context::current();
        let span = context.span().span_context().clone();
        if span.is_valid() {
            line.insert("trace_id".into(), span.trace_id().to_string().into());
            line.insert("span_id".into(), span.span_id().to_string().into());
        }
        for (name, value) in fields.others {
            line.entry(name).or_insert(value);
        }
        line
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            // Fields that the log bridge adds; the target says the same.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.others.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value.to_owned()).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, cut(crate::problem::chain(value)).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(format!("{value:?}")).into());
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(write: impl FnOnce()) -> Vec<Value> {
        let sink = Sink::default();
        let target = sink.clone();
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let tracer = opentelemetry::trace::TracerProvider::tracer(&provider, "test");
        let format = Lines { service: "user", region: "eu", site: "rdc-a".to_owned() };
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(tracer))
            .with(tracing_subscriber::fmt::layer().event_format(format).with_writer(move || target.clone()));
        tracing::subscriber::with_default(subscriber, write);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn an_event_is_one_line_with_its_fields_and_the_trace_it_belongs_to() {
        let lines = logged(|| {
            let span = tracing::info_span!("order.place");
            let _inside = span.enter();
            tracing::info!(order.id = 7, service = "forged", note = "two\nlines", "order placed");
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["message"], "order placed");
        assert_eq!(line["order.id"], 7);
        assert_eq!(line["service"], "user");
        assert_eq!(line["note"], "two\nlines");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    }

    #[test]
    fn a_private_value_stays_private_in_the_log() {
        let name = common::Private::new("Ada Lovelace");
        let lines = logged(|| tracing::info!(user.name = %name, other = ?name, "hello"));
        assert!(!lines[0].to_string().contains("Ada"), "{}", lines[0]);
        assert!(lines[0].get("trace_id").is_none());
    }

    #[test]
    fn a_very_long_text_is_cut_at_a_character() {
        let text = "é".repeat(MAX_TEXT);
        let lines = logged(|| tracing::info!(text, "long"));
        assert!(lines[0]["text"].as_str().unwrap().len() <= MAX_TEXT + 4);
    }
}
