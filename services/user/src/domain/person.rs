//! What a person is called and how they prove who they are, parsed once into types that can only be right.
//!
//! Decided here: texts are stored exactly as typed or refused by a rule that can be read below; nothing is cut, folded or
//! normalised, except that e-mails are kept in lower case, as the identity provider compares them. Not decided here: whether
//! an e-mail is taken, and how a password is hashed (both are the identity provider's).

use common::{FieldProblem, Private, Region};

use super::redact;

/// Code of a field that breaks a rule.
pub const INVALID_FIELD: &str = "invalid-field";
/// Code of a text that contains a card number.
pub const CARD_DATA_REFUSED: &str = "card-data-refused";

/// A rule that a text breaks: the code and the sentence for the caller, never the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenRule {
    pub code: &'static str,
    pub message: &'static str,
}

impl BrokenRule {
    pub const fn invalid(message: &'static str) -> Self {
        Self { code: INVALID_FIELD, message }
    }

    pub fn at(self, pointer: &str) -> FieldProblem {
        FieldProblem::new(pointer, self.code, self.message)
    }
}

/// Checks one line of text a person typed: 1 to `longest` characters, no control characters, no space at either end,
/// no card number.
pub fn line_of_text(text: &str, longest: usize, message: &'static str) -> Result<Private<String>, BrokenRule> {
    let length = text.chars().count();
    let ends_with_space = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if !(1..=longest).contains(&length) || text.chars().any(char::is_control) || ends_with_space {
        return Err(BrokenRule::invalid(message));
    }
    if redact::contains_card_number(text) {
        return Err(BrokenRule {
            code: CARD_DATA_REFUSED,
            message: "card numbers do not belong here and were not stored",
        });
    }
    Ok(Private::new(text.to_owned()))
}

/// A first or last name: 1 to 50 characters of any script, stored exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonName(Private<String>);

impl PersonName {
    /// # Errors
    /// [`BrokenRule`] for an empty or longer text, control characters, or a space at either end.
    pub fn parse(text: &str) -> Result<Self, BrokenRule> {
        line_of_text(text, 50, "a name has 1 to 50 characters, no control characters and no space at either end")
            .map(Self)
    }

    pub fn open(&self) -> &str {
        self.0.open()
    }
}

/// An e-mail address of at most 254 ASCII characters, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(Private<String>);

impl Email {
    const RULE: BrokenRule =
        BrokenRule::invalid("an e-mail address looks like name@example.com and has at most 254 characters");

    /// # Errors
    /// [`BrokenRule`] for anything that is not `local@domain` with a dot in the domain. Quoted local parts, comments and
    /// literal addresses are allowed by the standard and refused here: nobody signs up with them.
    pub fn parse(text: &str) -> Result<Self, BrokenRule> {
        let (local, domain) = text.rsplit_once('@').ok_or(Self::RULE)?;
        if text.len() > 254 || !is_local_part(local) || !is_domain(domain) {
            return Err(Self::RULE);
        }
        Ok(Self(Private::new(text.to_ascii_lowercase())))
    }

    pub fn open(&self) -> &str {
        self.0.open()
    }
}

fn is_local_part(text: &str) -> bool {
    let atom = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    text.len() <= 64 && text.split('.').all(atom)
}

fn is_domain(text: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let top = text.rsplit('.').next().unwrap_or_default();
    text.contains('.') && text.split('.').all(label) && top.len() >= 2 && !top.bytes().all(|byte| byte.is_ascii_digit())
}

/// A new password: 8 to 128 characters of any script, exactly as typed, outer spaces included.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Private<String>);

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("***")
    }
}

/// The passwords that head every published list of breached ones; long enough to pass the length rule.
const BREACHED: &[&str] = &[
    "password",
    "password1",
    "password12",
    "password123",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "11111111",
    "00000000",
    "88888888",
    "12341234",
    "123123123",
    "987654321",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "qwertyuiop",
    "qwerty123",
    "qwerty12",
    "qwertyui",
    "asdfghjkl",
    "zaq12wsx",
    "abcd1234",
    "abc12345",
    "abcdefgh",
    "a1b2c3d4",
    "iloveyou",
    "iloveyou1",
    "sunshine",
    "princess",
    "princess1",
    "football",
    "baseball",
    "superman",
    "welcome1",
    "letmein1",
    "trustno1",
    "starwars",
    "whatever",
    "computer",
    "internet",
    "michelle",
    "jennifer",
    "changeme",
    "administrator",
    "hallo123",
];

impl Password {
    /// # Errors
    /// [`BrokenRule`] for another length, a NUL, or a password from the published lists.
    pub fn parse(text: &str) -> Result<Self, BrokenRule> {
        if !(8..=128).contains(&text.chars().count()) || text.contains('\0') {
            return Err(BrokenRule::invalid("a password has 8 to 128 characters"));
        }
        if BREACHED.contains(&text.to_lowercase().as_str()) {
            return Err(BrokenRule::invalid("this password is known to thieves; choose another one"));
        }
        Ok(Self(Private::new(text.to_owned())))
    }

