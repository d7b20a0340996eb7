//! Words as the stand-in compares them. Decided here: what a word is, and which spellings are one. Small letters without their
//! marks, and the German ways of writing an umlaut as one; no language is known here, so nothing is bent or translated.

/// Letters kept of a word: longer ones are numbers or noise, and their beginnings tell them apart.
const LONGEST: usize = 32;
/// A shorter word begins too many others to be looked for by its beginning.
const SHORTEST_BEGINNING: usize = 3;
/// From this length on a final `s` is taken for a plural.
const SHORTEST_PLURAL: usize = 5;

/// The words of a text, in its order.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter: char| !letter.is_alphanumeric() && !is_mark(letter)).map(fold).filter(|word| !word.is_empty())
}

/// What a word of the product begins with when it fits `word`; `None`: only the word itself fits.
pub(super) fn beginning(word: &str) -> Option<&str> {
    let letters = word.chars().count();
    let singular = word.strip_suffix('s').filter(|_| letters >= SHORTEST_PLURAL);
    (letters >= SHORTEST_BEGINNING).then_some(singular.unwrap_or(word))
}

/// A text as it is compared where it is not taken apart.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len().min(LONGEST));
    for letter in text.chars().flat_map(char::to_lowercase).filter(|letter| !is_mark(*letter)).take(LONGEST) {
        match letter {
            'à'..='å' | 'ā' | 'ă' | 'ą' => folded.push('a'),
            'æ' => folded.push('a'),
            'ç' | 'ć' | 'č' => folded.push('c'),
            'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => folded.push('e'),
            'ì'..='ï' | 'ī' | 'į' => folded.push('i'),
            'ñ' | 'ń' => folded.push('n'),
            'ò'..='ö' | 'ø' | 'ō' | 'ő' | 'œ' => folded.push('o'),
            'ś' | 'š' => folded.push('s'),
            'ß' => folded.push_str("ss"),
            'ù'..='ü' | 'ū' | 'ů' | 'ű' => folded.push('u'),
            'ý' | 'ÿ' => folded.push('y'),
            'ź' | 'ż' | 'ž' => folded.push('z'),
            'e' if is_umlaut_so_far(&folded) => {}
            other => folded.push(other),
        }
    }
    folded
}

/// `ae`, `oe` and `ue` are umlauts written out, but for the `ue` of `queue` and `neue`.
fn is_umlaut_so_far(folded: &str) -> bool {
    let mut before = folded.chars().rev();
    match before.next() {
        Some('a' | 'o') => true,
        Some('u') => !matches!(before.next(), Some('a' | 'e' | 'i' | 'o' | 'u' | 'q')),
        _ => false,
    }
}

/// A mark that stands behind its letter.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_word_are_one() {
        for (text, expected) in [
            ("Rote Kopfhörer", "rote kopfhorer"),
            ("KOPFHOERER", "kopfhorer"),
            ("kopfho\u{308}rer", "kopfhorer"),
            ("Straße", "strasse"),
            ("queue neue", "queue neue"),
            ("écouteurs-filaires", "ecouteurs filaires"),
            ("TN-2110", "tn 2110"),
            ("<b>tv</b>", "b tv b"),
            ("!!! \u{1f3a7}", ""),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>().join(" "), expected, "{text}");
        }
        assert_eq!(words(&"x".repeat(1000)).map(|word| word.len()).collect::<Vec<_>>(), [LONGEST]);
    }

    #[test]
    fn a_plural_is_looked_for_by_its_singular_and_a_short_word_by_itself() {
        for (word, expected) in
            [("headphones", Some("headphone")), ("bus", Some("bus")), ("tv", None), ("toner", Some("toner"))]
        {
            assert_eq!(beginning(word), expected, "{word}");
        }
    }
}
