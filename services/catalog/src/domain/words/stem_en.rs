//! What English words are bent to, after Porter's algorithm. A *measure* is how often a vowel is followed by a consonant in a
//! word's beginning: endings go only where enough of a word is left.

/// The word without its endings.
pub(super) fn stem(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() > 2 {
        plural(&mut letters);
        past(&mut letters);
        if letters.ends_with(&['y']) && has_vowel(&letters[..letters.len() - 1]) {
            replace(&mut letters, 1, "i");
        }
        first_that_ends(&mut letters, DOUBLE);
        first_that_ends(&mut letters, SINGLE);
        last_ending(&mut letters);
        final_letters(&mut letters);
    }
    letters.into_iter().collect()
}

type Rule = (&'static str, &'static str);

const DOUBLE: &[Rule] = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("logi", "log"),
];
const SINGLE: &[Rule] =
    &[("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];
const LAST: &[&str] = &[
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
];

fn ends(word: &[char], ending: &str) -> bool {
    let letters = ending.chars().count();
    word.len() >= letters && word[word.len() - letters..].iter().copied().eq(ending.chars())
}

/// What stands before that many letters.
fn before(word: &[char], letters: usize) -> &[char] {
    &word[..word.len() - letters.min(word.len())]
}

fn replace(word: &mut Vec<char>, letters: usize, instead: &str) {
    word.truncate(word.len() - letters.min(word.len()));
    word.extend(instead.chars());
}

fn first_that_ends(word: &mut Vec<char>, rules: &[Rule]) {
    if let Some((ending, instead)) = rules.iter().find(|(ending, _)| ends(word, ending))
        && measure(before(word, ending.len())) > 0
    {
        replace(word, ending.len(), instead);
    }
}

fn plural(word: &mut Vec<char>) {
    if ends(word, "sses") || ends(word, "ies") {
        replace(word, 2, "");
    } else if ends(word, "s") && !ends(word, "ss") {
        replace(word, 1, "");
    }
}

fn past(word: &mut Vec<char>) {
    if ends(word, "eed") {
        if measure(before(word, 3)) > 0 {
            replace(word, 1, "");
        }
        return;
    }
    let ending = if ends(word, "ed") {
        2
    } else if ends(word, "ing") {
        3
    } else {
        return;
    };
    if !has_vowel(before(word, ending)) {
        return;
    }
    replace(word, ending, "");
    if ends(word, "at") || ends(word, "bl") || ends(word, "iz") {
        replace(word, 0, "e");
    } else if ends_double(word) {
        if !matches!(word.last(), Some('l' | 's' | 'z')) {
            replace(word, 1, "");
        }
    } else if measure(word) == 1 && ends_short(word) {
        replace(word, 0, "e");
    }
}

fn last_ending(word: &mut Vec<char>) {
    let fits = |ending: &&&str| {
        let after_s_or_t = **ending != "ion" || matches!(before(word, 3).last(), Some('s' | 't'));
        ends(word, ending) && after_s_or_t
    };
    if let Some(ending) = LAST.iter().find(fits).map(|ending| ending.len())
        && measure(before(word, ending)) > 1
    {
        replace(word, ending, "");
    }
}

fn final_letters(word: &mut Vec<char>) {
    let whole = measure(word);
    if ends(word, "e") && (whole > 1 || (whole == 1 && !ends_short(before(word, 1)))) {
        replace(word, 1, "");
    }
    if ends(word, "l") && ends_double(word) && whole > 1 {
        replace(word, 1, "");
    }
}

fn is_consonant(word: &[char], at: usize) -> bool {
    match word.get(at) {
        Some('a' | 'e' | 'i' | 'o' | 'u') => false,
        // As in `toy`, not as in `syzygy`.
        Some('y') => at == 0 || !is_consonant(word, at - 1),
        _ => true,
    }
}

fn has_vowel(word: &[char]) -> bool {
    (0..word.len()).any(|at| !is_consonant(word, at))
}

fn measure(word: &[char]) -> usize {
    (1..word.len()).filter(|at| is_consonant(word, *at) && !is_consonant(word, at - 1)).count()
}

fn ends_double(word: &[char]) -> bool {
    matches!(word, [.., one, other] if one == other) && is_consonant(word, word.len() - 1)
}

/// Consonant, vowel, consonant, as `hop` ends.
fn ends_short(word: &[char]) -> bool {
    let end = word.len();
    end > 2
        && is_consonant(word, end - 3)
        && !is_consonant(word, end - 2)
        && is_consonant(word, end - 1)
        && !matches!(word.last(), Some('w' | 'x' | 'y'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_word_are_one() {
        for (word, expected) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("cats", "cat"),
            ("agreed", "agre"),
            ("hopping", "hop"),
            ("filing", "file"),
            ("failing", "fail"),
            ("sized", "size"),
            ("happy", "happi"),
            ("sky", "sky"),
            ("relational", "relat"),
            ("digitizer", "digit"),
            ("hopefulness", "hope"),
            ("electrical", "electr"),
            ("adjustment", "adjust"),
            ("adoption", "adopt"),
            ("controlling", "control"),
            ("headphones", "headphon"),
            ("headphone", "headphon"),
            ("batteries", "batteri"),
            ("battery", "batteri"),
            ("tv", "tv"),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }
}