    /// A password to compare: any that could ever have been chosen, whatever is thought of it today. `None` for others.
    pub fn as_typed(text: &str) -> Option<Self> {
        let possible = (1..=128).contains(&text.chars().count()) && !text.contains('\0');
        possible.then(|| Self(Private::new(text.to_owned())))
    }

    pub fn open(&self) -> &str {
        self.0.open()
    }
}

/// A language of the region's catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(&'static str);

impl Language {
    /// # Errors
    /// [`BrokenRule`] for a language that the region does not speak.
    pub fn parse(text: &str, region: Region) -> Result<Self, BrokenRule> {
        let known = region.languages().iter().find(|language| **language == text);
        known
            .map(|language| Self(language))
            .ok_or(BrokenRule::invalid("the region's catalog does not speak this language, see GET /v1/regions"))
    }

    /// The language of people who named none.
    pub fn default_of(region: Region) -> Self {
        Self(region.languages().first().copied().unwrap_or("en"))
    }

    pub fn code(self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_any_script_are_kept_exactly() {
        let fifty = "x".repeat(50);
        for name in [
            "Ada",
            "李",
            "👩‍🚀 Zoë",
            "\u{202e}evil",
            "a\u{200b}b",
            "O'); DROP TABLE users;--",
            "{{7*7}}",
            "${jndi:ldap://x}",
            "=cmd()",
            "<svg onload>",
            &fifty,
        ] {
            assert_eq!(PersonName::parse(name).map(|parsed| parsed.open().to_owned()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn impossible_names_are_refused() {
        let marks = "e\u{301}".repeat(500);
        for name in ["", " Ada", "Ada ", "A\0da", "A\nda", "\u{7f}", &"x".repeat(51), &marks, "\u{3000}"] {
            assert!(PersonName::parse(name).is_err(), "{name:?}");
        }
        assert_eq!(PersonName::parse("4111 1111 1111 1111").map_err(|broken| broken.code), Err(CARD_DATA_REFUSED));
    }

    #[test]
    fn an_email_has_one_spelling() {
        assert_eq!(
            Email::parse("Ada.Lovelace+shop@Example.COM").map(|email| email.open().to_owned()),
            Ok("ada.lovelace+shop@example.com".to_owned())
        );
        let long = format!("{}@example.com", "x".repeat(65));
        let longer = format!("ada@{}.com", "abcdefgh.".repeat(30));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@@example.com",
            ".ada@example.com",
            "ada@-x.com",
            "ada@example.c",
            "ada@1.2.3.4",
            "\"a\"@example.com",
            "ädä@example.com",
            "ada@example.com\n",
            "ada@example.com\0",
            &long,
            &longer,
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn passwords_are_taken_as_typed() {
        for text in [
            "  spaces  ",
            "пароль-длинный",
            "e\u{301}".repeat(4).as_str(),
            "x".repeat(128).as_str(),
            "🔑🔑🔑🔑🔑🔑🔑🔑",
        ] {
            assert_eq!(Password::parse(text).map(|parsed| parsed.open().to_owned()), Ok(text.to_owned()));
        }
        for text in ["", "short", "PassWord", "12345678", "x".repeat(129).as_str(), "nul\0nul\0nul"] {
            assert!(Password::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn personal_texts_print_as_stars() {
        let shown = format!(
            "{:?} {:?} {:?}",
            PersonName::parse("Ada"),
            Email::parse("ada@example.com"),
            Password::parse("correct horse")
        );
        assert!(!shown.to_lowercase().contains("ada") && !shown.contains("horse"), "{shown}");
    }

    #[test]
    fn only_languages_of_the_region_are_spoken() {
        for region in Region::ALL {
            assert!(Language::parse(Language::default_of(*region).code(), *region).is_ok());
            assert!(Language::parse("tlh", *region).is_err());
            assert!(Language::parse("EN", *region).is_err());
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_never_changes_a_name(text in "\\PC{0,60}") {
            if let Ok(name) = PersonName::parse(&text) {
                prop_assert_eq!(name.open(), text.as_str());
            }
            let _ = Email::parse(&text);
            let _ = Password::parse(&text);
        }

        #[test]
        fn an_accepted_email_parses_to_itself(local in "[a-z0-9+_.-]{1,20}", domain in "[a-z0-9-]{1,10}\\.[a-z]{2,5}") {
            if let Ok(email) = Email::parse(&format!("{local}@{domain}")) {
                prop_assert_eq!(Email::parse(email.open()), Ok(email));
            }
        }
    }
}
