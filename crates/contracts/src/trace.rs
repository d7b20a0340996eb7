//! Trace context across boundaries: the W3C `traceparent` of the current span as text, and a span's parent from such text.
//! HTTP, gRPC, the outbox and Kafka headers all carry the same line.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Name of the HTTP header, gRPC metadata key and Kafka header.
pub const TRACEPARENT: &str = "traceparent";

/// The current span as `00-<trace>-<span>-<flags>`, or `None` outside a trace.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// `span` as `00-<trace>-<span>-<flags>`, or `None` when it belongs to no trace.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// The current trace id as 32 lower-case hexadecimal digits, for logs and problem answers.
pub fn current_trace_id() -> Option<String> {
    traceparent_of(&Span::current()).map(|traceparent| traceparent[3..35].to_owned())
}

/// Makes `span` a child of the remote span that `traceparent` names. A malformed text is ignored: a broken header of a
/// client costs it its trace, not its answer.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // An error means that no OpenTelemetry layer is installed; then there is no trace to join.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
}

/// Links `span` to the span that `traceparent` names, for work that was caused by many others.
pub fn add_link(span: &Span, traceparent: &str) {
    if let Some(cause) = parse(traceparent) {
        span.add_link(cause);
    }
}

/// The span context that `traceparent` names: version 00, exact lengths, lower-case digits, no zero ids.
pub fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if version != "00"
        || parts.next().is_some()
        || !lower_hex(trace, 32)
        || !lower_hex(span, 16)
        || !lower_hex(flags, 2)
    {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_trace_parents_are_joined() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(parse(good).is_some());
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-ä-00f067aa0ba902b7-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
