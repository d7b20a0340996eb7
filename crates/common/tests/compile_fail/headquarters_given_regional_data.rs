//! What may leave the region takes anonymous data only.
fn send_to_headquarters(_: common::Anonymous<i64>) {}

fn main() {
    send_to_headquarters(common::Regional::new(common::Region::ALL[0], 42_i64));
}
