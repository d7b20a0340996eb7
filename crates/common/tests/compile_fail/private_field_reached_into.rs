//! The value inside cannot be reached without `open`.
fn main() {
    let name = common::Private::new(String::from("Ada"));
    let _ = name.0;
}
