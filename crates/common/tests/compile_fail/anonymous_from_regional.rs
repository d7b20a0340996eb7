//! Regional data does not turn anonymous by a conversion.
fn main() {
    let total = common::Regional::new(common::Region::ALL[0], 42_i64);
    let _: common::Anonymous<i64> = total.into();
}
