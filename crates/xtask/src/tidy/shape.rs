//! How a file looks: it begins by saying what is decided in it, it can be read in one sitting, and it leaves no note of work undone.

use super::Violation;
use super::files::Source;

/// A file is one idea; nobody reads more in one sitting.
const MAX_LINES: usize = 600;
/// Marks of unfinished work, put together here so that this file does not carry them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimpl", "emented!(")];

/// Every fault of form in a file.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut report = |line: usize, rule: &'static str, message: String| {
        found.push(Violation { file: source.file.clone(), line, rule, message });
    };
    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    if !first.starts_with("//!") {
        report(1, "header", "a module begins with //! and says what is decided in it".to_owned());
    }
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        report(MAX_LINES + 1, "length", format!("{lines} lines; look for the second idea in it (at most {MAX_LINES})"));
    }
    for (at, line) in source.text.lines().enumerate() {
        if let Some(mark) = UNFINISHED.iter().find(|mark| line.contains(**mark)) {
            report(at + 1, "unfinished", format!("{mark} is no state to commit"));
        }
    }
    found
}
