//! Configuration in layers: chassis defaults < the service's compiled-in `config.default.toml` < the file of `--config` <
//! environment variables `SHOPSPHERE__SECTION__KEY`. Only this module reads the environment.
//!
//! Decided here: a key that the compiled-in defaults do not mention is refused wherever it comes from, and a value must
//! have the type of its default. So the defaults are the complete list of settings. An empty table in the defaults is an
//! open map whose keys are the operator's. Not decided here: what the values mean; that is said by each settings struct.

mod error;
mod print;
mod secret;
mod sections;

use std::collections::BTreeSet;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use error::{ConfigError, Source};
pub use secret::Secret;
pub use sections::{Admin, Auth, Common, Grpc, Http, Lifecycle, Redis, Site, Telemetry, parsed};

const CHASSIS_DEFAULTS: &str = include_str!("default.toml");

/// Sections every process has; the others of `default.toml` exist only for services that name them.
const ALWAYS: [&str; 4] = ["site", "process", "admin", "telemetry"];

const ENVIRONMENT_PREFIX: &str = "SHOPSPHERE__";

/// A configuration ready for use, and the same as text with its secrets covered.
#[derive(Debug)]
pub struct Loaded<C> {
    pub config: C,
    /// TOML; secret values and passwords inside URLs are `***`.
    pub printable: String,
}

/// Lays the layers over each other and reads the result as `C`.
///
/// # Errors
/// One line naming key and source: unknown key, wrong type, value refused by its settings struct, unreadable file.
pub fn load<C: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    environment: &[(String, String)],
) -> Result<Loaded<C>, ConfigError> {
    let mut layers = Layers::new(defaults)?;
    if let Some(path) = file {
        let source = Source::File(path.to_owned());
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { source: source.clone(), error: error.to_string() })?;
        layers.add_document(&text, &source)?;
    }
    for (name, value) in environment {
        layers.add_variable(name, value)?;
    }
    layers.read()
}

/// The variables of this process that are meant for us.
pub fn environment() -> Vec<(String, String)> {
    let mut ours: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
    ours.sort();
    ours
}

struct Layers {
    document: Table,
    /// Paths of tables that take any key.
    open: BTreeSet<String>,
    /// Who set what, for error messages; later entries win.
    origins: Vec<(String, Source)>,
}

impl Layers {
    fn new(service_defaults: &str) -> Result<Self, ConfigError> {
        let library = parse(CHASSIS_DEFAULTS, &Source::Defaults)?;
        let service = parse(service_defaults, &Source::Defaults)?;
        let wanted = |section: &str| ALWAYS.contains(&section) || service.contains_key(section);
        let mut document: Table = library.into_iter().filter(|(section, _)| wanted(section)).collect();
        overlay_defaults(&mut document, service);
        let mut open = BTreeSet::new();
        collect_open_tables(&document, "", &mut open);
        Ok(Self { document, open, origins: Vec::new() })
    }

    fn add_document(&mut self, text: &str, source: &Source) -> Result<(), ConfigError> {
        let layer = parse(text, source)?;
        merge(&mut self.document, layer, "", source, &self.open, &mut self.origins)
    }

    fn add_variable(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let source = Source::Environment(name.to_owned());
        let path: Vec<String> = name[ENVIRONMENT_PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        let value = typed(text, lookup(&self.document, &path)).map_err(|expected| ConfigError::WrongType {
            key: path.join("."),
            source: source.clone(),
            expected,
            found: "another text",
        })?;
        let mut layer = Table::new();
        nest(&mut layer, &path, value);
        merge(&mut self.document, layer, "", &source, &self.open, &mut self.origins)
    }

    fn read<C: DeserializeOwned>(self) -> Result<Loaded<C>, ConfigError> {
        let document = Value::Table(self.document);
        // `flatten` loses the path of an error, so the part that services embed that way is read once by itself.
        serde_path_to_error::deserialize::<_, Common>(document.clone())
            .map_err(|error| refused(&self.origins, error))?;
        let (result, secrets) = secret::collecting(|| serde_path_to_error::deserialize::<_, C>(document.clone()));
        let config = result.map_err(|error| refused(&self.origins, error))?;
        Ok(Loaded { config, printable: print::covered(document, &secrets) })
    }
}

fn refused(origins: &[(String, Source)], error: serde_path_to_error::Error<toml::de::Error>) -> ConfigError {
    let key = error.path().to_string();
    let source =
        origins.iter().rev().find(|(path, _)| *path == key).map_or(Source::Defaults, |(_, source)| source.clone());
    ConfigError::Refused { key, source, reason: one_line(error.into_inner().message()) }
}

fn parse(text: &str, source: &Source) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        ConfigError::Malformed { source: source.clone(), line, reason: one_line(error.message()) }
    })
}

