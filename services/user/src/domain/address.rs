//! Where a person lets things be sent. Decided here: the shape of an address, how many there may be, and that they lie in
//! the region. Not decided here: whether the street exists.

use common::{FieldProblem, Private, Region};

use super::person::{BrokenRule, line_of_text};

/// Most addresses of one person: home, work, family and some to spare; the table has the same limit.
pub const MOST_ADDRESSES: usize = 10;

/// An address as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressForm {
    pub recipient: String,
    pub line1: String,
    pub line2: Option<String>,
    pub postal_code: String,
    pub city: String,
    pub country: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub recipient: Private<String>,
    pub line1: Private<String>,
    pub line2: Option<Private<String>>,
    pub postal_code: Private<String>,
    pub city: Private<String>,
    /// ISO 3166-1 alpha-2; was one of the region's when it was stored.
    pub country: String,
}

/// # Errors
/// All fields at fault, with pointers into the request.
pub fn parse_list(forms: &[AddressForm], region: Region) -> Result<Vec<Address>, Vec<FieldProblem>> {
    if forms.len() > MOST_ADDRESSES {
        return Err(vec![BrokenRule::invalid("at most 10 addresses are kept").at("/items")]);
    }
    let mut problems = Vec::new();
    let parsed: Vec<_> =
        forms.iter().enumerate().filter_map(|(index, form)| parse(form, index, region, &mut problems)).collect();
    if problems.is_empty() { Ok(parsed) } else { Err(problems) }
}

fn parse(form: &AddressForm, index: usize, region: Region, problems: &mut Vec<FieldProblem>) -> Option<Address> {
    let mut line = |text: &str, field: &str, longest, message| {
        line_of_text(text, longest, message)
            .map_err(|broken| problems.push(broken.at(&format!("/items/{index}/{field}"))))
            .ok()
    };
    let recipient = line(&form.recipient, "recipient", 100, "a recipient has 1 to 100 characters on one line");
    let line1 = line(&form.line1, "line1", 100, "an address line has 1 to 100 characters on one line");
    let line2 = match &form.line2 {
        Some(text) => line(text, "line2", 100, "an address line has 1 to 100 characters on one line").map(Some),
        None => Some(None),
    };
    let postal_code = line(&form.postal_code, "postal_code", 16, "a postal code has 1 to 16 characters");
    let city = line(&form.city, "city", 100, "a city has 1 to 100 characters on one line");
    let country =
        region.countries().iter().find(|country| **country == form.country).map(|country| (*country).to_owned());
    if country.is_none() {
        problems.push(
            BrokenRule::invalid("not a country of this region, see GET /v1/regions")
                .at(&format!("/items/{index}/country")),
        );
    }
    Some(Address {
        recipient: recipient?,
        line1: line1?,
        line2: line2?,
        postal_code: postal_code?,
        city: city?,
        country: country?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(region: Region) -> AddressForm {
        AddressForm {
            recipient: "Ada Lovelace".to_owned(),
            line1: "Example Street 1".to_owned(),
            line2: None,
            postal_code: "10115".to_owned(),
            city: "Berlin".to_owned(),
            country: region.countries()[0].to_owned(),
        }
    }

    #[test]
    fn an_address_lies_in_the_region() {
        let [here, there, ..] = Region::ALL else { panic!("two regions at least") };
        assert!(parse_list(&[form(*here)], *here).is_ok());
        let problems = parse_list(&[form(*here), form(*there)], *here).expect_err("a country of another region");
        assert_eq!(problems.iter().map(|problem| problem.pointer.as_str()).collect::<Vec<_>>(), ["/items/1/country"]);
    }

    #[test]
    fn every_field_at_fault_is_named() {
        let region = Region::ALL[0];
        let bad = AddressForm {
            recipient: String::new(),
            line2: Some("a\nb".to_owned()),
            city: "4111111111111111".to_owned(),
            ..form(region)
        };
        let problems = parse_list(&[bad], region).expect_err("three fields at fault");
        let found: Vec<_> = problems.iter().map(|problem| (problem.pointer.as_str(), problem.code)).collect();
        assert_eq!(
            found,
            [
                ("/items/0/recipient", "invalid-field"),
                ("/items/0/line2", "invalid-field"),
                ("/items/0/city", "card-data-refused")
            ]
        );
    }

    #[test]
    fn an_eleventh_address_is_refused() {
        let region = Region::ALL[0];
        assert!(parse_list(&vec![form(region); 10], region).is_ok());
        assert!(parse_list(&vec![form(region); 11], region).is_err());
        assert_eq!(parse_list(&[], region), Ok(Vec::new()));
    }
}
