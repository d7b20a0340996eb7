//! Each rule fires when it is broken, names file and line, and stays silent in a small repository that keeps all of them.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::tidy::{Violation, check};

/// A repository of a few files in a folder of its own, removed when the test ends.
struct Planted {
    root: PathBuf,
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

const CLEAN: &[(&str, &str)] = &[
    ("topology.toml", "[[region]]\ncode = \"eu\"\n"),
    ("crates/common/Cargo.toml", "[package]\nname = \"common\"\n"),
    ("crates/common/src/lib.rs", "//! Words.\npub mod clock;\npub mod ids;\n"),
    ("crates/common/src/clock.rs", "//! Time.\npub fn now() { chrono::Utc::now(); std::time::SystemTime::now(); }\n"),
    ("crates/common/src/ids.rs", "//! Ids.\npub fn random() { uuid::Uuid::new_v4(); }\n"),
    ("crates/contracts/Cargo.toml", "[package]\nname = \"contracts\"\n[dependencies]\ncommon.workspace = true\n"),
    ("crates/contracts/src/lib.rs", "//! Boundaries.\n"),
    (
        "crates/messaging/Cargo.toml",
        "[package]\nname = \"messaging\"\n[dependencies]\ncontracts.workspace = true\n[dev-dependencies]\ntestkit.workspace = true\n",
    ),
    ("crates/messaging/src/lib.rs", "//! Events.\n"),
    ("crates/chassis/Cargo.toml", "[package]\nname = \"chassis\"\n[dependencies]\ncontracts.workspace = true\n"),
    ("crates/chassis/src/lib.rs", "//! Processes.\n"),
    ("crates/chassis/src/config.rs", "//! Settings.\npub fn read() { let _ = std::env::var(\"A\"); }\n"),
    ("crates/chassis/src/lifecycle.rs", "//! Life.\npub fn go() { tokio::spawn(async {}); }\n"),
    (
        "crates/testkit/Cargo.toml",
        "[package]\nname = \"testkit\"\n[dependencies]\nmessaging.workspace = true\nxtask.workspace = true\n",
    ),
    (
        "crates/testkit/src/lib.rs",
        "//! Workbench.\nfn any() { std::env::var(\"A\"); tokio::spawn(x); Uuid::new_v4(); }\n",
    ),
    ("crates/saga/Cargo.toml", "[package]\nname = \"saga\"\n[dependencies]\ncontracts.workspace = true\n"),
    ("crates/saga/src/lib.rs", "//! The saga.\n"),
    ("crates/xtask/Cargo.toml", "[package]\nname = \"xtask\"\n"),
    ("crates/xtask/src/lib.rs", "//! Tools.\n"),
    (
        "services/shop/Cargo.toml",
        "[package]\nname = \"shop\"\n[dependencies]\nchassis.workspace = true\nmessaging = { workspace = true }\n",
    ),
    (
        "services/shop/src/domain/mod.rs",
        "//! Rules.\nuse super::domain::order::Order;\nlet serde = 1; // serde::Serialize in a comment\nconst A: &str = \"sqlx::query\";\n\
         #[cfg(test)]\nmod tests {\n    use crate::outbound::Memory;\n    #[tokio::test]\n    async fn t() { \"eu\" }\n}\n",
    ),
    (
        "services/shop/src/domain/order.rs",
        "//! Orders.\nuse common::Money;\nuse crate::domain::Line;\nuse super::Line;\n",
    ),
    (
        "services/shop/src/usecases/mod.rs",
        "//! Verbs.\nuse crate::domain::{order::Order, Line};\nuse serde::Serialize;\n",
    ),
    ("services/shop/src/inbound/mod.rs", "//! In.\nuse crate::{usecases::Shop, domain};\nuse axum::Router;\n"),
    ("services/shop/src/outbound/mod.rs", "//! Out.\nuse crate::usecases::ports::Store;\nuse sqlx::PgPool;\n"),
    ("services/shop/src/wiring.rs", "//! All.\nuse crate::{inbound, outbound, usecases};\n"),
    ("services/shop/tests/it/main.rs", "//! Tests.\nfn t() { std::env::var(\"eu\"); SystemTime::now(); }\n"),
    ("services/other/Cargo.toml", "[package]\nname = \"other\"\n"),
    ("services/other/src/lib.rs", "//! Other.\n"),
    ("tools/load/Cargo.toml", "[package]\nname = \"load\"\n[dependencies]\ncommon.workspace = true\n"),
    ("tools/load/src/main.rs", "//! Load.\nfn main() { std::env::var(\"eu\"); }\n"),
    (
        "tests/fleet/Cargo.toml",
        "[package]\nname = \"fleet\"\n[dependencies]\nshop.workspace = true\nother.workspace = true\n",
    ),
    ("tests/fleet/src/lib.rs", "//! Stories.\n"),
];

fn planted(name: &str, changes: &[(&str, &str)]) -> Planted {
    let root = std::env::temp_dir().join(format!("shopsphere-tidy-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    for (file, text) in CLEAN.iter().chain(changes) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder for the planted file");
        fs::write(path, text).expect("the planted file");
    }
    Planted { root }
}

/// What is found when one file is put over the clean repository.
fn found(name: &str, file: &str, text: &str) -> Vec<Violation> {
    let planted = planted(name, &[(file, text)]);
    check(&planted.root).expect("the planted repository can be read")
}

/// Exactly one violation, of this rule, in this file and line, with these words.
#[track_caller]
fn assert_breaks(file: &str, text: &str, rule: &str, line: usize, words: &str) {
    let name: String =
        format!("{rule}-{file}-{words}").chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    let violations = found(&name, file, text);
    assert_eq!(violations.len(), 1, "one violation in {file}, found {violations:#?}");
    let violation = &violations[0];
    assert_eq!((violation.rule, violation.line), (rule, line), "{violation}");
    assert_eq!(violation.file, Path::new(file), "{violation}");
    assert!(violation.message.contains(words), "{violation} should say {words}");
}

#[test]
fn a_repository_that_keeps_all_rules_has_no_violations() {
    let planted = planted("clean", &[]);
    let violations = check(&planted.root).expect("the planted repository can be read");
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn an_empty_folder_is_an_error_and_not_a_success() {
    let root = std::env::temp_dir().join(format!("shopsphere-tidy-{}-empty", std::process::id()));
    fs::create_dir_all(&root).expect("an empty folder");
    assert!(check(&root).is_err());
    let _ = fs::remove_dir_all(&root);
}

#[test]
fn a_crate_that_knows_too_much_is_named_with_the_line_of_its_manifest() {
    let manifest =
        |name: &str, dependency: &str| format!("[package]\nname = \"{name}\"\n\n[dependencies]\n{dependency}\n");
    for (from, folder, to) in [
        ("common", "crates/common", "contracts"),
        ("contracts", "crates/contracts", "messaging"),
        ("messaging", "crates/messaging", "chassis"),
        ("chassis", "crates/chassis", "messaging"),
        ("chassis", "crates/chassis", "testkit"),
        ("xtask", "crates/xtask", "common"),
        ("testkit", "crates/testkit", "shop"),
        ("shop", "services/shop", "other"),
        ("shop", "services/shop", "testkit"),
        ("shop", "services/shop", "load"),
        ("load", "tools/load", "shop"),
        ("shop", "services/shop", "saga"),
        ("saga", "crates/saga", "messaging"),
    ] {
        let text = manifest(from, &format!("{to}.workspace = true"));
        assert_breaks(
            &format!("{folder}/Cargo.toml"),
            &text,
            "dependencies",
            5,
            &format!("{from} may not depend on {to}"),
        );
    }
}

#[test]
fn renamed_and_target_dependencies_are_seen_too() {
    let renamed = "[package]\nname = \"shop\"\n[dependencies]\nfriend = { path = \"../other\", package = \"other\" }\n";
    assert_breaks("services/shop/Cargo.toml", renamed, "dependencies", 4, "other");
    let target = "[package]\nname = \"shop\"\n[target.'cfg(unix)'.dependencies]\nother = { path = \"../other\" }\n";
    assert_breaks("services/shop/Cargo.toml", target, "dependencies", 4, "other");
}

#[test]
fn tests_of_a_service_may_use_the_workbench_but_no_other_service() {
    let workbench = "[package]\nname = \"shop\"\n[dev-dependencies]\ntestkit.workspace = true\nload.workspace = true\n";
    assert!(found("workbench", "services/shop/Cargo.toml", workbench).is_empty());
    let other = "[package]\nname = \"shop\"\n[dev-dependencies]\nother.workspace = true\n";
    assert_breaks("services/shop/Cargo.toml", other, "dependencies", 4, "other");
}

#[test]
fn the_domain_names_no_other_room() {
    for (line, room) in [
        ("use crate::usecases::Shop;", "usecases"),
        ("use crate::{domain::Line, inbound::http};", "inbound"),
        ("fn f() { crate::outbound::go() }", "outbound"),
        ("use super::super::wiring::Wiring;", "wiring"),
    ] {
        assert_breaks(
            "services/shop/src/domain/order.rs",
            &format!("//! Orders.\n\n{line}\n"),
            "layers",
            3,
            &format!("domain may not use {room}"),
        );
    }
}

#[test]
fn the_domain_names_no_driver_runtime_or_wire_format() {
    for driver in ["sqlx", "rdkafka", "axum", "tonic", "serde", "reqwest", "mongodb", "redis", "tokio"] {
        let text = format!("//! Orders.\nuse {driver}::Thing;\n");
        assert_breaks("services/shop/src/domain/order.rs", &text, "layers", 2, &format!("crate {driver}"));
    }
    let derive = "//! Orders.\n#[derive(Debug, serde::Serialize)]\nstruct Order;\n";
    assert_breaks("services/shop/src/domain/order.rs", derive, "layers", 2, "crate serde");
    assert_breaks("services/shop/src/domain/order.rs", "//! Orders.\nasync fn decide() {}\n", "layers", 2, "no async");
}

#[test]
fn use_cases_know_ports_and_domain_only() {
    for (line, words) in [
        ("use crate::outbound::postgres::Store;", "usecases may not use outbound"),
        ("use crate::inbound;", "usecases may not use inbound"),
        ("use crate::wiring::Wiring;", "usecases may not use wiring"),
        ("use sqlx::PgPool;", "crate sqlx"),
        ("fn f(_: axum::Router) {}", "crate axum"),
    ] {
        assert_breaks("services/shop/src/usecases/place_order.rs", &format!("//! Verb.\n{line}\n"), "layers", 2, words);
    }
}

#[test]
fn inbound_and_outbound_do_not_know_each_other() {
    assert_breaks(
        "services/shop/src/inbound/http.rs",
        "//! In.\nuse crate::outbound::Store;\n",
        "layers",
        2,
        "inbound may not use outbound",
    );
    assert_breaks("services/shop/src/inbound/http.rs", "//! In.\nuse sqlx::PgPool;\n", "layers", 2, "crate sqlx");
    assert_breaks(
        "services/shop/src/outbound/store.rs",
        "//! Out.\nuse crate::inbound::http;\n",
        "layers",
        2,
        "outbound may not use inbound",
    );
}

#[test]
fn environment_tasks_clock_and_ids_have_one_owner_each() {
    for (line, rule) in [
        ("fn f() { std::env::var(\"A\"); }", "environment"),
        ("use std::env; fn f() { env::var_os(\"A\"); }", "environment"),
        ("fn f() { tokio::spawn(work); }", "tasks"),
        ("use tokio::task; fn f() { task::spawn(work); }", "tasks"),
        ("fn f() { chrono::Utc::now(); }", "clock"),
        ("fn f() { std::time::SystemTime::now(); }", "clock"),
        ("fn f() { uuid::Uuid::new_v4(); }", "ids"),
        ("fn f() { Uuid::now_v7(); }", "ids"),
    ] {
        for file in ["services/shop/src/outbound/store.rs", "crates/messaging/src/relay.rs"] {
            assert_breaks(file, &format!("//! Part.\n\n\n{line}\n"), rule, 4, "only");
        }
    }
}

#[test]
fn a_region_is_named_in_the_topology_only() {
    assert_breaks(
        "services/shop/src/outbound/store.rs",
        "//! Out.\nconst HOME: &str = \"eu\";\n",
        "regions",
        2,
        "\"eu\"",
    );
    assert!(found("word", "services/shop/src/outbound/store.rs", "//! Out.\nconst A: &str = \"europe\";\n").is_empty());
}

#[test]
fn a_file_has_a_header_a_readable_length_and_nothing_unfinished() {
    assert_breaks("crates/common/src/money.rs", "pub struct Money;\n", "header", 1, "//!");
    let long = format!("//! Long.\n{}", "// line\n".repeat(600));
    assert_breaks("crates/common/src/money.rs", &long, "length", 601, "601 lines");
    let mark = concat!("TO", "DO");
    assert_breaks("crates/common/src/money.rs", &format!("//! Money.\n// {mark}: more\n"), "unfinished", 2, mark);
}

/// A table with one row, and a file of the saga beside it.
fn in_saga(name: &str, file: &str, text: &str) -> Vec<Violation> {
    let table = "//! Table.\nboundaries! {\n    1 Capture \"gateway-capture\" Call \"shop\";\n    2 Expire \"expire\" Commit \"shop\";\n}\n";
    let manifest = "[package]\nname = \"order-payment\"\n";
    let repository = planted(
        name,
        &[("crates/messaging/src/boundary.rs", table), ("services/order-payment/Cargo.toml", manifest), (file, text)],
    );
    check(&repository.root).expect("the planted repository can be read")
}

#[test]
fn a_durable_step_outside_a_boundary_is_named() {
    let usecase = "services/order-payment/src/usecases/pay.rs";
    let adapter = "services/order-payment/src/outbound/store.rs";
    let messaging = "crates/messaging/src/relay.rs";
    for (n, (file, body, naked)) in [
        (usecase, "app.gateway.send(call).await;", true),
        (usecase, "crash::around(B::Capture, app.gateway.send(call)).await?;", false),
        (usecase, "app.gate.pass().await;", true),
        (usecase, "line.prices.quote(x);", false),
        (usecase, "app.fraud.assess(facts).await;", true),
        (usecase, "if app.fraud.is_there() { return; }", false),
        (usecase, "Cause::Duty(\"expire\");", false),
        (usecase, "Cause::Duty(\"forgotten\");", true),
        (adapter, "self.duty(\"forgotten\", work);", true),
        (adapter, "sqlx::query(\"UPDATE a SET b = 1\").execute(pool).await;", true),
        (adapter, "sqlx::query(\"UPDATE a SET b = 1\").execute(&mut *tx).await;", false),
        (adapter, "sqlx::query(\"SELECT 1\").fetch_one(pool).await;", false),
        (adapter, "redis.set_ex(key, value, 1).await;", true),
        (messaging, "sqlx::raw_sql(\"COMMIT\").execute(c).await;", true),
        (messaging, "consumer.commit_consumer_state(mode);", true),
        (messaging, "around_now(B::Expire, || consumer.commit_consumer_state(mode));", false),
        (messaging, "producer.send_result(record);", true),
        (messaging, "self.publisher.send(topic);", true),
    ]
    .into_iter()
    .enumerate()
    {
        let found = in_saga(&format!("boundary{n}"), file, &format!("//! Part.\n\nfn go() {{\n    {body}\n}}\n"));
        let lines: Vec<_> = found.iter().map(|violation| (violation.rule, violation.line)).collect();
        assert_eq!(lines, if naked { vec![("boundaries", 4)] } else { vec![] }, "{body}: {found:?}");
    }
}

#[test]
fn a_step_may_stand_in_a_function_that_is_only_called_within_a_boundary() {
    let file = "crates/messaging/src/relay.rs";
    let inner = "//! Part.\nfn mark() {\n    sqlx::query(\"DELETE FROM a\").execute(c).await;\n}\n";
    let only_within = format!("{inner}fn go() {{ around(B::Expire, self.mark()).await; }}\n");
    assert!(in_saga("within", file, &only_within).is_empty());
    let also_without = format!("{only_within}fn other() {{ self.mark().await; }}\n");
    assert_eq!(in_saga("without", file, &also_without).len(), 1);
    assert_eq!(in_saga("nobody", file, inner).len(), 1, "who calls it is not known");
    // A function that is called like the port's method does not call itself.
    let namesake = "//! Part.\nfn assess() {\n    app.fraud.assess(facts).await;\n}\n";
    assert_eq!(in_saga("namesake", "services/order-payment/src/usecases/screen.rs", namesake).len(), 1);
}

#[test]
fn strings_comments_and_lifetimes_do_not_hide_what_follows() {
    let text = "//! Orders.\nconst A: &str = r#\"a \" quote\"#; const B: char = '\"'; const C: char = '\\'';\n/* a /* nested */ comment */\n\
                fn f<'a>(x: &'a str) -> &'a str { x }\nuse sqlx::PgPool;\n";
    assert_breaks("services/shop/src/domain/order.rs", text, "layers", 5, "crate sqlx");
}

#[test]
fn a_migration_that_takes_something_away_says_since_when_nobody_reads_it() {
    let first = ("migrations/shop/0100_stock.sql", "CREATE TABLE stock (sku TEXT, held INT);\n");
    let breaks = |name: &str, text: &str| {
        let planted = planted(name, &[first, ("migrations/shop/0101_less.sql", text)]);
        check(&planted.root).expect("the planted repository can be read")
    };
    let silent = breaks("contract-silent", "-- Less.\nALTER TABLE stock DROP COLUMN held;\n");
    assert_eq!(silent.len(), 1, "{silent:#?}");
    assert_eq!((silent[0].rule, silent[0].line), ("contract", 2), "{}", silent[0]);
    assert_eq!(silent[0].file, Path::new("migrations/shop/0101_less.sql"));
    let said =
        "-- contract: last reader went in 0100: held is counted elsewhere\nALTER TABLE stock DROP COLUMN held;\n";
    assert!(breaks("contract-said", said).is_empty());
    assert_breaks(
        "migrations/order_payment/0171_reductions.sql",
        "SELECT 1;\n",
        "contract",
        1,
        "0 steps where 1 were judged: a wider check",
    );
}
