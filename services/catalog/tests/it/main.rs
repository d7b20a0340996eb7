//! The integration tests of the catalog, one binary. They need the servers that `./dev test` starts.

mod products;
mod stock;
