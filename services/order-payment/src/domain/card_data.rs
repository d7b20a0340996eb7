//! Card numbers must never be stored or logged: what looks like one is refused wherever a text may stand.
//!
//! Decided here: 13 to 19 digits, single spaces, dots or hyphens between them, with a right check digit (Luhn). Not decided
//! here: what happens then; the refusal must not repeat the text.

/// Digits of payment card numbers (ISO/IEC 7812).
const SHORTEST: usize = 13;
const LONGEST: usize = 19;

/// Whether `text` contains something that looks like a card number.
pub fn looks_like_card_data(text: &str) -> bool {
    runs(text).iter().any(|run| {
        if run.len() <= LONGEST {
            // The whole run: parts of a longer number pass the check by chance one time in ten.
            run.len() >= SHORTEST && luhn(run)
        } else {
            // Nothing on a label has that many digits; a card number hidden between others is still one.
            (SHORTEST..=LONGEST).any(|length| run.windows(length).any(luhn))
        }
    })
}

/// Runs of digits, with single separators dropped. Full-width digits count as what they look like.
fn runs(text: &str) -> Vec<Vec<u32>> {
    let mut runs = vec![Vec::new()];
    let mut separated = false;
    for letter in text.chars() {
        let digit = letter.to_digit(10).or_else(|| (u32::from(letter)).checked_sub(0xFF10).filter(|digit| *digit < 10));
        match digit {
            Some(digit) => {
                if let Some(run) = runs.last_mut() {
                    run.push(digit);
                }
                separated = false;
            }
            None if matches!(letter, ' ' | '-' | '.' | '\u{a0}') && !separated => separated = true,
            None => {
                runs.push(Vec::new());
                separated = false;
            }
        }
    }
    runs
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_seen_in_any_dress() {
        for text in [
            "4242424242424242",
            "my card 4242 4242 4242 4242 please",
            "4242-4242-4242-4242",
            "x5555555555554444y",
            "378282246310005",
            "6011.1111.1111.1117",
            "４２４２４２４２４２４２４２４２",
            "0000111122224242424242424242",
        ] {
            assert!(looks_like_card_data(text), "{text}");
        }
    }

    #[test]
    fn ordinary_numbers_pass() {
        for text in [
            "",
            "60313",
            "Zeil 106, 4. Stock",
            "+49 69 1234567",
            "4242424242424241",
            "tok_ok",
            "1234  5678  9012  3456",
            "2024-11-25",
        ] {
            assert!(!looks_like_card_data(text), "{text}");
        }
    }
}