/// Defaults may add keys to a section and give other values; they come from us, so nothing is refused.
fn overlay_defaults(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => overlay_defaults(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn collect_open_tables(table: &Table, prefix: &str, open: &mut BTreeSet<String>) {
    for (key, value) in table {
        if let Value::Table(inner) = value {
            let path = join(prefix, key);
            if inner.is_empty() {
                open.insert(path.clone());
            }
            collect_open_tables(inner, &path, open);
        }
    }
}

fn merge(
    base: &mut Table,
    layer: Table,
    prefix: &str,
    source: &Source,
    open: &BTreeSet<String>,
    origins: &mut Vec<(String, Source)>,
) -> Result<(), ConfigError> {
    for (key, value) in layer {
        let path = join(prefix, &key);
        match base.get_mut(&key) {
            None if open.contains(prefix) => {
                base.insert(key, value);
                origins.push((path, source.clone()));
            }
            None => return Err(ConfigError::UnknownKey { key: path, source: source.clone() }),
            Some(Value::Table(inner)) => match value {
                Value::Table(value) => merge(inner, value, &path, source, open, origins)?,
                other => return Err(wrong_type(path, source, "table", &other)),
            },
            Some(present) => {
                let value = match (&*present, value) {
                    (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
                    (_, value) => value,
                };
                if present.type_str() != value.type_str() {
                    return Err(wrong_type(path, source, present.type_str(), &value));
                }
                *present = value;
                origins.push((path, source.clone()));
            }
        }
    }
    Ok(())
}

fn wrong_type(key: String, source: &Source, expected: &'static str, found: &Value) -> ConfigError {
    ConfigError::WrongType { key, source: source.clone(), expected, found: found.type_str() }
}

/// Reads the text of a variable as the type that its default has; lists are separated by commas.
fn typed(text: &str, default: Option<&Value>) -> Result<Value, &'static str> {
    match default {
        Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).map_err(|_| "integer"),
        Some(Value::Float(_)) => text.trim().parse().map(Value::Float).map_err(|_| "float"),
        Some(Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).map_err(|_| "boolean"),
        Some(Value::Array(_)) => Ok(Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        )),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn lookup<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    match (table.get(first)?, rest) {
        (value, []) => Some(value),
        (Value::Table(inner), rest) => lookup(inner, rest),
        _ => None,
    }
}

fn nest(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let mut inner = Table::new();
            nest(&mut inner, rest, value);
            table.insert(first.clone(), Value::Table(inner));
        }
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const DEFAULTS: &str = "[http]\nport = 8101\n[database]\nurl = \"postgres://a:b@h/d\"\nmax_connections = 8\n[labels]\n[gateway]\napi_key = \"\"\nhosts = [\"a\"]\n";

    #[derive(Debug, Deserialize)]
    struct Settings {
        #[serde(flatten)]
        common: Common,
        http: Http,
        database: Database,
        labels: std::collections::BTreeMap<String, String>,
        gateway: Gateway,
    }

    #[derive(Debug, Deserialize)]
    struct Database {
        url: String,
        max_connections: u8,
    }

    #[derive(Debug, Deserialize)]
    struct Gateway {
        api_key: Secret,
        hosts: Vec<String>,
    }

    fn with(file: &str, variables: &[(&str, &str)]) -> Result<Loaded<Settings>, String> {
        let mut layers = Layers::new(DEFAULTS).map_err(|error| error.to_string())?;
        layers.add_document(file, &Source::File("shop.toml".into())).map_err(|error| error.to_string())?;
        for (name, value) in variables {
            layers.add_variable(name, value).map_err(|error| error.to_string())?;
        }
        layers.read().map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let file = "[http]\nport = 1\nmax_in_flight = 7\n[site]\nregion = \"us\"\n[labels]\nteam = \"a\"\n";
        let variables = [
            ("SHOPSPHERE__HTTP__PORT", "2"),
            ("SHOPSPHERE__GATEWAY__HOSTS", "x, y"),
            ("SHOPSPHERE__LABELS__ZONE", "b"),
        ];
        let loaded = with(file, &variables).unwrap().config;
        assert_eq!((loaded.http.port, loaded.http.max_in_flight, loaded.http.body_limit_bytes), (2, 7, 65536));
        assert_eq!(loaded.common.site.region.code(), "us");
        assert_eq!(loaded.gateway.hosts, ["x", "y"]);
        assert_eq!(loaded.database.url, "postgres://a:b@h/d");
        assert_eq!(loaded.labels.len(), 2);
    }

    #[test]
    fn what_is_not_known_or_does_not_fit_is_one_line_with_key_and_source() {
        type Variables = &'static [(&'static str, &'static str)];
        let cases: [(&str, Variables, &str); 9] = [
            ("[http]\nprot = 1", &[], "unknown key http.prot in shop.toml"),
            ("[grpc]\nport = 1", &[], "unknown key grpc in shop.toml"),
            (
                "",
                &[("SHOPSPHERE__HTTP__PROT", "1")],
                "unknown key http.prot in environment variable SHOPSPHERE__HTTP__PROT",
            ),
            ("[http]\nport = \"x\"", &[], "http.port in shop.toml: expected integer, found string"),
            ("http = 3", &[], "http in shop.toml: expected table, found integer"),
            (
                "",
                &[("SHOPSPHERE__HTTP__PORT", "x")],
                "http.port in environment variable SHOPSPHERE__HTTP__PORT: expected integer, found another text",
            ),
            ("[http\n", &[], "shop.toml line 1: "),
            ("[site]\nregion = \"xx\"", &[], "site.region in shop.toml: not a region of the topology"),
            ("[database]\nmax_connections = 900", &[], "database.max_connections in shop.toml: invalid value"),
        ];
        for (file, variables, expected) in cases {
            let error = with(file, variables).unwrap_err();
            assert!(error.contains(expected), "{file:?} {variables:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn printing_covers_secrets_and_passwords_in_urls() {
        let loaded = with("[gateway]\napi_key = \"sk_live_1\"\n", &[]).unwrap();
        assert_eq!(loaded.config.gateway.api_key.open(), "sk_live_1");
        assert_eq!(loaded.config.database.max_connections, 8);
        assert!(!loaded.printable.contains("sk_live_1") && !loaded.printable.contains("a:b@"), "{}", loaded.printable);
        assert!(
            loaded.printable.contains("postgres://a:***@h/d") && loaded.printable.contains("port = 8101"),
            "{}",
            loaded.printable
        );
        assert!(!format!("{:?}", loaded.config).contains("sk_live_1"));
    }
}
