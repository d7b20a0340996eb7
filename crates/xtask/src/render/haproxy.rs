//! The routes of the local edge: three blocks of `haproxy.cfg.template` between marks. Decided here: the longest path decides, so lines stand
//! from general to special and the last that fits wins; what a row of the table says of token, size and limit follows from the route.
//! Everything else in the template is written by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Output;
use super::routes::{CountedBy, Routes, Token};

const TEMPLATE: &str = "deploy/edge/haproxy/haproxy.cfg.template";
const ANSWERS: [&str; 2] = [
    "    # --- who answers: written by `cargo xtask render` from deploy/edge/routes.toml ---\n",
    "    # --- end of who answers ---\n",
];
const WHERE: [&str; 2] = [
    "    # --- where it is counted: written by `cargo xtask render` from deploy/edge/routes.toml ---\n",
    "    # --- end of where it is counted ---\n",
];
const COUNTED: [&str; 2] = [
    "# --- what is counted: written by `cargo xtask render` from deploy/edge/routes.toml ---\n",
    "# --- end of what is counted ---\n",
];
/// Addresses and people that are remembered per limit: 20 MB each at most. The longest idle ones go first.
const REMEMBERED: &str = "100k";

/// # Errors
/// When the template cannot be read or has lost its marks.
pub fn output(root: &Path, routes: &Routes) -> Result<Output> {
    let path = root.join(TEMPLATE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let text = between(&text, ANSWERS, &answers(routes))?;
    let text = between(&text, WHERE, &tracked(routes))?;
    Ok(Output::new(TEMPLATE, between(&text, COUNTED, &counted(routes))?))
}

fn between(text: &str, [begin, end]: [&str; 2], block: &str) -> Result<String> {
    let (before, rest) = text.split_once(begin).with_context(|| format!("{TEMPLATE} has no line {begin:?}"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("{TEMPLATE} has no line {end:?}"))?;
    Ok(format!("{before}{begin}{block}{end}{after}"))
}

/// Names of routes by what their rows say.
fn by<K: Ord>(routes: &Routes, key: impl Fn(&super::routes::Route) -> Option<K>) -> BTreeMap<K, Vec<String>> {
    let mut groups: BTreeMap<K, Vec<String>> = BTreeMap::new();
    for route in &routes.routes {
        if let Some(key) = key(route) {
            groups.entry(key).or_default().push(route.name());
        }
    }
    groups
}

fn answers(routes: &Routes) -> String {
    let mut paths: Vec<(&str, String)> =
        routes.routes.iter().flat_map(|route| route.paths.iter().map(|path| (path.as_str(), route.name()))).collect();
    paths.sort_by_key(|(path, _)| (path.len(), *path));
    let mut text = String::new();
    // Writing into a String cannot fail.
    for (path, route) in paths {
        let _ = writeln!(text, "    http-request set-var(txn.route) str({route}) if {{ path_reg ^{path}(/|$) }}");
    }
    let mut set = |name: &str, value: String, names: &[String]| {
        let _ = writeln!(
            text,
            "    http-request set-var(txn.{name}) {value} if {{ var(txn.route) -m str {} }}",
            names.join(" ")
        );
    };
    for (service, names) in by(routes, |route| Some(route.service.clone())) {
        set("service", format!("str({service})"), &names);
    }
    for names in by(routes, |route| (route.token == Token::Required).then_some(())).into_values() {
        set("token", "str(required)".to_owned(), &names);
    }
    for (kib, names) in by(routes, |route| Some(route.body)) {
        set("body", format!("int({})", u64::from(kib) * 1024), &names);
    }
    for (limit, names) in by(routes, |route| Some(route.limit.clone())) {
        set("per_minute", format!("int({})", routes.limits[&limit].per_minute), &names);
    }
    text
}

/// Stands behind the check of the token, so that a made-up subject takes nobody's place in a table.
fn tracked(routes: &Routes) -> String {
    let mut text = String::new();
    for (name, names) in by(routes, |route| Some(route.limit.clone())) {
        let key = match routes.limits[&name].by {
            CountedBy::Ip => "src",
            CountedBy::Subject => "var(txn.subject)",
        };
        let names = names.join(" ");
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "    http-request track-sc1 {key} table limit_{name} if {{ var(txn.route) -m str {names} }}"
        );
    }
    text
}

fn counted(routes: &Routes) -> String {
    let mut text = String::new();
    for (name, limit) in &routes.limits {
        let key = match limit.by {
            CountedBy::Ip => "ipv6",
            CountedBy::Subject => "string len 64",
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "backend limit_{name}\n    stick-table type {key} size {REMEMBERED} expire 61s store gpc0,gpc0_rate(60s)"
        );
    }
    text
}
