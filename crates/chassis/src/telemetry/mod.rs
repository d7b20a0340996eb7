//! Traces and logs. Logs are JSON lines on standard output; traces go to a collector over OTLP when one is configured.
//!
//! Decided here: what identifies this process, what is recorded, and that telemetry never holds up or ends the process: the
//! queue is bounded and drops, the collector may be away. Not decided here: names of spans (`style` says nouns with dots).

mod json;

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::Role;
use crate::config::Common;

/// Spans waiting for the exporter; about a second of a busy process. What does not fit is dropped.
const QUEUE: usize = 4096;

/// A span is seen in the collector this long after it ended, at most.
const EXPORT_INTERVAL: Duration = Duration::from_millis(500);

/// The end of the process waits this long for the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps the exporter alive; flush it before the process ends.
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Installs the subscriber of the process. Must run inside the runtime. A second call in one process (tests) keeps the first
/// subscriber.
///
/// # Errors
/// A filter or an endpoint that cannot be parsed.
pub fn install(service: &'static str, role: Role, common: &Common) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_new(&common.telemetry.log)
        .with_context(|| format!("telemetry.log: {:?}", common.telemetry.log))?;
    let provider = provider(service, role, common)?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("shopsphere"))
        .with_threads(false)
        .with_filter(not_our_plumbing());
    let logs = json::layer(service, common).with_filter(filter);
    let _ = tracing_subscriber::registry().with(spans).with(logs).try_init();
    crate::metrics::BUILD_INFO
        .with_label_values(&[
            service,
            role.name(),
            env!("CARGO_PKG_VERSION"),
            common.site.region.code(),
            &common.site.name,
        ])
        .set(1);
    Ok(Telemetry { provider })
}

/// Panics become log lines too. Only for whole processes: in tests the standard hook tells more.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, reason = crate::lifecycle::panic_text(panic.payload()), "panic");
    }));
}

impl Telemetry {
    /// Sends what is queued, waiting at most two seconds.
    pub async fn flush(self) {
        // The exporter blocks its caller; on a runtime thread that would stop the very tasks it waits for.
        let flushed = crate::lifecycle::blocking(move || self.provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, flushed).await;
    }
}

fn provider(service: &'static str, role: Role, common: &Common) -> anyhow::Result<SdkTracerProvider> {
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("shopsphere.region", common.site.region.code()),
            KeyValue::new("shopsphere.site", common.site.name.clone()),
            KeyValue::new("shopsphere.role", role.name()),
        ])
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(common.telemetry.sample_ratio)));
    let builder = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
    let endpoint = &common.telemetry.otlp_endpoint;
    // Without a collector spans still exist: their ids go into logs and outgoing requests.
    if endpoint.is_empty() {
        return Ok(builder.build());
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_secs(3))
        .build()
        .with_context(|| format!("telemetry.otlp_endpoint: {endpoint:?}"))?;
    let batches =
        BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_scheduled_delay(EXPORT_INTERVAL).build();
    Ok(builder.with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build()).build())
}

/// Spans of the HTTP and gRPC libraries would describe our own export and fill the traces.
///
/// Asked anew for each span, although the answer never changes: with a cached answer the subscriber does not reset what an
/// earlier look (`tracing::enabled!`, which database drivers use) left on this thread, and the span would have no trace.
fn not_our_plumbing<S>() -> impl Filter<S> {
    const PLUMBING: [&str; 8] = ["h2", "hyper", "hyper_util", "tonic", "tower", "reqwest", "opentelemetry", "rustls"];
    dynamic_filter_fn(|metadata, _| {
        let root = metadata.target().split("::").next().unwrap_or_default();
        metadata.is_span()
            && *metadata.level() <= tracing::Level::INFO
            && !PLUMBING.iter().any(|library| root.starts_with(library))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_trace_after_a_look_that_led_to_nothing() {
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_filter(not_our_plumbing());
        let logs = tracing_subscriber::fmt::layer().with_writer(std::io::sink).with_filter(EnvFilter::new("info"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(spans).with(logs), || {
            for _ in 0..3 {
                let span = tracing::info_span!("request");
                assert!(contracts::trace::traceparent_of(&span).is_some());
                // What a database driver does before it logs a statement.
                let _ = tracing::enabled!(target: "driver", tracing::Level::INFO);
                let _ = tracing::enabled!(target: "driver", tracing::Level::DEBUG);
            }
        });
    }
}
