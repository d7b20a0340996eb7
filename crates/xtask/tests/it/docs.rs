//! What the documents say is there, is there: pages of problem codes, the index of decisions, tests named by requirements,
//! links, paths, ports, topics. Decided here: that a document which names something must name something real. Not decided
//! here: whether its sentences are true; people read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use xtask::layout::checkout;
use xtask::ports::TABLE;

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below `folder` with an ending, sorted; built output and local state are no documents.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![checkout().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The texts between two marks, in order; the marks may be the same.
fn between<'t>(text: &'t str, open: &'t str, close: &'t str) -> impl Iterator<Item = &'t str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(open)?;
        let (inside, behind) = after.split_once(close)?;
        rest = behind;
        Some(inside)
    })
}

/// A problem code: lower-case words with hyphens, or one word.
fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.split('-').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Text literals of `fn code(&self)` bodies and of `Problem::new(kind, "code", …)` outside tests, with the file they stand in.
fn codes_in_use() -> BTreeMap<String, PathBuf> {
    let mut codes = BTreeMap::new();
    let sources = files("crates", ".rs").into_iter().chain(files("services", ".rs"));
    for path in sources.filter(|path| path.components().any(|part| part.as_os_str() == "src")) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        // Tests close a file; single fields have codes of their own.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default().replace("FieldProblem::new(", "(");
        let bodies = code_bodies(&text).flat_map(|body| between(body, "\"", "\"").collect::<Vec<_>>());
        let problems = between(&text, "Problem::new(", ";").filter_map(|call| between(call, "\"", "\"").next());
        for code in bodies.chain(problems).filter(|code| is_code(code)) {
            codes.entry(code.to_owned()).or_insert_with(|| path.clone());
        }
    }
    codes
}

/// The bodies of `fn code(&self)`, each up to the brace that stands as far in as it began.
fn code_bodies(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("fn code(&self) -> &'static str {").filter_map(|(at, _)| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let indent = text[line..].len() - text[line..].trim_start_matches(' ').len();
        text[at..].split(&format!("\n{}}}", " ".repeat(indent))).next()
    })
}

/// The closed list: `NAME = "code": "Title",`
fn listed_codes() -> BTreeSet<String> {
    let text = read("crates/chassis/src/problem/codes.rs");
    let codes = text.lines().filter_map(|line| line.split_once(" = \"")?.1.split_once("\": \"")).map(|(code, _)| code);
    codes.map(str::to_owned).collect()
}

#[test]
fn every_problem_code_has_a_title_and_a_page_and_every_page_a_code() {
    let (used, listed) = (codes_in_use(), listed_codes());
    assert!(
        used.len() > 20 && listed.len() > 30,
        "the code is written otherwise now: {} used, {} listed",
        used.len(),
        listed.len()
    );
    let unlisted: Vec<_> = used.iter().filter(|(code, _)| !listed.contains(*code)).collect();
    assert!(unlisted.is_empty(), "codes without a title in chassis::problem::codes: {unlisted:?}");
    let pages: BTreeSet<String> = files("docs/errors", ".md")
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "README")
        .collect();
    assert_eq!(pages, listed, "left: pages in docs/errors, right: codes");
    let index = read("docs/errors/README.md");
    let missing: Vec<_> = listed.iter().filter(|code| !index.contains(&format!("[{code}]({code}.md)"))).collect();
    assert!(missing.is_empty(), "not in docs/errors/README.md: {missing:?}");
}

#[test]
fn every_decision_is_in_the_index_under_a_number_of_its_own() {
    let index = read("docs/adr/README.md");
    let pages: Vec<String> = files("docs/adr", ".md")
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| name != "README.md")
        .collect();
    assert!(pages.len() > 10);
    let mut numbers = BTreeSet::new();
    for page in &pages {
        let number = &page[..4];
        assert!(numbers.insert(number), "two decisions have the number {number}");
        assert!(index.contains(&format!("[{number}]({page})")), "{page} is not in docs/adr/README.md");
        assert!(
            read(&format!("docs/adr/{page}")).starts_with(&format!("# {number}: ")),
            "{page} begins with another number"
        );
    }
    assert_eq!(
        between(&index, "](0", ")").count(),
        pages.len(),
        "the index lists a decision that is not there, or one twice"
    );
}

#[test]
fn every_requirement_has_one_row_with_a_status() {
    let text = read("docs/REQUIREMENTS.md");
    let mut seen = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _, status] = cells[..] else { continue };
        if id.len() == 4 && id[2..].bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'-') {
            let known = ["done (", "partly (", "open"].iter().any(|word| status.starts_with(word));
            assert!(known, "{id} has no status: {status}");
            assert!(!status.starts_with("done") || status.contains("[`"), "{id} is done, but no test is named");
            *seen.entry(id.to_owned()).or_insert(0) += 1;
        }
    }
    let wanted = [("S", 59), ("B", 42), ("C", 15)]
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |number| format!("{letter}-{number:02}")));
    let wanted: BTreeMap<String, i32> = wanted.map(|id| (id, 1)).collect();
    assert_eq!(seen, wanted, "left: rows found and how often, right: rows that must be there");
}

