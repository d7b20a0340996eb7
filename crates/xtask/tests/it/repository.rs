//! The repository itself keeps its rules.

#[test]
fn the_repository_keeps_the_rules_of_its_architecture() {
    let violations = xtask::tidy::check(&xtask::layout::checkout()).expect("the repository can be read");
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} broken rules:\n{}", lines.len(), lines.join("\n"));
}
