//! How ratings reorder results.
