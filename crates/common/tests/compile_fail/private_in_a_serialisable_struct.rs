//! A struct that is serialised cannot hold a name.
#[derive(serde::Serialize)]
struct Answer {
    name: common::Private<String>,
}

fn main() {}
