//! Documents are read one by one. One that cannot be read (a newer release wrote it before a roll-back, or somebody by hand) must not
//! hold up the others, so whoever works on the whole shop leaves it out. Each process tells the log of it and counts it once, by what it
//! is called and never by what it says. Whoever decides something by one product is told instead that it cannot be read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::Sku;
use mongodb::bson::{RawDocumentBuf, deserialize_from_slice};

use crate::domain::product::Revision;
use crate::metrics::UNREADABLE;
use crate::outbound::document::{Inconsistent, RevisionDocument};

/// More of them are one fault, which was told ten thousand times by then.
const MOST: usize = 10_000;

/// Documents that this process could not read, by their `_id`.
#[derive(Clone, Default)]
pub(super) struct Unreadable(Arc<Mutex<HashSet<String>>>);

impl Unreadable {
    pub(super) fn new() -> Self {
        // Whoever watches the series needs it before the first of them.
        UNREADABLE.with_label_values::<&str>(&[]).inc_by(0);
        Self::default()
    }

    /// How many were met so far.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The revision in `document`, or none and a word about it.
    pub(super) fn leave_out(&self, document: &RawDocumentBuf) -> Option<Revision> {
        match revision(document) {
            Ok(revision) => Some(revision),
            Err(Inconsistent { field, .. }) => {
                self.note(document, field);
                None
            }
        }
    }

    /// The SKU of `document`, or none and a word about it.
    pub(super) fn sku_of(&self, document: &RawDocumentBuf) -> Option<Sku> {
        let sku = document.get_str("sku").ok().and_then(|sku| Sku::parse(sku).ok());
        if sku.is_none() {
            self.note(document, "sku");
        }
        sku
    }

    fn note(&self, document: &RawDocumentBuf, field: &'static str) {
        let mut met = self.lock();
        if met.len() < MOST && met.insert(format!("{:?}", document.get("_id"))) {
            UNREADABLE.with_label_values::<&str>(&[]).inc();
            tracing::error!(
                product.sku = name(document),
                product.revision = number(document),
                field,
                "a document of the store cannot be read and is left out"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// # Errors
/// The document is no revision.
pub(super) fn revision(document: &RawDocumentBuf) -> Result<Revision, Inconsistent> {
    // What the decoder has to say quotes the document.
    let read: RevisionDocument = deserialize_from_slice(document.as_bytes()).map_err(|_| Inconsistent {
        sku: name(document).to_owned(),
        revision: number(document),
        field: "its shape",
    })?;
    Revision::try_from(read)
}

/// The SKU, where there is one.
fn name(document: &RawDocumentBuf) -> &str {
    document.get_str("sku").ok().filter(|sku| Sku::parse(sku).is_ok()).unwrap_or("?")
}

/// 0 where there is none.
fn number(document: &RawDocumentBuf) -> i64 {
    document.get_i64("revision").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};

    use super::*;

    fn written(sku: &str, with: &Document) -> RawDocumentBuf {
        let mut document = doc! {
            "_id": {"product": sku, "revision": 4_i64}, "sku": sku, "revision": 4_i64, "published": false, "deleted": true,
            "changed_at_ms": 5_i64,
        };
        document.extend(with.clone());
        RawDocumentBuf::try_from(document).unwrap()
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_counted_once() {
        let unreadable = Unreadable::new();
        let right = written("A", &doc! {});
        assert_eq!(unreadable.leave_out(&right).map(|revision| revision.number), Some(4));
        let of_tomorrow = written("B", &doc! {"deleted": "by tomorrow's release"});
        let contradiction = written("C", &doc! {"deleted": false});
        for document in [&of_tomorrow, &contradiction, &of_tomorrow] {
            assert_eq!(unreadable.leave_out(document), None);
        }
        assert_eq!(unreadable.count(), 2);
    }

    #[test]
    fn what_is_said_of_a_document_is_its_name_and_not_what_it_says() {
        let secret = written("B", &doc! {"deleted": "secret"});
        let said = revision(&secret).unwrap_err();
        assert_eq!(said, Inconsistent { sku: "B".to_owned(), revision: 4, field: "its shape" });
        let by_hand = written("no SKU at all, but a secret", &doc! {"deleted": "secret"});
        assert!(!revision(&by_hand).unwrap_err().to_string().contains("secret"));
    }
}
