//! A product and its revisions.
