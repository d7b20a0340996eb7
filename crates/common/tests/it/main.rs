//! What must not compile: the ways by which personal data could leave by accident.

/// Each file in `tests/compile_fail` tries one way out; its `.stderr` is the refusal. A way that starts to compile fails here.
#[test]
fn no_accident_lets_personal_data_out() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
