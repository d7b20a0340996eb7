//! A plain number has no proof that enough people are in it.
fn send_to_headquarters(_: common::Anonymous<i64>) {}

fn main() {
    send_to_headquarters(42_i64);
}
