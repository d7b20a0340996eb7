use common::ids;

use super::*;

fn names(list: &[(&str, &str)]) -> Names {
    Names::check(list.iter().map(|(language, name)| ((*language).to_owned(), (*name).to_owned())).collect()).unwrap()
}

fn change(number: i64, key: &str, names: Names) -> LabelRevision {
    let (key, changed_at) = (LabelKey::parse(key).unwrap(), DateTime::from_timestamp_millis(number).unwrap());
    LabelRevision { number, key, names, changed_at, changed_by: UserId::from_uuid(ids::random()) }
}

fn book(list: &[(&str, &[(&str, &str)])]) -> LabelBook {
    let mut book = LabelBook::default();
    for (key, said) in list {
        book.follow(change(book.number() + 1, key, names(said))).unwrap();
    }
    book
}

#[test]
fn a_reader_sees_the_name_of_their_language_else_the_regions_first_else_the_key_in_words() {
    let book = book(&[
        ("/audio", &[("de", "Ton"), ("en", "Sound"), ("fr", "Son")]),
        ("/audio/head_phones", &[("de", "Kopfhörer")]),
        ("/toys", &[("fr", "Jouets")]),
        ("audio", &[("de", "Anschluss")]),
        ("screen_size", &[("en", "Screen, in inches")]),
    ]);
    for (region, language, path, expected) in [
        (Region::Eu, "de", "audio", "Ton"),
        (Region::Eu, "en", "audio", "Sound"),
        (Region::Eu, "fr", "audio", "Son"),
        (Region::Us, "en", "audio", "Sound"),
        // German is the first language of the one region, and none of the other.
        (Region::Eu, "fr", "audio/head_phones", "Kopfhörer"),
        (Region::Us, "en", "audio/head_phones", "Head phones"),
        // Nobody has said it in a language that a German reader of this region is shown.
        (Region::Eu, "de", "toys", "Toys"),
        (Region::Eu, "en", "toys", "Toys"),
        (Region::Eu, "fr", "toys", "Jouets"),
        (Region::Eu, "de", "audio/cables", "Cables"),
        (Region::Eu, "de", "", ""),
    ] {
        let reader = Reader { language, region, book: &book };
        assert_eq!(reader.category(path), expected, "{language} in {region:?}: {path}");
    }
    let reader = Reader { language: "fr", region: Region::Eu, book: &book };
    assert_eq!(
        (reader.attribute("audio"), reader.facet("attr.audio")),
        ("Anschluss".to_owned(), "Anschluss".to_owned())
    );
    assert_eq!(reader.attribute("screen_size"), "Screen size", "an English name is no help to a French reader");
    let english = Reader { language: "en", ..reader };
    assert_eq!(
        (english.attribute("screen_size"), english.attribute("weight")),
        ("Screen, in inches".to_owned(), "Weight".to_owned())
    );
}

#[test]
fn every_facet_that_every_shop_has_is_called_something_in_every_language() {
    let nobody_wrote = LabelBook::default();
    for (facet, names) in BUILT_IN {
        assert_eq!(names.iter().map(|(language, _)| *language).collect::<BTreeSet<_>>(), languages(), "{facet}");
        assert!(names.iter().all(|(_, name)| fault(name).is_none()), "{facet}");
    }
    for (language, facet, expected) in [
        ("de", "category", "Kategorie"),
        ("en", "brand", "Brand"),
        ("fr", "price", "Prix"),
        ("de", "availability", "Verfügbarkeit"),
        ("xx", "family", "Produktart"),
        ("de", "attr.brand", "Brand"),
        ("de", "something_new", "Something new"),
    ] {
        let reader = Reader { language, region: Region::Eu, book: &nobody_wrote };
        assert_eq!(reader.facet(facet), expected, "{language}: {facet}");
    }
}

#[test]
fn only_what_a_product_can_have_gets_a_name() {
    let too_long = vec!["a".repeat(64); 4].join("/");
    for (kind, text, key) in [
        (Nameable::Category, "audio/head-phones", Some("/audio/head-phones")),
        (Nameable::Attribute, "screen_size", Some("screen_size")),
        // An attribute and a category of one name are two things.
        (Nameable::Category, "audio", Some("/audio")),
        (Nameable::Attribute, "audio", Some("audio")),
        (Nameable::Attribute, "/audio", None),
        (Nameable::Attribute, "a/b", None),
        (Nameable::Attribute, "$set", None),
        (Nameable::Attribute, "__proto__", None),
        (Nameable::Attribute, "", None),
        (Nameable::Category, "", None),
        (Nameable::Category, "/audio", None),
        (Nameable::Category, "audio/", None),
        (Nameable::Category, "../etc", None),
        (Nameable::Category, "Audio", None),
        (Nameable::Category, "a/b/c/d/e/f", None),
        (Nameable::Category, too_long.as_str(), None),
    ] {
        let found = kind.key(text);
        assert_eq!(found.as_ref().ok().map(LabelKey::as_str), key, "{text}");
        if let Ok(found) = found {
            assert_eq!((found.kind(), found.bare()), (kind, text));
            assert_eq!(LabelKey::parse(found.as_str()), Ok(found));
        }
    }
}

