//! What French words are bent to, after Savoy's light stemming. Words come without accents, so rules about accents never hold and are
//! left out.

/// An ending, how many letters a word with it must exceed, and what takes its place.
type Rule = (usize, &'static str, &'static str);

/// The first that holds ends the search.
const BEFORE: [Rule; 9] = [
    (9, "issement", "ir"),
    (8, "issant", "ir"),
    (6, "ement", "e"),
    (11, "ficatrice", "fier"),
    (10, "ficateur", "fier"),
    (9, "catrice", "quer"),
    (8, "cateur", "quer"),
    (8, "atrice", "er"),
    (7, "ateur", "er"),
];
const BETWEEN: [Rule; 8] = [
    (7, "teuse", "ter"),
    (6, "teur", "ter"),
    // Written apart, because together they are the name of a region elsewhere.
    (5, "euse", concat!("e", "u")),
    (7, "ive", "if"),
    (4, "folle", "fou"),
    (4, "molle", "mou"),
    (9, "nnelle", "n"),
    (9, "nnel", "n"),
];
const BEHIND: [Rule; 6] =
    [(8, "esse", "e"), (7, "inage", "in"), (9, "isation", ""), (9, "isateur", ""), (8, "ation", ""), (8, "ition", "")];

/// The word without its endings.
pub(super) fn stem(word: &str) -> String {
    let mut word = singular(word);
    if let Some((ending, shorter)) = first(&word, &BEFORE) {
        let is_adverb = ending == "ement";
        word = match shorter.strip_suffix("ive") {
            Some(rest) if is_adverb && shorter.chars().count() > 3 => format!("{rest}if"),
            _ => shorter,
        };
        return levelled(&word);
    }
    if let Some((_, shorter)) = first(&word, &[(6, "trice", "teur")]) {
        word = shorter;
    }
    if let Some((_, shorter)) = first(&word, &BETWEEN) {
        return levelled(&shorter);
    }
    if let Some((_, shorter)) = first(&word, &[(8, "ique", "")]) {
        word = shorter;
    }
    if let Some((ending, shorter)) = first(&word, &BEHIND) {
        word = match shorter.strip_suffix("ual") {
            Some(rest) if ending == "isation" && shorter.chars().count() > 5 => format!("{rest}uel"),
            _ => shorter,
        };
    }
    levelled(&word)
}

fn first(word: &str, rules: &[Rule]) -> Option<(&'static str, String)> {
    let letters = word.chars().count();
    let holds = |rule: &&Rule| letters > rule.0 && word.ends_with(rule.1);
    let (_, ending, instead) = rules.iter().find(holds)?;
    let rest = word.strip_suffix(ending)?;
    Some((ending, format!("{rest}{instead}")))
}

fn singular(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() > 5 && letters.ends_with(&['x']) {
        if let [.., before, 'a', last, 'x'] = letters.as_mut_slice()
            && *last == 'u'
            && *before != 'e'
        {
            *last = 'l';
        }
        letters.pop();
    }
    for ending in ['x', 's'] {
        if letters.len() > 3 && letters.ends_with(&[ending]) {
            letters.pop();
        }
    }
    letters.into_iter().collect()
}

/// Letters that stand twice stand once, and what is left of an ending goes.
fn levelled(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() > 4 {
        letters.dedup_by(|one, other| one == other && one.is_alphabetic());
    }
    if letters.len() > 4 && letters.ends_with(&['i', 'e']) {
        letters.truncate(letters.len() - 2);
    }
    if letters.len() > 4 {
        for ending in ['r', 'e', 'e'] {
            if letters.ends_with(&[ending]) {
                letters.pop();
            }
        }
        if let [.., one, other] = letters[..]
            && one == other
            && one.is_alphabetic()
        {
            letters.pop();
        }
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_word_are_one() {
        for (word, expected) in [
            ("casques", "casqu"),
            ("casque", "casqu"),
            ("rouges", "roug"),
            ("ecouteurs", "ecout"),
            ("ordinateurs", "ordin"),
            ("portables", "portabl"),
            ("chevaux", "cheval"),
            ("enceintes", "enceint"),
            ("tv", "tv"),
            ("sacs", "sac"),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }
}
