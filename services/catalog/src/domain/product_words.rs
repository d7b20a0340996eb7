//! What the words of a product say about it. Decided here, from words alone and for all products alike: which words of a name
//! tell what the thing *is* rather than what it is for, what counts as a number that somebody reads off a box, and which
//! attribute values are words at all. Not decided here: what each of it is worth in a search (`outbound/search/relevance.rs`).
//!
//! A *kind* is the last word of a run of plain words in a name: `data projector` is a projector, a `projector lamp` is a lamp.
//! French puts it first. What follows `for` and its like names what the thing goes with, and is never a kind.

use std::collections::BTreeSet;

use super::product::Product;

/// Kinds taken from one name; a name with more is a list, and says nothing by its order.
const MAX_KINDS: usize = 12;
/// Numbers kept of one product, and the longest: EANs have 13 digits, part numbers rarely more than 20 characters.
const MAX_NUMBERS: usize = 40;
const LONGEST_NUMBER: usize = 64;
/// A shorter mixture of letters and digits (`A4`, `USB3`) is a property of many products and the number of none.
const SHORTEST_NUMBER: usize = 5;

/// Words after which a name speaks of something else.
const BELONGS: &[&str] = &["for", "with", "compatible", "für", "mit", "passend", "kompatibel", "pour", "avec"];
/// Words that stand between things and are none.
const SMALL: &[&str] = &[
    "and", "the", "from", "und", "oder", "der", "die", "das", "aus", "von", "bei", "zum", "zur", "les", "des", "une",
    "sur", "sans", "par", "aux",
];
/// Colours stand behind the thing in names as if they were its kind.
const COLOURS: &[&str] = &[
    "black",
    "white",
    "grey",
    "gray",
    "silver",
    "red",
    "blue",
    "green",
    "yellow",
    "magenta",
    "cyan",
    "orange",
    "purple",
    "pink",
    "brown",
    "beige",
    "gold",
    "transparent",
    "multicolor",
    "multicolour",
    "metallic",
    "stainless",
    "original",
    "schwarz",
    "weiß",
    "weiss",
    "grau",
    "silber",
    "rot",
    "blau",
    "grün",
    "gelb",
    "lila",
    "rosa",
    "braun",
    "türkis",
    "noir",
    "noire",
    "blanc",
    "blanche",
    "gris",
    "argent",
    "rouge",
    "bleu",
    "bleue",
    "vert",
    "verte",
    "jaune",
    "violet",
    "rose",
    "marron",
];
/// Attributes whose values are numbers of the product itself.
const NUMBER_KEYS: &[&str] =
    &["ean", "gtin", "upc", "isbn", "mpn", "part_number", "part_no", "article_number", "model_number", "oem_code"];
/// Letters behind digits that make a measure of them: `39cm`, `1080p`, `512GB`.
const LONGEST_UNIT: usize = 3;

/// The kinds that a name tells, in the order of the name.
pub fn kinds(name: &str, language: &str) -> String {
    let first_of_run = language == "fr";
    let words: Vec<&str> = name.split([' ', '\t', ',', ';', '(', ')', '/', '|']).collect();
    let words = own(&words);
    let joins = |one: Option<&&str>, other: Option<&&str>| match (one, other) {
        // `notebook Black`, `cable Canon`: a capital behind a small letter begins something new.
        (Some(one), Some(other)) => is_plain(one) && is_plain(other) && (!is_small(one) || is_small(other)),
        _ => false,
    };
    let is_kind = |at: &usize| {
        is_plain(words[*at])
            && if first_of_run {
                *at == 0 || !joins(words.get(at - 1), words.get(*at))
            } else {
                !joins(words.get(*at), words.get(at + 1))
            }
    };
    let kinds: Vec<&str> = (0..words.len()).filter(is_kind).map(|at| words[at]).take(MAX_KINDS).collect();
    kinds.join(" ")
}

/// The words before the first that leads to something else.
fn own<'a, 'b>(words: &'a [&'b str]) -> &'a [&'b str] {
    let end = words.iter().position(|word| BELONGS.contains(&word.to_lowercase().as_str()));
    &words[..end.unwrap_or(words.len())]
}

/// A word of letters that names a thing: no code, no colour, no small word.
fn is_plain(word: &str) -> bool {
    let letters = word.chars().count();
    let spelled = word.chars().all(|letter| letter.is_alphabetic() || matches!(letter, '-' | '\''));
    let shouted = letters > 3 && word.chars().all(char::is_uppercase);
    let lower = word.to_lowercase();
    letters > 2 && spelled && !shouted && !COLOURS.contains(&lower.as_str()) && !SMALL.contains(&lower.as_str())
}