#[test]
fn a_name_is_one_short_line_of_plain_text_in_a_language_of_the_shop() {
    let longest = "ü".repeat(MAX_NAME);
    for good in ["Handys", "Hi-Fi & Audio", "Größe (EU)", "\u{643}\u{62a}\u{628}", longest.as_str()] {
        assert_eq!(names(&[("de", good)]).of("de"), Some(good));
    }
    let too_long = "x".repeat(MAX_NAME + 1);
    for (language, name, place) in [
        ("de", "", "/labels/de"),
        ("de", " ", "/labels/de"),
        ("fr", "Son ", "/labels/fr"),
        ("en", "two\nlines", "/labels/en"),
        ("en", "a\ttab", "/labels/en"),
        ("en", "nul\0", "/labels/en"),
        ("en", "<b>bold</b>", "/labels/en"),
        ("en", "cables < 2 m", "/labels/en"),
        ("de", "abc\u{202e}cba", "/labels/de"),
        ("de", too_long.as_str(), "/labels/de"),
        ("DE", "Ton", "/labels"),
        ("de-AT", "Ton", "/labels"),
        ("", "Ton", "/labels"),
        ("xx", "Ton", "/labels"),
    ] {
        let faults = Names::check([(language.to_owned(), name.to_owned())].into()).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, [place], "{language}: {name:?}");
    }
    let unknown = Names::check([("xx".to_owned(), "Ton".to_owned())].into()).unwrap_err().remove(0).message;
    assert!(unknown.ends_with("de, en, fr"), "{unknown}");
    assert_eq!(Names::check(BTreeMap::new()).unwrap_err()[0].pointer, "/labels");
    // However many there are, one fault tells of the languages that nobody knows.
    let many = (0..1_000).map(|number| (format!("x{number}"), String::new())).collect();
    assert_eq!(Names::check(many).unwrap_err().len(), 1);
}

#[test]
fn names_follow_the_log_and_nothing_else() {
    let key = LabelKey::parse("/audio").unwrap();
    let (first, second) = (names(&[("de", "Ton")]), names(&[("de", "Klang"), ("en", "Sound")]));
    let mut book = LabelBook::default();
    assert_eq!(book.step_to(&key, &Names::default()), Err(StepProblem::NotThere));
    assert_eq!(book.step_to(&key, &first), Ok(Step::Next { number: 1, created: true }));
    book.follow(change(1, "/audio", first.clone())).unwrap();
    assert_eq!(book.step_to(&key, &first), Ok(Step::Unchanged { revision: 1 }));
    assert_eq!(book.step_to(&key, &second), Ok(Step::Next { number: 2, created: false }));
    for number in [-1, 0, 1, 3] {
        assert_eq!(book.clone().follow(change(number, "/audio", second.clone())), Err(Gap { known: 1, found: number }));
    }
    book.follow(change(2, "weight", second.clone())).unwrap();
    book.follow(change(3, "/audio", second)).unwrap();
    assert_eq!(book.find(&key).map(|revision| revision.number), Some(3));
    let keys = |kind| book.all(kind).map(|revision| revision.key.as_str()).collect::<Vec<_>>();
    assert_eq!((keys(Nameable::Category), keys(Nameable::Attribute)), (vec!["/audio"], vec!["weight"]));
    book.follow(change(4, "/audio", Names::default())).unwrap();
    assert_eq!((book.find(&key), book.number()), (None, 4));
}

#[test]
fn there_is_a_limit_to_what_has_names_and_none_to_how_often_they_change() {
    let mut book = LabelBook::default();
    let name = names(&[("en", "Name")]);
    for number in 1..=i64::try_from(MOST_NAMED).unwrap() {
        book.follow(change(number, &format!("k{number}"), name.clone())).unwrap();
    }
    let (known, new) = (LabelKey::parse("k1").unwrap(), LabelKey::parse("one-more").unwrap());
    assert_eq!(book.step_to(&new, &name), Err(StepProblem::TooMany));
    assert!(book.step_to(&known, &names(&[("en", "Other")])).is_ok());
    book.follow(change(book.number() + 1, "k1", Names::default())).unwrap();
    assert!(book.step_to(&new, &name).is_ok());
}
