//! What must stay in its region does not become JSON.
fn main() {
    let total = common::Regional::new(common::Region::ALL[0], 42);
    let _ = serde_json::to_string(&total);
}
