//! A name does not become JSON.
fn main() {
    let name = common::Private::new(String::from("Ada"));
    let _ = serde_json::to_string(&name);
}
