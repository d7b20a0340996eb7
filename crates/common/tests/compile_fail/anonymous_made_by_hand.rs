//! An aggregate is anonymous only by the one reviewed way, with a threshold and noise.
fn main() {
    let _ = common::Anonymous(42_i64);
}
