//! The page in the docs is the table's.

#[test]
fn the_page_of_the_saga_is_not_stale() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/saga.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == saga::page::page(),
        "docs/saga.md is stale; write it with: cargo run -p saga-monitor -- page > docs/saga.md"
    );
}
