//! Regional data opens only for somebody who says where he is.
fn main() {
    let total = common::Regional::new(common::Region::ALL[0], 42);
    let _ = total.value;
}
