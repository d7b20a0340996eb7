//! Stock in PostgreSQL.