fn is_small(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_lowercase)
}

/// The numbers a product is known by: its SKU and those of its variants, what its attributes declare, and the codes in its names.
pub fn numbers(product: &Product) -> Vec<String> {
    let declared = product.attributes.iter().filter(|attribute| NUMBER_KEYS.contains(&attribute.key.as_str()));
    let declared = declared.flat_map(|attribute| attribute.value.split([' ', ',', ';'])).filter_map(number);
    let named = product.texts.iter().flat_map(|text| {
        let words: Vec<&str> = text.name.split_whitespace().collect();
        // A cartridge for a printer does not have the printer's number.
        own(&words).iter().filter_map(|word| code(word)).collect::<Vec<_>>()
    });
    let skus = [&product.sku].into_iter().chain(product.variants.iter().map(|variant| &variant.sku));
    let skus = skus.filter_map(|sku| number(sku.as_str()));
    let all: BTreeSet<String> = skus.chain(declared).chain(named).collect();
    all.into_iter().take(MAX_NUMBERS).collect()
}

/// A number as it is compared: letters and digits alone, in small letters. `TN-2110` and `tn 2110` are one. Without a digit it is
/// a word.
pub fn number(text: &str) -> Option<String> {
    let number: String = text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let has_digit = number.chars().any(|letter| letter.is_ascii_digit());
    (has_digit && number.chars().count() >= 3 && number.len() <= LONGEST_NUMBER).then_some(number)
}

/// A number that a word alone can be: long enough, of letters and digits or as long as an EAN, and no measure.
pub fn code(word: &str) -> Option<String> {
    let number = number(word)?;
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let rest = number.len() - digits;
    let is_measure =
        digits > 0 && rest <= LONGEST_UNIT && number[digits..].bytes().all(|byte| byte.is_ascii_lowercase());
    let is_long = digits == number.len() && digits >= 8;
    (number.len() >= SHORTEST_NUMBER && number.is_ascii() && (is_long || !is_measure)).then_some(number)
}

/// Whether a value is worth a search by words. Measures and switches are for filters, and would only make a product look longer.
pub fn is_wordy(value: &str) -> bool {
    let switch = ["yes", "no", "true", "false"].contains(&value.to_lowercase().as_str());
    let letters = |pair: &[char]| pair.iter().all(|letter| letter.is_alphabetic());
    !switch && value.chars().collect::<Vec<_>>().windows(2).any(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_told_from_what_it_is_for() {
        for (language, name, expected) in [
            // A maker that stands alone before a number looks like a kind of its own.
            ("en", "Acme vp6110 Digital Projector", "Acme Projector"),
            ("en", "Acme projector lamp 180 W", "lamp"),
            ("en", "Acme IdeaPad notebook Black 39.6 cm", "notebook"),
            ("en", "Acme 15 inch laptop bag for Brandname notebooks", "Acme bag"),
            ("en", "Acme toner cartridge Original Cyan 1 pc(s)", "cartridge"),
            ("en", "Red headphones", "headphones"),
            ("de", "Rote Kopfhörer mit Kabel", "Kopfhörer"),
            ("de", "Notebooktasche schwarz", "Notebooktasche"),
            ("fr", "Casque audio rouge", "Casque"),
            ("fr", "Sac pour ordinateur", "Sac"),
            ("en", "", ""),
            ("en", "123 / 456", ""),
        ] {
            assert_eq!(kinds(name, language), expected, "{name}");
        }
    }

    #[test]
    fn a_number_is_one_however_it_is_written() {
        for (text, expected) in [
            ("TN-2110", Some("tn2110")),
            ("4 006381 333931", Some("4006381333931")),
            ("C4935A", Some("c4935a")),
            ("toner", None),
            ("7", None),
        ] {
            assert_eq!(number(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_measure_is_nobodys_number() {
        for (word, expected) in [
            ("TN-2110", Some("tn2110")),
            ("SSDSA2MH080G2", Some("ssdsa2mh080g2")),
            ("4006381333931", Some("4006381333931")),
            ("1080p", None),
            ("512GB", None),
            ("39.6", None),
            ("USB3", None),
            ("20604", None),
            ("headphones", None),
        ] {
            assert_eq!(code(word).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn switches_and_measures_are_no_words() {
        for (value, expected) in
            [("red", true), ("Ni-MH", true), ("yes", false), ("No", false), ("27.5", false), ("5 W", false)]
        {
            assert_eq!(is_wordy(value), expected, "{value}");
        }
    }
}
