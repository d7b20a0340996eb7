//! Takes e-mails, phone numbers and card numbers out of a text before it leaves for Kafka, and finds card numbers where they
//! must be refused.
//!
//! Decided here: when in doubt, out. A part number that looks like a phone number is lost to statistics; a phone number that
//! looks like a part number would be kept. The rule for numbers: nine digits or more with at most two separators in a row,
//! or seven if they begin with `+` or `0`.

/// What stands in the place of something that was taken out.
pub const MARK: &str = "[redacted]";

/// Digits of a number that is taken out, and of one that begins like a phone number.
const NUMBER: usize = 9;
const PHONE: usize = 7;

/// Whether [`personal_data`] could find anything in `text`. Most texts have neither an @ nor digits enough, and need no copy.
pub fn may_hold_personal_data(text: &str) -> bool {
    text.chars().any(is_at) || text.chars().filter(|character| digit(*character).is_some()).count() >= PHONE
}

/// `text` without e-mails and long numbers.
pub fn personal_data(text: &str) -> String {
    without_numbers(&without_emails(text))
}

/// Whether a run of 13 to 19 digits, possibly with separators, passes the check digit rule of card numbers.
pub fn contains_card_number(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while let Some(run) = next_run(&characters, at) {
        if run.has_card_number() {
            return true;
        }
        at = run.end;
    }
    false
}

fn is_at(character: char) -> bool {
    matches!(character, '@' | '＠')
}

fn without_emails(text: &str) -> String {
    let parts: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    parts
        .into_iter()
        .map(|part| {
            let word = part.trim_end();
            let inside = word.char_indices().any(|(at, character)| {
                is_at(character) && at > 0 && !word[at..].chars().skip(1).collect::<String>().is_empty()
            });
            if inside { format!("{MARK}{}", &part[word.len()..]) } else { part.to_owned() }
        })
        .collect()
}

fn without_numbers(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(run) = next_run(&characters, at) {
        let enough = if run.begins_like_a_phone { PHONE } else { NUMBER };
        kept.extend(&characters[at..run.start]);
        if run.digits.len() >= enough {
            kept.push_str(MARK);
        } else {
            kept.extend(&characters[run.start..run.end]);
        }
        at = run.end;
    }
    kept.extend(&characters[at..]);
    kept
}

struct Run {
    start: usize,
    /// One past the last digit.
    end: usize,
    digits: Vec<u32>,
    /// Where in `digits` a group begins, that is, what stands after a separator.
    groups: Vec<usize>,
    begins_like_a_phone: bool,
}

impl Run {
    /// Whether whole groups next to each other make a card number: its parts stand together, and an expiry date may follow.
    fn has_card_number(&self) -> bool {
        let ends = || self.groups.iter().copied().skip(1).chain([self.digits.len()]);
        self.groups.iter().any(|start| {
            let candidates =
                ends().filter(|end| end.checked_sub(*start).is_some_and(|length| (13..=19).contains(&length)));
            candidates.map(|end| &self.digits[*start..end]).any(passes_check_digit)
        })
    }
}

/// The next run of digits at or after `from`; up to two separators between digits do not end it.
fn next_run(characters: &[char], from: usize) -> Option<Run> {
    let first = (from..characters.len()).find(|at| digit(characters[*at]).is_some())?;
    let plus = first > from && matches!(characters[first - 1], '+' | '＋');
    let mut run = Run {
        start: if plus { first - 1 } else { first },
        end: first,
        digits: Vec::new(),
        groups: vec![0],
        begins_like_a_phone: plus,
    };
    let mut separators = 0;
    for (at, character) in characters.iter().enumerate().skip(first) {
        if let Some(value) = digit(*character) {
            if separators > 0 {
                run.groups.push(run.digits.len());
            }
            run.digits.push(value);
            run.end = at + 1;
            separators = 0;
        } else if separators < 2 && is_separator(*character) {
            separators += 1;
        } else {
            break;
        }
    }
    run.begins_like_a_phone |= run.digits.first() == Some(&0);
    Some(run)
}

