//! Tests of the tools: the rules of the architecture hold here and are seen when they break; processes and ports of a local stack.

mod bench;
mod cache;
mod deploy;
mod docs;
mod edge;
mod planted;
mod process;
mod realm;
mod repository;
mod test_run;
mod tidy;
