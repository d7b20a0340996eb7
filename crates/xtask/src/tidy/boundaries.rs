//! The saga's durable steps stand inside a boundary of `messaging::crash`: a commit, a produce, an acknowledgement, a write
//! that is its own transaction and a call through a port to the outside is written within `crash::around(…)`, or in a function
//! of which every call is. And each duty that commits is a row of the table, so that the real process is killed there.
//!
//! Read from names, not from types: what is looked for is listed below. A step that is spelled in a new way needs a line there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::Violation;
use super::files::Source;
use super::tokens::{Kind, Token, tokens};

/// Where the table of boundaries is.
const TABLE: &str = "crates/messaging/src/boundary.rs";

/// The crates an order passes through, and what of them is no part of its saga.
const SAGA: &[&str] = &["crates/messaging/src/", "services/order-payment/src/", "services/catalog/src/"];
const OUTSIDE: &[(&str, &str)] = &[
    ("crates/messaging/src/firehose", "clicks"),
    ("crates/messaging/src/schema", "migrations"),
    (
        "crates/messaging/src/transaction",
        "the transaction as such: commit and commit_many carry it within their boundary",
    ),
    ("services/order-payment/src/outbound/postgres/carts", "baskets: nothing is ordered yet"),
    ("services/order-payment/src/usecases/view_cart", "shows prices"),
    ("services/catalog/src/outbound/mongo", "revisions of products: their own outbox, told again until marked"),
    ("services/catalog/src/outbound/search", "the search index, rebuilt at any time"),
    ("services/catalog/src/outbound/cache", "product pages, dropped at any time"),
    ("services/catalog/src/outbound/ratings", "reads only"),
    ("services/catalog/src/wiring", "asks whether the stores answer"),
];

/// Functions that put a step into its boundary.
const AROUND: &[&str] = &["around", "around_now", "around_commit", "around_commits"];

/// Methods whose call is a durable step wherever it stands.
const STEPS: &[&str] = &[
    "commit_consumer_state",
    "send_result",
    "insert_one",
    "insert_many",
    "update_one",
    "update_many",
    "replace_one",
    "delete_one",
    "delete_many",
    "set_ex",
    "query_async",
];

/// Ports of a use case that lead to somebody else's system.
const PORTS: &[&str] = &["gateway", "gate", "prices", "fraud"];

/// What such a port answers without asking anybody.
const AT_HAND: &[&str] = &["choice", "names", "via", "is_there"];

/// How deep a step may be wrapped in functions of the file before its boundary.
const DEPTH: usize = 8;

