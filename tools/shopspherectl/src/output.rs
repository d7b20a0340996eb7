//! How answers look: aligned columns for people, the region's own JSON for programs.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Chosen once, by `-o`.
#[derive(Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints the answer as it came; `true` when that was all that was wanted.
    pub fn as_json(self, answer: &Value) -> bool {
        if self.json {
            println!("{answer:#}");
        }
        self.json
    }
}

/// Columns as wide as their widest cell, two spaces between them, nothing behind the last.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count()))))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// A field as text: `-` for what is absent. Control characters of a foreign producer do not reach the terminal.
pub fn text(value: &Value) -> String {
    let raw = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    raw.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `3d4h`, `5m10s`, `7s`: two units are enough to judge by.
pub fn age(seconds: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let at = units.iter().position(|(length, _)| seconds >= *length).unwrap_or(units.len() - 1);
    let (length, name) = units[at];
    let first = format!("{}{name}", seconds / length);
    match units.get(at + 1) {
        Some((next, next_name)) if seconds % length / next > 0 => {
            format!("{first}{}{next_name}", seconds % length / next)
        }
        _ => first,
    }
}

/// A time without its fractions.
pub fn time(value: &Value) -> String {
    let parsed = value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
    parsed.map_or_else(|| text(value), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["bbb".to_owned(), String::new()]];
        assert_eq!(table(&["X", "Y"], &rows), "X    Y\na    long cell\nbbb");
    }

    #[test]
    fn an_age_has_two_units_at_most() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (310, "5m10s"), (3_600, "1h"), (273_600, "3d4h"), (86_401, "1d")]
        {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn what_could_move_a_cursor_is_replaced() {
        assert_eq!(text(&json!("a\u{1b}[2Jb")), "a\u{fffd}[2Jb");
        assert_eq!((text(&Value::Null).as_str(), text(&json!(7)).as_str()), ("-", "7"));
    }
}
