//! The lists of words, one file for each language, read once for each process.
//!
//! A file has sections: `[small]` words that are never looked for, `[elided]` what is cut off before an apostrophe, `[same]` groups of
//! the same meaning, one a line, `[parts]` what compounds are made of.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::Tongue;

const DE: &str = include_str!("../../../../../migrations/catalog/elasticsearch/words/de.txt");
const FR: &str = include_str!("../../../../../migrations/catalog/elasticsearch/words/fr.txt");
const EN: &str = include_str!("../../../../../migrations/catalog/elasticsearch/words/en.txt");

static ALL: LazyLock<[Lists; 3]> = LazyLock::new(|| [Lists::read(DE), Lists::read(FR), Lists::read(EN)]);

/// The words of a language that are more than letters.
#[derive(Debug, Default)]
pub struct Lists {
    pub small: HashSet<&'static str>,
    pub elided: Vec<&'static str>,
    /// Groups of the same meaning, their members parted by commas.
    pub same: Vec<&'static str>,
    pub parts: HashSet<&'static str>,
}

/// How compounds are taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Compounds;

impl Compounds {
    /// A shorter word is no compound.
    pub const SHORTEST_WORD: usize = 6;
    /// Two letters are part of too many words.
    pub const SHORTEST_PART: usize = 3;
    pub const LONGEST_PART: usize = 15;
}

pub fn lists(tongue: Tongue) -> &'static Lists {
    let [de, fr, en] = &*ALL;
    match tongue {
        Tongue::De => de,
        Tongue::Fr => fr,
        Tongue::En => en,
    }
}

impl Lists {
    fn read(file: &'static str) -> Self {
        let mut lists = Self::default();
        let mut section = "";
        for line in file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match (section, line) {
                (_, "[small]" | "[elided]" | "[same]" | "[parts]") => section = line,
                ("[small]", words) => lists.small.extend(words.split_whitespace()),
                ("[elided]", words) => lists.elided.extend(words.split_whitespace()),
                ("[same]", group) => lists.same.push(group),
                ("[parts]", words) => lists.parts.extend(words.split_whitespace()),
                _ => {}
            }
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_lists() {
        let counted = |tongue: Tongue| {
            let lists = lists(tongue);
            [lists.small.len(), lists.elided.len(), lists.same.len(), lists.parts.len()].map(|count| count > 0)
        };
        assert_eq!(counted(Tongue::De), [true, false, true, true]);
        assert_eq!(counted(Tongue::Fr), [true, true, true, false]);
        assert_eq!(counted(Tongue::En), [true, false, true, false]);
        assert!(lists(Tongue::De).parts.contains("mantel") && lists(Tongue::En).same.contains(&"laptop, notebook"));
    }

    #[test]
    fn a_part_is_written_as_it_is_compared() {
        for part in &lists(Tongue::De).parts {
            let letters = part.chars().count();
            assert!(part.bytes().all(|byte| byte.is_ascii_lowercase()), "{part}");
            assert!((Compounds::SHORTEST_PART..=Compounds::LONGEST_PART).contains(&letters), "{part}");
        }
    }

    #[test]
    fn a_group_has_at_least_two_members() {
        for tongue in Tongue::ALL {
            for group in &lists(tongue).same {
                assert!(group.split(',').filter(|member| !member.trim().is_empty()).count() > 1, "{group}");
            }
        }
    }
}