/// The value of a decimal digit of the scripts that keyboards write numbers in.
fn digit(character: char) -> Option<u32> {
    // ASCII, Arabic-Indic, extended Arabic-Indic, Devanagari, Bengali, Thai, full-width: ten in a row each.
    const ZEROS: [char; 7] = ['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}', '\u{ff10}'];
    ZEROS.iter().map(|zero| u32::from(character).wrapping_sub(u32::from(*zero))).find(|value| *value < 10)
}

fn is_separator(character: char) -> bool {
    character == ' '
        || character == '\u{a0}'
        || matches!(character, '-' | '.' | '/' | '(' | ')' | '\u{2010}'..='\u{2015}' | '_')
}

/// The check digit rule of card numbers (ISO/IEC 7812): from the right, every second digit counts double.
fn passes_check_digit(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, value)| match place % 2 {
            0 => *value,
            _ if *value > 4 => value * 2 - 9,
            _ => value * 2,
        })
        .sum();
    // All zeros would pass; no card is that.
    sum != 0 && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn personal_data_is_taken_out_and_the_rest_stays() {
        let cases = [
            ("red shoes 42", "red shoes 42"),
            ("ada@example.com shoes", "[redacted] shoes"),
            ("shoes for Ada.L＠example.com please", "shoes for [redacted] please"),
            ("@brand shoes", "@brand shoes"),
            ("call +49 30 1234567 now", "call [redacted] now"),
            ("030/1234567", "[redacted]"),
            ("(030) 123-4567", "([redacted]"),
            ("4111 1111 1111 1111", "[redacted]"),
            ("4111-1111-1111-1111 visa", "[redacted] visa"),
            ("４１１１１１１１１１１１１１１１", "[redacted]"),
            ("٠٣٠١٢٣٤٥٦٧", "[redacted]"),
            ("levis 501 2023", "levis 501 2023"),
            ("usb 3.2 10 gbps", "usb 3.2 10 gbps"),
            ("1920x1080 60hz", "1920x1080 60hz"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(personal_data(text), expected, "{text:?}");
        }
    }

    #[test]
    fn card_numbers_are_found_with_any_separator() {
        for text in [
            "4111111111111111",
            "my card: 5500-0000-0000-0004!",
            "3782 822463 10005",
            "x4111.1111.1111.1111x",
            "4111 1111 1111 1111 12/27",
            "no. 7 4111111111111111",
        ] {
            assert!(contains_card_number(text), "{text:?}");
        }
        for text in ["", "4111111111111112", "0000000000000000", "12345", "Main Street 12, 10115 Berlin"] {
            assert!(!contains_card_number(text), "{text:?}");
        }
    }

    #[test]
    fn a_text_with_a_number_of_a_model_is_not_suspected() {
        for text in ["iphone 15 pro", "mantel größe 42", "levis 501 2", "", "١٢٣"] {
            assert!(!may_hold_personal_data(text), "{text:?}");
        }
        for text in ["ada@example.com", "＠", "030 12345", "+491234567", "٠٣٠١٢٣٤٥٦٧"] {
            assert!(may_hold_personal_data(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_suspected_is_left_as_it_is(text in "[a-zä@＠0-9٠-٩+ .-]{0,40}") {
            if !may_hold_personal_data(&text) {
                prop_assert_eq!(personal_data(&text), text);
            }
        }

        #[test]
        fn no_email_and_no_long_number_survives(before in "[a-z ]{0,12}", after in "[a-z ]{0,12}", local in "[a-z.]{1,8}", number in "[1-9][0-9]{8,18}") {
            let text = format!("{before} {local}@example.com {after} {number}");
            let kept = personal_data(&text);
            prop_assert!(!kept.contains('@') && !kept.contains(&number), "{}", kept);
        }

        #[test]
        fn redaction_never_panics_and_is_stable(text in "\\PC{0,80}") {
            let once = personal_data(&text);
            prop_assert_eq!(personal_data(&once), once.clone());
            let _ = contains_card_number(&text);
        }
    }
}
