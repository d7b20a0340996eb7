//! A name cannot be compared with text by accident, which would tell about it.
fn main() {
    let name = common::Private::new("Ada");
    let _ = name == "Ada";
}
