//! Product changes as events. The full state of a revision travels, so that a reader needs no other event to
//! understand it; its number is the version, so that a reader can tell old from new.

mod sale;

use async_trait::async_trait;
use chassis::problem::chain;
use contracts::catalog::v1::{self, ProductChanged};
use messaging::{Outgoing, PublishError, Publisher};
use tracing::Instrument as _;

use crate::domain::product::{Attribute, Revision, Text};
use crate::usecases::ports::products::{FeedDown, ProductFeed, Telling};

/// Causes that a round of publishing is linked to; more make a trace unreadable.
const MAX_LINKS: usize = 20;

pub struct KafkaFeed(Publisher);

impl KafkaFeed {
    pub fn new(publisher: Publisher) -> Self {
        Self(publisher)
    }
}

#[async_trait]
impl ProductFeed for KafkaFeed {
    async fn publish(&self, revisions: &[Revision]) -> Result<Vec<Telling>, FeedDown> {
        let Some(newest) = revisions.iter().map(|revision| revision.changed_at).max() else { return Ok(Vec::new()) };
        let span = tracing::info_span!("product.publish", otel.kind = "producer", product.revisions = revisions.len());
        for traceparent in revisions.iter().filter_map(|revision| revision.traceparent.as_deref()).take(MAX_LINKS) {
            contracts::trace::add_link(&span, traceparent);
        }
        let events: Vec<Outgoing> =
            revisions.iter().map(|revision| Outgoing::new(changed(revision), revision.number)).collect();
        let sent = self.0.publish_each(&events, newest.timestamp_millis()).instrument(span).await;
        let sent = sent.map_err(|error| FeedDown(chain(&error)))?;
        Ok(sent.into_iter().map(telling).collect())
    }
}

fn telling(sent: Result<(), PublishError>) -> Telling {
    match sent {
        Ok(()) => Telling::Told,
        Err(error) if error.is_too_large() => Telling::TooLarge,
        Err(error) => Telling::Failed(FeedDown(chain(&error))),
    }
}

/// The event of a revision.
pub fn changed(revision: &Revision) -> ProductChanged {
    let empty = ProductChanged {
        sku: revision.sku().to_string(),
        revision: revision.number,
        deleted: true,
        changed_at_ms: revision.changed_at.timestamp_millis(),
        former_category: revision.moved_from.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..ProductChanged::default()
    };
    let Some(product) = revision.live() else { return empty };
    ProductChanged {
        deleted: false,
        family: product.family.code().to_owned(),
        category: product.category.to_string(),
        brand: product.brand.clone(),
        texts: product
            .texts
            .iter()
            .cloned()
            .map(|Text { language, name, description }| v1::LocalisedText { language, name, description })
            .collect(),
        prices: product.prices.usual().map(Into::into).collect(),
        attributes: product.attributes.iter().cloned().map(attribute).collect(),
        images: product.images.clone(),
        special_prices: product.prices.special().map(sale::special_price).collect(),
        offered: sale::offered(&product.assortment),
        variants: product.variants.iter().map(sale::variant).collect(),
        schema: product.schema,
        ..empty
    }
}

fn attribute(Attribute { key, value, unit }: Attribute) -> v1::Attribute {
    v1::Attribute { key, value, unit: unit.unwrap_or_default() }
}
