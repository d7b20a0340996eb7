//! A person's profile and how it may change. Server-owned fields (id, e-mail, region, times) are not in the form at all.

use chrono::{DateTime, Utc};
use common::{FieldProblem, Region, UserId};

use super::person::{Email, Language, PersonName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub user_id: UserId,
    pub email: Email,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub language: Language,
    pub region: Region,
    /// Grows by one with each change, from 1.
    pub version: i64,
    pub created_at: DateTime<Utc>,
}

/// A change as it was sent; absent fields stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileForm {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub language: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
    pub language: Option<Language>,
}

impl ProfileChange {
    /// # Errors
    /// All fields at fault.
    pub fn parse(form: &ProfileForm, region: Region) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        let mut name = |text: &Option<String>, pointer: &str| {
            text.as_deref()
                .and_then(|text| PersonName::parse(text).map_err(|broken| problems.push(broken.at(pointer))).ok())
        };
        let first_name = name(&form.first_name, "/first_name");
        let last_name = name(&form.last_name, "/last_name");
        let language = form.language.as_deref().and_then(|text| {
            Language::parse(text, region).map_err(|broken| problems.push(broken.at("/language"))).ok()
        });
        if problems.is_empty() { Ok(Self { first_name, last_name, language }) } else { Err(problems) }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_every_field_at_fault() {
        let form = ProfileForm {
            first_name: Some(String::new()),
            last_name: Some("x".repeat(51)),
            language: Some("tlh".to_owned()),
        };
        let problems = ProfileChange::parse(&form, Region::ALL[0]).expect_err("three fields at fault");
        assert_eq!(
            problems.iter().map(|problem| problem.pointer.as_str()).collect::<Vec<_>>(),
            ["/first_name", "/last_name", "/language"]
        );
    }

    #[test]
    fn an_empty_change_changes_nothing() {
        assert_eq!(
            ProfileChange::parse(&ProfileForm::default(), Region::ALL[0]).map(|change| change.is_empty()),
            Ok(true)
        );
    }
}
