//! There is no way to open regional data that cannot fail.
fn main() {
    let total = common::Regional::new(common::Region::ALL[0], 42);
    let _: &i32 = total.open_in(common::Region::ALL[1]);
}