/// The names of the table's rows; `None` where the checked repository has no such table.
///
/// # Errors
/// A table that cannot be read.
pub fn names(root: &Path) -> Result<Option<BTreeSet<String>>> {
    let path = root.join(TABLE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let all = tokens(&text);
    // A row is `number Variant "name" …`.
    let rows = all.windows(3).filter_map(|row| match (&row[0].kind, &row[1].kind, &row[2].kind) {
        (Kind::Ident(number), Kind::Ident(_), Kind::Text(name)) if number.parse::<u16>().is_ok() => Some(name.clone()),
        _ => None,
    });
    Ok(Some(rows.collect()))
}

/// Every durable step of the saga outside a boundary, and every duty without a row.
pub fn check(sources: &[Source], names: &BTreeSet<String>) -> Vec<Violation> {
    let saga: Vec<&Source> = sources.iter().filter(|source| is_saga(source)).collect();
    let mut found = Vec::new();
    for source in &saga {
        let mut report = |line: usize, message: String| {
            found.push(Violation { file: source.file.clone(), line, rule: "boundaries", message });
        };
        for at in steps(source) {
            if !is_inside(&saga, source, at, &mut Vec::new()) {
                let what = name_at(&source.tokens, at).unwrap_or("a commit");
                report(
                    source.tokens[at].line,
                    format!(
                        "{what} is a durable step outside a boundary: write it within crash::around(Boundary::…, …)"
                    ),
                );
            }
        }
        for (line, duty) in duties(&source.tokens) {
            if !names.contains(duty) {
                report(line, format!("the duty {duty:?} commits without a row in {TABLE}"));
            }
        }
    }
    found
}

fn is_saga(source: &Source) -> bool {
    let file = source.file.to_string_lossy();
    !source.is_test
        && SAGA.iter().any(|start| file.starts_with(start))
        && !OUTSIDE.iter().any(|(start, _)| file.starts_with(start))
}

fn name_at(tokens: &[Token], at: usize) -> Option<&str> {
    match &tokens.get(at)?.kind {
        Kind::Ident(name) => Some(name),
        _ => None,
    }
}

fn is_punct(tokens: &[Token], at: usize, punct: char) -> bool {
    tokens.get(at).is_some_and(|token| token.kind == Kind::Punct(punct))
}

/// Places of the durable steps of a file.
fn steps(source: &Source) -> Vec<usize> {
    let all = &source.tokens;
    let is_usecase = source.module.first().is_some_and(|room| room == "usecases");
    let method = |at: usize| at > 0 && is_punct(all, at - 1, '.') && is_punct(all, at + 1, '(');
    // `a.b.method(`: the word two, and four, before a method.
    let before = |at: usize, words: usize| at.checked_sub(words).and_then(|place| name_at(all, place));
    let is_step = |at: usize, name: &str| {
        STEPS.contains(&name)
            || (name == "send" && before(at, 2) == Some("publisher"))
            || (matches!(name, "execute" | "fetch_all" | "fetch_one" | "fetch_optional") && writes_by_itself(all, at))
            // A port of the application, as in `app.gateway.send(…)`.
            || (is_usecase && !AT_HAND.contains(&name) && is_of_a_port(all, at))
    };
    (0..all.len())
        .filter(|at| match &all[*at].kind {
            // Its own statement, as in `raw_sql("COMMIT")`.
            Kind::Text(text) => text == "COMMIT",
            Kind::Ident(name) => method(*at) && is_step(*at, name),
            _ => false,
        })
        .collect()
}

/// Is the statement executed here one that writes, on something else than the transaction that a commit hands out (`tx`)?
fn writes_by_itself(all: &[Token], at: usize) -> bool {
    let arguments = &all[at + 2..closing(all, at + 1).min(all.len())];
    if arguments.iter().any(|token| matches!(&token.kind, Kind::Ident(name) if name == "tx")) {
        return false;
    }
    // Back to the statement's text: the nearest one before the call.
    let text = all[..at].iter().rev().find_map(|token| match &token.kind {
        Kind::Text(text) => Some(text.trim_start()),
        _ => None,
    });
    text.is_some_and(|text| {
        ["INSERT", "UPDATE", "DELETE"].iter().any(|verb| text.starts_with(verb)) || text.contains("INSERT INTO")
    })
}

/// The place of the parenthesis that closes the one at `open`.
fn closing(all: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Punct('(') => depth += 1,
            Kind::Punct(')') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    all.len()
}

/// Does this place stand within an `around(…)`, or in a function whose every call does?
fn is_inside<'a>(saga: &[&'a Source], source: &'a Source, at: usize, above: &mut Vec<&'a str>) -> bool {
    let all = &source.tokens;
    let lexically = (0..at).any(|open| {
        is_punct(all, open + 1, '(')
            && name_at(all, open).is_some_and(|name| AROUND.contains(&name))
            && closing(all, open + 1) > at
            && open + 1 < at
    });
    if lexically {
        return true;
    }
    let Some(function) = enclosing(all, at) else { return false };
    if above.contains(&function) {
        // A circle adds no other way in.
        return true;
    }
    if above.len() == DEPTH {
        return false;
    }
    above.push(function);
    let here = calls(source, function);
    let everywhere = || {
        let others = saga.iter().filter(|other| other.package == source.package);
        others.flat_map(|other| calls(other, function).into_iter().map(move |at| (*other, at))).collect::<Vec<_>>()
    };
    let callers = if here.is_empty() { everywhere() } else { here.into_iter().map(|at| (source, at)).collect() };
    let inside = !callers.is_empty() && callers.into_iter().all(|(caller, at)| is_inside(saga, caller, at, above));
    above.pop();
    inside
}

/// The name of the function whose body this place is in: the last `fn name` before it.
fn enclosing(all: &[Token], at: usize) -> Option<&str> {
    (1..at).rev().find(|place| name_at(all, place - 1) == Some("fn")).and_then(|place| name_at(all, place))
}

/// Places where a function of this name is called.
fn calls(source: &Source, function: &str) -> Vec<usize> {
    let all = &source.tokens;
    (1..all.len())
        .filter(|at| {
            name_at(all, *at) == Some(function)
                && name_at(all, at - 1) != Some("fn")
                && !is_of_a_port(all, *at)
                && (is_punct(all, at + 1, '(') || all.get(at + 1).is_some_and(|next| next.kind == Kind::Separator))
        })
        .collect()
}

/// `app.gateway.send`: the port's method, whatever function of ours has the same name.
fn is_of_a_port(all: &[Token], at: usize) -> bool {
    // `a.b.method(`: the word two, and four, before a method.
    let before = |words: usize| at.checked_sub(words).and_then(|place| name_at(all, place));
    is_punct(all, at - 1, '.') && before(4) == Some("app") && before(2).is_some_and(|port| PORTS.contains(&port))
}

/// Names given to `Cause::Duty("…")` and to a store's `self.duty("…", …)`.
fn duties(all: &[Token]) -> Vec<(usize, &str)> {
    all.windows(3)
        .filter_map(|part| match (&part[0].kind, &part[1].kind, &part[2].kind) {
            (Kind::Ident(word), Kind::Punct('('), Kind::Text(name)) if word == "Duty" || word == "duty" => {
                Some((part[2].line, name.as_str()))
            }
            _ => None,
        })
        .collect()
}
