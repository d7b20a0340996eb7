//! One trace shows a whole order: the request, the event, the payment worker, the calls to the gateway.

use std::sync::{Arc, Mutex};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use order_payment::domain::OrderStatus;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::crashes::{deliver, reserved};
use crate::world::{World, a_key, an_order, shopper};

#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

async fn last_traceparent(world: &World) -> String {
    sqlx::query_scalar("SELECT traceparent FROM outbox ORDER BY seq DESC LIMIT 1")
        .fetch_one(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_trace_of_an_order_goes_from_the_request_to_the_gateway_and_the_last_event() {
    let collector = Collector::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(collector.clone()).build();
    let subscriber =
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
    // For the whole binary: a subscriber of one thread is overlooked at places that other tests have passed before.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let world = World::in_postgres().await;

    let (me, request) = (shopper(), tracing::info_span!("request"));
    let placed = world.place(me, &a_key(), an_order()).instrument(request.clone()).await.unwrap();
    let trace = contracts::trace::traceparent_of(&request).unwrap()[3..35].to_owned();
    drop(request);
    let created = last_traceparent(&world).await;
    assert_eq!(created[3..35], trace, "OrderCreated carries the trace of the request");

    // The catalog answers within the same trace; the consumer makes its span from the header.
    let handled = tracing::info_span!("event.handle");
    contracts::trace::set_parent(&handled, &created);
    deliver(&world, &reserved(placed.order)).instrument(handled).await;
    // The worker has no trace of its own: it goes on with the order's.
    world.pay().await;
    assert_eq!(world.status(placed.order).await, OrderStatus::Completed);
    assert_eq!(last_traceparent(&world).await[3..35], trace, "OrderCompleted carries it on");

    provider.force_flush().unwrap();
    let spans = collector.0.lock().unwrap().clone();
    let of_the_trace: Vec<_> = spans.iter().filter(|span| span.span_context.trace_id().to_string() == trace).collect();
    let find = |name: &str| {
        *of_the_trace
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no span {name}: {of_the_trace:?}"))
    };
    assert_eq!(find("order.place").parent_span_id, find("request").span_context.span_id());
    assert_eq!(find("payment.process").parent_span_id, find("event.handle").span_context.span_id());
    assert_eq!(
        of_the_trace.iter().filter(|span| span.name == "payment.process").count(),
        1,
        "one run carried the whole payment"
    );
}
