//! Product changes on their way into the search index.
