//! Product revisions in MongoDB.
