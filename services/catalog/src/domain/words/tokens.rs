//! Where a word begins and ends, and which letters are one. The rules of Unicode for words as far as shop texts need them.

/// Letters kept of a word: longer ones are numbers or noise, and their beginnings tell them apart.
const LONGEST: usize = 64;

/// The words of a text in its order, in small letters.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let mut tokens = Vec::new();
    let mut token = String::new();
    for (at, letter) in letters.iter().copied().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at)).copied();
        let is_inside = !stands_alone(letter) && (letter.is_alphanumeric() || letter == '_' || is_mark(letter));
        if is_inside || joins(before, letter, letters.get(at + 1).copied()) {
            token.push(letter);
        } else {
            close(&mut token, &mut tokens);
            if stands_alone(letter) {
                tokens.push(letter.to_string());
            }
        }
    }
    close(&mut token, &mut tokens);
    tokens
}

fn close(token: &mut String, tokens: &mut Vec<String>) {
    let word = std::mem::take(token);
    if word.chars().any(char::is_alphanumeric) {
        tokens.push(word.chars().take(LONGEST).collect());
    }
}

/// Signs of writings that put no gaps between words, and pictures.
fn stands_alone(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{309f}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{1f300}'..='\u{1faff}')
}

/// A mark that stands behind its letter.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

/// `don't`, `a.b`, `39.6` and `1,000` are one word each.
fn joins(before: Option<char>, letter: char, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let letters = before.is_alphabetic() && after.is_alphabetic();
    let digits = before.is_numeric() && after.is_numeric();
    match letter {
        '\'' | '.' | '\u{2018}' | '\u{2019}' => letters || digits,
        ':' | '\u{b7}' => letters,
        ',' | ';' => digits,
        _ => false,
    }
}

/// A word in plain letters.
pub(super) fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for letter in word.chars().filter(|letter| !is_mark(*letter)) {
        match letter {
            'à'..='å' | 'ā' | 'ă' | 'ą' => folded.push('a'),
            'æ' => folded.push_str("ae"),
            'ç' | 'ć' | 'č' => folded.push('c'),
            'ď' | 'đ' | 'ð' => folded.push('d'),
            'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => folded.push('e'),
            'ğ' => folded.push('g'),
            'ì'..='ï' | 'ī' | 'į' | 'ı' => folded.push('i'),
            'ł' | 'ľ' => folded.push('l'),
            'ñ' | 'ń' | 'ň' => folded.push('n'),
            'ò'..='ö' | 'ø' | 'ō' | 'ő' => folded.push('o'),
            'œ' => folded.push_str("oe"),
            'ř' => folded.push('r'),
            'ś' | 'š' | 'ş' => folded.push('s'),
            'ß' => folded.push_str("ss"),
            'ť' => folded.push('t'),
            'ù'..='ü' | 'ū' | 'ů' | 'ű' => folded.push('u'),
            'ý' | 'ÿ' => folded.push('y'),
            'ź' | 'ż' | 'ž' => folded.push('z'),
            '\u{2018}' | '\u{2019}' => folded.push('\''),
            other => folded.push(other),
        }
    }
    folded
}

/// A German word without its umlauts, however they are written: `ae`, `oe` and `ue` are umlauts written out, but for the `ue` of
/// `queue` and `neue`.
pub(super) fn without_umlauts(word: &str) -> String {
    /// What came before.
    #[derive(PartialEq)]
    enum Before {
        Other,
        /// No umlaut can follow with `u`.
        Vowel,
        /// An `e` now makes it an umlaut.
        MayTurn,
    }
    let mut plain = String::with_capacity(word.len());
    let mut before = Before::Other;
    for letter in word.chars() {
        before = match letter {
            'a' | 'o' => Before::MayTurn,
            'u' if before == Before::Other => Before::MayTurn,
            'u' | 'i' | 'q' | 'y' | 'e' | 'ä' | 'ö' | 'ü' => {
                let is_mark_of_umlaut = letter == 'e' && before == Before::MayTurn;
                if is_mark_of_umlaut {
                    before = Before::Vowel;
                    continue;
                }
                Before::Vowel
            }
            _ => Before::Other,
        };
        match letter {
            'ä' => plain.push('a'),
            'ö' => plain.push('o'),
            'ü' => plain.push('u'),
            'ß' => plain.push_str("ss"),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_people_see_them_end() {
        for (text, expected) in [
            ("Rote Kopfhörer", "rote|kopfhörer"),
            ("TN-2110 39.6 cm, 1,000 Blatt.", "tn|2110|39.6|cm|1,000|blatt"),
            ("don't l'écran <b>tv</b>", "don't|l'écran|b|tv|b"),
            ("usb_stick x:y 1:2 _", "usb_stick|x:y|1|2"),
            ("ein. Zwei", "ein|zwei"),
            ("\u{1f3a7} 赤い", "\u{1f3a7}|赤|い"),
            ("!!! \u{0}", ""),
        ] {
            assert_eq!(tokens(text).join("|"), expected, "{text}");
        }
        assert_eq!(tokens(&"x".repeat(1000))[0].len(), LONGEST);
    }

    #[test]
    fn letters_with_marks_are_their_letters() {
        for (word, expected) in [("écouteurs", "ecouteurs"), ("kopfho\u{308}rer", "kopfhorer"), ("straße", "strasse")]
        {
            assert_eq!(fold(word), expected);
        }
        assert_eq!(fold("œuf"), "oeuf");
    }

    #[test]
    fn an_umlaut_may_be_written_out() {
        for (word, expected) in [
            ("kopfhoerer", "kopfhorer"),
            ("kopfhörer", "kopfhorer"),
            ("maentel", "mantel"),
            ("huelle", "hulle"),
            ("queue", "queue"),
            ("neue", "neue"),
            ("blaue", "blaue"),
            ("straße", "strasse"),
        ] {
            assert_eq!(without_umlauts(word), expected, "{word}");
        }
    }
}
