//! Generates the `Region` type from `topology.toml`. Refuses a topology in which a region's sites lie in different
//! jurisdictions: a standby abroad would take personal data with it.

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
            "            Region::{} => &Facts {{ code: {:?}, name: {:?}, jurisdiction: {:?}, currency: Currency::{}, languages: &{:?}, base_url: {:?}, countries: &{:?}, fulfilment_centres: &{:?}, sites: &{:?} }},",
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
        )
        .expect("writing to a string");
    }
    code.push_str("        }\n    }\n}\n");

    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("regions.rs"), code).expect("the output directory is writable");
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
