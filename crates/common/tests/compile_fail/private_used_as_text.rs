//! A name is not text until somebody opens it by name.
fn main() {
    let name = common::Private::new(String::from("Ada"));
    let _: &str = &name;
}
