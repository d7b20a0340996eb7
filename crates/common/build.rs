//! Generates the `Region` type from `topology.toml`. Refuses a topology in which a region's sites lie in different
//! jurisdictions: a standby abroad would take personal data with it. Refuses one in which a country that is shipped to has no
//! tax rates, or a postal code two.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology.toml");
    println!("cargo::rerun-if-changed={}", path.display());
    let text = std::fs::read_to_string(&path).expect("topology.toml stands at the root of the workspace");
    let topology: toml::Table = text.parse().expect("topology.toml is valid TOML");
    let regions = topology["region"].as_array().expect("topology.toml lists [[region]]");

    let mut code = String::from(
        "/// A region of the topology; the unit of residency.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\npub enum Region {\n",
    );
    for region in regions {
        writeln!(code, "    /// {}.\n    {},", text_of(region, "name"), variant(region)).expect("writing to a string");
    }
    code.push_str("}\n\nimpl Region {\n    /// All regions, in the order of the topology.\n    pub const ALL: &'static [Region] = &[");
    for region in regions {
        write!(code, "Region::{}, ", variant(region)).expect("writing to a string");
    }
    code.push_str("];\n\n    fn facts(self) -> &'static Facts {\n        match self {\n");
    for region in regions {
        let sites = region["site"].as_array().expect("each region lists [[region.site]]");
        let jurisdiction = text_of(region, "jurisdiction");
        for site in sites {
            assert_eq!(
                text_of(site, "jurisdiction"),
                jurisdiction,
                "topology.toml: site {} lies outside the jurisdiction of region {}",
                text_of(site, "name"),
                text_of(region, "code"),
            );
        }
        writeln!(
            code,
            "            Region::{} => &Facts {{ code: {:?}, name: {:?}, jurisdiction: {:?}, currency: Currency::{}, languages: &{:?}, base_url: {:?}, countries: &{:?}, fulfilment_centres: &{:?}, sites: &{:?}, tax: {} }},",
            variant(region),
            text_of(region, "code"),
            text_of(region, "name"),
            jurisdiction,
            capitalised(&text_of(region, "currency").to_lowercase()),
            texts(&region["languages"]),
            text_of(region, "base_url"),
            texts(&region["countries"]),
            fulfilment_centres(region),
            sites.iter().map(|site| text_of(site, "name")).collect::<Vec<_>>(),
            tax(region),
        )
        .expect("writing to a string");
    }
    code.push_str("        }\n    }\n}\n");

    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("regions.rs"), code).expect("the output directory is writable");
}

/// The `TaxFacts` of a region.
fn tax(region: &toml::Value) -> String {
    let facts = &region["tax"];
    let places = facts["place"].as_table().expect("region.tax.place is a table");
    for country in texts(&region["countries"]) {
        assert!(places.keys().any(|code| country_of(code) == country), "topology.toml: {country} has no tax rates");
    }
    let mut known = Vec::new();
    for (code, place) in places {
        for (first, last) in postal(place) {
            let free =
                known.iter().all(|&(country, from, to)| country != country_of(code) || last < from || to < first);
            assert!(free, "topology.toml: a postal code of {code} belongs to another place too");
            known.push((country_of(code), first, last));
        }
    }
    let families = facts["families"].as_table().expect("region.tax.families is a table").iter();
    let families: Vec<_> = families
        .map(|(family, class)| format!("({family:?}, TaxClass::{})", capitalised(class.as_str().expect("a tax class"))))
        .collect();
    let places: Vec<_> = places.iter().map(|(code, place)| tax_place(code, place)).collect();
    format!(
        "TaxFacts {{ prices: Prices::{}, round: RoundTax::{}, ties: Ties::{}, families: &[{}], places: &[{}] }}",
        capitalised(&text_of(facts, "prices")),
        capitalised(&text_of(facts, "round")),
        text_of(facts, "ties").split('-').map(capitalised).collect::<String>(),
        families.join(", "),
        places.join(", "),
    )
}

fn tax_place(code: &str, place: &toml::Value) -> String {
    let standard = millionths(&text_of(place, "standard"));
    let other = |class| place.get(class).and_then(toml::Value::as_str).map_or(standard, millionths);
    format!(
        "PlaceFacts {{ code: {code:?}, country: {:?}, postal: &{:?}, standard: {standard}, reduced: {}, digital: {} }}",
        country_of(code),
        postal(place),
        other("reduced"),
        other("digital"),
    )
}

fn country_of(code: &str) -> &str {
    code.split('-').next().unwrap_or(code)
}

/// Ranges of the first three digits of postal codes, both ends included.
fn postal(place: &toml::Value) -> Vec<(u16, u16)> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        assert!(
            first.len() == 3 && last.len() == 3 && first <= last,
            "topology.toml: {text} is no range of postal codes"
        );
        (first.parse().expect("three digits"), last.parse().expect("three digits"))
    };
    place.get("postal").map(|list| texts(list).into_iter().map(range).collect()).unwrap_or_default()
}

/// `8.875` percent is 88750 millionths.
fn millionths(percent: &str) -> u32 {
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
    assert!(fraction.len() <= 4, "topology.toml: a rate has at most four digits after the point");
    let rate: u32 = format!("{whole}{fraction:0<4}").parse().expect("a rate is a number of percent");
    assert!(rate <= 1_000_000, "topology.toml: a rate is at most 100 percent");
    rate
}

fn text_of(table: &toml::Value, key: &str) -> String {
    table.get(key).and_then(toml::Value::as_str).unwrap_or_else(|| panic!("topology.toml: {key} is missing")).to_owned()
}

fn texts(list: &toml::Value) -> Vec<&str> {
    list.as_array().expect("a list of strings").iter().filter_map(toml::Value::as_str).collect()
}

/// At least one, each once: the first is where goods go unless somebody says otherwise.
fn fulfilment_centres(region: &toml::Value) -> Vec<&str> {
    let centres = texts(&region["fulfilment_centres"]);
    let repeated = (1..centres.len()).find(|at| centres[..*at].contains(&centres[*at]));
    assert!(
        !centres.is_empty() && repeated.is_none(),
        "topology.toml: region {} needs fulfilment_centres, each named once",
        text_of(region, "code"),
    );
    centres
}

fn variant(region: &toml::Value) -> String {
    capitalised(&text_of(region, "code"))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
