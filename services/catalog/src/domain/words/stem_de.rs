//! What German words are bent to, after Savoy's light stemming: endings of cases and plurals, then of comparison. Words come without
//! umlauts.

/// The word without its endings.
pub(super) fn stem(word: &str) -> String {
    let letters: Vec<char> = word.chars().collect();
    let without_case = without_case(&letters);
    without_comparison(without_case).iter().collect()
}

fn without_case(word: &[char]) -> &[char] {
    match word {
        [rest @ .., 'e', 'r', 'n'] if word.len() > 5 => rest,
        [rest @ .., 'e', 'm' | 'n' | 'r' | 's'] if word.len() > 4 => rest,
        [rest @ .., 'e'] if word.len() > 3 => rest,
        [rest @ .., 's'] if word.len() > 3 && rest.last().is_some_and(|last| takes_s_or_st(*last)) => rest,
        _ => word,
    }
}

fn without_comparison(word: &[char]) -> &[char] {
    match word {
        [rest @ .., 'e', 's', 't'] if word.len() > 5 => rest,
        [rest @ .., 'e', 'r' | 'n'] if word.len() > 4 => rest,
        [rest @ .., 's', 't'] if word.len() > 4 && rest.last().is_some_and(|last| takes_s_or_st(*last)) => rest,
        _ => word,
    }
}

fn takes_s_or_st(letter: char) -> bool {
    matches!(letter, 'b' | 'd' | 'f' | 'g' | 'h' | 'k' | 'l' | 'm' | 'n' | 't')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_word_are_one() {
        for (word, expected) in [
            ("kopfhorer", "kopfhor"),
            ("kopfhorern", "kopfhor"),
            ("mantel", "mantel"),
            ("mantels", "mantel"),
            ("rote", "rot"),
            ("roten", "rot"),
            ("roter", "rot"),
            ("schuhe", "schuh"),
            ("schuhen", "schuh"),
            ("kleinsten", "klein"),
            ("uhr", "uhr"),
            ("tv", "tv"),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }
}
