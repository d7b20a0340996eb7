//! What a text from outside may not contain, whatever it says.

/// What is wrong with `text`.
pub fn fault(text: &str) -> Option<&'static str> {
    if text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t') {
        Some("has control characters")
    } else if text.chars().any(turns_text_around) {
        Some("has characters that turn the direction of text around")
    } else if has_active_markup(text) {
        Some("has markup that loads or runs something; texts are plain")
    } else {
        None
    }
}

/// Overrides and isolates of direction: they make a text read as another one. Letters bring their own direction.
fn turns_text_around(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Elements that load or run something where a text is shown by somebody who forgot to encode it. Texts are plain and every
/// page of ours encodes them: other angle brackets are just that, as in "cables < 2 m".
const ACTIVE: [&str; 17] = [
    "script", "iframe", "frame", "object", "embed", "applet", "style", "link", "meta", "base", "form", "input", "svg",
    "math", "template", "img", "video",
];

fn has_active_markup(text: &str) -> bool {
    text.split('<').skip(1).any(|rest| {
        let rest = rest.trim_start_matches('/');
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).take(10).collect();
        let inside = rest.split('>').next().unwrap_or_default().to_ascii_lowercase();
        // `<b onclick=…>`, `<a href="javascript:…">`
        let acts =
            !name.is_empty() && (inside.contains("javascript:") || inside.split_whitespace().skip(1).any(is_handler));
        ACTIVE.contains(&name.to_ascii_lowercase().as_str()) || acts
    })
}

fn is_handler(word: &str) -> bool {
    word.strip_prefix("on").and_then(|rest| rest.split_once('=')).is_some_and(|(event, _)| !event.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_would_run_or_read_as_another_are_refused_and_angle_brackets_are_not() {
        for hostile in [
            "<script>alert(1)</script>",
            "x <SCRIPT src=//evil>",
            "</style><p>",
            "<img src=x onerror=alert(1)>",
            "<b onclick=\"x\">",
            "<b\nONCLICK=x>",
            "<a href=\"javascript:x\">",
            "<svg/onload=x>",
            "abc\u{202e}cba",
            "nul\0",
        ] {
            assert!(fault(hostile).is_some(), "{hostile}");
        }
        for plain in [
            "cables < 2 m",
            "1<2 and 3>2",
            "I <3 it",
            "<b>bold</b>",
            "a << b",
            "on=off <x>",
            "two\nlines",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
        ] {
            assert_eq!(fault(plain), None, "{plain}");
        }
    }
}