#[test]
fn every_test_a_document_names_exists() {
    let mut named = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap_or_default();
        // [`name`](path.rs), and in decisions: `path.rs`: `name`, `name`
        for link in between(&text, "[`", ")") {
            let Some((name, path)) = link.split_once("`](") else { continue };
            if path.ends_with(".rs") {
                assert_has_test(&document, &folder_of(&document).join(path), name);
                named += 1;
            }
        }
        for line in text.lines().filter(|line| line.starts_with("- `")) {
            let Some((path, names)) = line[3..].split_once(".rs`: ") else { continue };
            for name in between(names, "`", "`").filter(|name| !name.contains('/')) {
                assert_has_test(&document, &checkout().join(format!("{path}.rs")), name);
                named += 1;
            }
        }
    }
    assert!(named > 100, "only {named} tests are named; the documents are written otherwise now");
}

fn assert_has_test(document: &Path, file: &Path, name: &str) {
    let text = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{} names {}: {error}", document.display(), file.display()));
    assert!(
        // A story told on several stores is generic.
        text.contains(&format!("fn {name}(")) || text.contains(&format!("fn {name}<")),
        "{} names {name}, which is not in {}",
        document.display(),
        file.display()
    );
}

fn documents() -> Vec<PathBuf> {
    let readmes =
        ["crates", "services", "tools", "migrations"].into_iter().flat_map(|folder| files(folder, "README.md"));
    [checkout().join("README.md")].into_iter().chain(files("docs", ".md")).chain(readmes).collect()
}

fn folder_of(document: &Path) -> PathBuf {
    document.parent().map(Path::to_owned).unwrap_or_default()
}

#[test]
fn every_link_and_path_in_a_document_leads_somewhere() {
    let (mut checked, mut broken) = (0, Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap_or_default();
        let links = between(&text, "](", ")").filter(|link| !link.contains("://") && !link.contains(' '));
        let links = links.map(|link| folder_of(&document).join(link.split('#').next().unwrap_or_default()));
        let paths =
            between(&text, "`", "`").filter(|path| !path.contains([' ', '<', '*', '…', '{'])).filter_map(in_repository);
        for target in links.chain(paths) {
            checked += 1;
            if !target.exists() {
                broken.push(format!("{} → {}", document.display(), target.display()));
            }
        }
    }
    assert!(checked > 150, "only {checked} links and paths found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Where a text that looks like a path of ours lies. `order-payment/usecases/x.rs` is short for the one below `services/`.
fn in_repository(text: &str) -> Option<PathBuf> {
    let first = text.split_once('/')?.0;
    let full = ["crates", "services", "tools", "migrations", "deploy", "docs", "proto"].contains(&first)
        || text.starts_with("tests/fleet");
    let short = ["user", "catalog", "order-payment", "personalization"].contains(&first) && text.contains(".rs");
    match (full, short) {
        (true, _) => Some(checkout().join(text)),
        (_, true) => {
            text.split_once('/').map(|(service, rest)| checkout().join("services").join(service).join("src").join(rest))
        }
        _ => None,
    }
}

#[test]
fn the_ports_of_the_documents_are_those_of_the_table() {
    let readme = read("README.md");
    let missing: Vec<_> = TABLE.iter().filter(|(_, _, port)| !readme.contains(&port.to_string())).collect();
    assert!(missing.is_empty(), "ports that README.md does not name: {missing:?}");
    let table: BTreeMap<&str, u16> = TABLE.iter().map(|(_, name, port)| (*name, *port)).collect();
    let compose = [
        ("EDGE", "edge"),
        ("PAYMENT_SIMULATOR", "payment-simulator"),
        ("POSTGRES", "postgres"),
        ("REDIS", "redis"),
        ("KAFKA", "kafka"),
        ("ELASTICSEARCH", "elasticsearch"),
        ("KEYCLOAK", "keycloak"),
        ("MONGO", "ferretdb"),
        ("OTLP", "otlp"),
        ("JAEGER", "jaeger query"),
    ];
    for (variable, name) in compose {
        let line = format!("{variable}_PORT={}", table[name]);
        assert!(read(".env").lines().any(|found| found == line), ".env should say {line}");
    }
}

#[test]
fn the_topics_of_the_architecture_are_those_of_the_table() {
    let source = read("crates/contracts/src/topics.rs");
    let topics = source.lines().filter_map(|line| line.trim().split_once(" = \"")?.1.split_once("\" { key: \""));
    let expected: Vec<String> = topics
        .map(|(kind, rest)| {
            let word = |label: &str| {
                rest.split_once(label)
                    .and_then(|(_, after)| after.split([',', ' ', '"']).next())
                    .unwrap_or_default()
                    .to_owned()
            };
            let key = rest.split('"').next().unwrap_or_default();
            let readers: Vec<&str> =
                rest.split_once("readers: [").map(|(_, list)| between(list, "\"", "\"").collect()).unwrap_or_default();
            let readers = if readers.is_empty() { "–".to_owned() } else { readers.join(", ") };
            let partitions = word("partitions: ").replace("SAGA_PARTITIONS", "12");
            format!(
                "| `{kind}` | {key} | {partitions} | … | {} | {} | {readers} |",
                word("class: ").to_lowercase(),
                word("writer: \"")
            )
        })
        .collect();
    assert!(expected.len() >= 12, "the table of topics is written otherwise now");
    let text = read("docs/ARCHITECTURE.md");
    let written = text.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 6);
    let written: Vec<String> = written
        .map(|line| {
            let mut cells: Vec<&str> = line.split(" | ").collect();
            cells[3] = "…";
            cells.join(" | ")
        })
        .collect();
    assert_eq!(written, expected, "left: docs/ARCHITECTURE.md, right: crates/contracts/src/topics.rs");
}
