//! The program through rotations: an issuer whose keys change, and each kind of gateway after each run.

mod cluster;
mod edge;
mod files;
mod keycloak;
mod support;
