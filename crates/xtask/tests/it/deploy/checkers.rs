//! The checkers of `./dev test`, each shown a file with a mistake: it is refused, and what is said names the place. A checker that is not
//! on this machine is skipped by name; those built from Go modules are never built here.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xtask::compose_check;
use xtask::deploy::checks::{Building, Outcome, gateway, queries, schemas, score, terraform};
use xtask::deploy::objects::{Object, Rendered};
use xtask::layout::{Layout, checkout};
use xtask::ports::Ports;
use xtask::progress::skipped;
use xtask::stack::{Purpose, Stack, haproxy};

use super::SITES;

/// A state folder of one test.
struct Place {
    layout: Layout,
    folder: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("shopsphere-checkers-{}-{name}", std::process::id()));
        let layout = Layout::open(&checkout(), &folder).unwrap();
        let folder = folder.join("work");
        fs::create_dir_all(&folder).unwrap();
        Place { layout, folder }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.folder.parent().unwrap());
    }
}

/// The objects of one site, one of them changed.
fn planted(site: &str, kind: &str, name: &str, change: impl Fn(&mut Value)) -> Vec<Rendered> {
    let mut sites: Vec<Rendered> = SITES.iter().filter(|rendered| rendered.site == site).cloned().collect();
    let found = |object: &&mut Object| object.kind() == kind && (name.is_empty() || object.name() == name);
    let object = sites[0].objects.iter_mut().find(found).unwrap_or_else(|| panic!("{site} has no {kind} {name}"));
    change(&mut object.value);
    sites
}

fn only(site: &str) -> Vec<Rendered> {
    SITES.iter().filter(|rendered| rendered.site == site).cloned().collect()
}

/// One object alone: these checkers look at each by itself, and take their time for it.
fn alone(mut sites: Vec<Rendered>, kind: &str, name: &str) -> Vec<Rendered> {
    let wanted = |object: &Object| object.kind() == kind && (name.is_empty() || object.name() == name);
    sites.iter_mut().for_each(|rendered| rendered.objects.retain(wanted));
    sites
}

/// `None` and a line when the checker is not here.
fn made(checker: &str, outcome: Outcome) -> Option<Result<String, String>> {
    match outcome {
        Outcome::Passed(said) => Some(Ok(said)),
        Outcome::Failed(why) => Some(Err(why)),
        Outcome::Skipped(why) => {
            skipped(&format!("{checker}: {why}"));
            None
        }
    }
}

fn here(checker: &str, program: anyhow::Result<PathBuf>) -> Option<PathBuf> {
    program.inspect_err(|error| skipped(&format!("{checker}: {error:#}"))).ok()
}

fn refused(outcome: Result<String, impl ToString>, words: &[&str]) {
    let why = outcome.map_err(|error| error.to_string()).expect_err("a mistake was accepted");
    for word in words {
        assert!(why.contains(word), "{word:?} is not in: {why}");
    }
}

#[test]
fn kubernetes_own_kinds_are_refused_for_an_unknown_key_and_for_a_wrong_type() {
    let place = Place::new("native");
    let judge = |sites: &[Rendered]| made("native objects", schemas::native(&place.layout, sites));
    let Some(good) = judge(&alone(only("rdc-a"), "Deployment", "user-serve")) else { return };
    assert_eq!(good.map(|said| said.starts_with("1 objects, strictly")), Ok(true));
    let misspelt = planted("rdc-a", "Deployment", "user-serve", |value| {
        value["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = json!({});
    });
    refused(judge(&alone(misspelt, "Deployment", "user-serve")).unwrap(), &["livenessProb", "rdc-a"]);
    let wrong =
        planted("rdc-a", "PodDisruptionBudget", "user-serve", |value| value["spec"]["maxUnavailable"] = json!([1]));
    refused(judge(&alone(wrong, "PodDisruptionBudget", "user-serve")).unwrap(), &["maxUnavailable"]);
}

#[test]
fn an_operators_kind_is_refused_by_the_schema_of_its_version() {
    let place = Place::new("custom");
    let judge = |sites: &[Rendered]| made("custom resources", schemas::custom(&place.layout, sites));
    // its schema has a pattern that only Go reads
    let Some(good) = judge(&alone(only("rdc-a"), "PrometheusRule", "")) else { return };
    assert_eq!(good.map(|said| said.ends_with("objects of 1 kinds")), Ok(true));
    let old = planted("hq", "KafkaMirrorMaker2", "", |value| value["spec"]["mirrors"][0]["topicPattern"] = json!(".*"));
    refused(judge(&alone(old, "KafkaMirrorMaker2", "")).unwrap(), &["kafkamirrormaker2", "topicPattern"]);
    let text =
        planted("rdc-a", "ScaledObject", "user-serve", |value| value["spec"]["minReplicaCount"] = json!("three"));
    refused(
        judge(&alone(text, "ScaledObject", "user-serve")).unwrap(),
        &["rdc-a-scaledobject-user-serve", "minReplicaCount"],
    );
}

#[test]
fn a_declaration_of_the_load_balancer_is_refused_by_the_vendors_schema() {
    let place = Place::new("balancer");
    let source = checkout().join("deploy/edge/f5/as3/rdc-a.json");
    let mut declaration: Value = serde_json::from_str(&fs::read_to_string(source).unwrap()).unwrap();
    declaration["declaration"]["shopsphere"]["edge"]["gateways"]["loadBalancingMode"] = json!("whoever");
    fs::write(place.folder.join("rdc-a.json"), declaration.to_string()).unwrap();
    let Some(outcome) = made("load balancer", schemas::balancer(&place.layout, &place.folder)) else { return };
    refused(outcome, &["rdc-a.json"]);
}

#[test]
fn kube_score_finds_what_a_deployment_lacks() {
    let place = Place::new("score");
    let Some(program) = here("kube-score", score::program(&place.layout, Building::Forbidden)) else { return };
    let judge = |sites: &[Rendered]| score::score(&program, &place.folder, sites).map_err(|error| format!("{error:#}"));
    assert!(judge(&SITES).unwrap_or_else(|why| panic!("{why}")).contains("objects"));
    let unlimited = planted("rdc-b", "Deployment", "catalog-serve", |value| {
        value["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    });
    refused(judge(&unlimited), &["rdc-b", "catalog-serve", "Memory limit is not set"]);
    let writable = planted("rdc-b", "Deployment", "catalog-serve", |value| {
        value["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({});
    });
    refused(judge(&writable), &["catalog-serve", "writable root"]);
}

#[test]
fn haproxy_refuses_a_mistake_with_its_line_and_a_mark_that_nobody_filled() {
    let place = Place::new("gateway");
    let stack = Stack::open(place.layout.clone(), Ports::at(0).unwrap(), Purpose::Test, false).unwrap();
    assert_eq!(gateway::check(&stack).unwrap(), "2 configurations from one template");
    let text = haproxy::configuration(&stack, 1).unwrap();
    let judge = |text: &str| {
        gateway::parsed(&place.folder.join("edge.cfg"), text)
            .map(|()| String::new())
            .map_err(|error| format!("{error:#}"))
    };
    refused(judge(&text.replace("timeout server 30s", "timeout servr 30s")), &["edge.cfg", "servr"]);
    refused(judge(&text.replace("option redispatch", "option redispatch @RETRIES@")), &["@RETRIES@"]);
    // a rule that stands behind its turn is a warning, and a warning is a mistake
    let late = "    use_backend %[var(txn.service)]";
    refused(
        judge(&text.replace(late, &format!("{late} if FALSE\n    http-request set-header X-Late 1\n{late}"))),
        &["edge.cfg", "after"],
    );
}

#[test]
fn promtool_refuses_a_rule_a_query_and_a_configuration_by_the_name_of_their_object() {
    let place = Place::new("prometheus");
    let Some(program) = here("promtool", queries::program(&place.layout)) else { return };
    let judge = |sites: &[Rendered]| {
        queries::check(&program, &place.folder, &checkout(), sites).map_err(|error| format!("{error:#}"))
    };
    let said = judge(&SITES).unwrap_or_else(|why| panic!("{why}"));
    assert!(said.contains("rules") && said.ends_with("8 configurations"), "{said}");
    let rule = planted("rdc-c", "PrometheusRule", "saga", |value| {
        value["spec"]["groups"][0]["rules"][0]["expr"] = json!("max by (job (x)")
    });
    refused(judge(&rule), &["rdc-c-rules-saga", "parse"]);
    let template = planted("rdc-c", "PrometheusRule", "saga", |value| {
        value["spec"]["groups"][0]["rules"][0]["annotations"]["summary"] = json!("{{ $lables.job }}");
    });
    refused(judge(&template), &["rdc-c-rules-saga", "lables"]);
    let query = planted("rdc-c", "ScaledObject", "user-serve", |value| {
        value["spec"]["triggers"][0]["metadata"]["query"] = json!("sum(rate(x[soon]))")
    });
    refused(judge(&query), &["rdc-c-scaledobject-user-serve"]);
    let slow = planted("rdc-c", "ServiceMonitor", "user", |value| {
        value["spec"]["endpoints"][0]["scrapeTimeout"] = json!("9s")
    });
    refused(judge(&slow), &["rdc-c-prometheus-region", "timeout"]);
    let relabel = planted("rdc-c", "Prometheus", "region", |value| {
        value["spec"]["remoteWrite"][0]["writeRelabelConfigs"][0]["action"] = json!("kep");
    });
    refused(judge(&relabel), &["rdc-c-prometheus-region", "kep"]);
}

#[test]
fn terraform_is_refused_when_it_does_not_parse_and_when_it_is_formatted_otherwise() {
    let place = Place::new("terraform");
    let programs = [
        here("terraform", terraform::program(&place.layout, Building::Forbidden)),
        Some(place.layout.cache.join(format!("hclfmt-{}/hclfmt", xtask::provision::pins::hclfmt::VERSION)))
            .filter(|path| path.is_file()),
    ];
    let text = fs::read_to_string(checkout().join("deploy/edge/akamai/gtm.tf")).unwrap();
    for program in programs.into_iter().flatten() {
        let judge = |folder: &Path| terraform::check(&program, folder).map_err(|error| format!("{error:#}"));
        assert!(judge(&checkout().join("deploy/edge")).is_ok_and(|said| said.starts_with("2 files")));
        fs::write(place.folder.join("gtm.tf"), text.replacen("  type = string\n}", "  type = string\n", 1)).unwrap();
        refused(judge(&place.folder), &["gtm.tf"]);
        fs::write(place.folder.join("gtm.tf"), text.replacen("nickname  =", "nickname =", 1)).unwrap();
        refused(judge(&place.folder), &["gtm.tf", "fmt"]);
    }
}

#[test]
fn a_compose_file_with_a_misspelt_key_is_refused() {
    let place = Place::new("compose");
    let text = fs::read_to_string(checkout().join("docker-compose.yml")).unwrap();
    let file = place.folder.join("docker-compose.yml");
    fs::write(&file, text.replacen("healthcheck:", "healthchek:", 1)).unwrap();
    match compose_check::check_file(&place.layout, &file) {
        compose_check::Outcome::Passed => panic!("a misspelt key was accepted"),
        compose_check::Outcome::Failed(why) => assert!(why.contains("healthchek"), "{why}"),
        compose_check::Outcome::Skipped(why) => skipped(&format!("compose: {why}")),
    }
}

#[test]
fn a_container_that_is_told_too_little_or_what_its_program_refuses_is_named() {
    let text = fs::read_to_string(checkout().join("docker-compose.yml")).unwrap();
    let services = xtask::render::services::read(&checkout()).unwrap();
    let judge = |text: &str| compose_check::settings(&serde_yaml_ng::from_str(text).unwrap(), &services);
    assert_eq!(judge(&text), Vec::<String>::new());
    // catalog asks order-payment who holds what, and order-payment answers to others than itself
    let cases = [
        (
            "  SHOPSPHERE__ORDER_PAYMENT__GRPC_URL: http://order-payment:8122\n",
            "",
            "SHOPSPHERE__ORDER_PAYMENT__GRPC_URL",
        ),
        ("  SHOPSPHERE__HTTP__BIND: 0.0.0.0\n", "", "SHOPSPHERE__HTTP__BIND"),
        ("SHOPSPHERE__PRICES__LOCK_KEY:", "SHOPSPHERE__PRICES__LOCKKEY:", "SHOPSPHERE__PRICES__LOCKKEY"),
    ];
    for (from, to, named) in cases {
        assert!(text.contains(from), "{from} is no longer in docker-compose.yml");
        let wrong = judge(&text.replacen(from, to, 1));
        assert!(wrong.iter().any(|line| line.contains(named)), "{named}: {wrong:?}");
    }
}

#[test]
fn a_database_whose_files_go_with_its_container_or_whose_log_grows_without_end_is_named() {
    let text = fs::read_to_string(checkout().join("docker-compose.yml")).unwrap();
    let judge = |text: &str, version| compose_check::databases(&serde_yaml_ng::from_str(text).unwrap(), version);
    assert_eq!(judge(&text, "15.14"), Vec::<String>::new());
    let cases = [
        ("postgres-dr:/var/lib/postgresql/data", "postgres-dr:/var/lib/postgresql", "postgres-dr keeps its files in"),
        ("max_slot_wal_keep_size=4GB", "wal_level=replica", "a slot that nobody reads"),
    ];
    for (from, to, named) in cases {
        assert!(text.contains(from), "{from} is no longer in docker-compose.yml");
        let wrong = judge(&text.replacen(from, to, 1), "15.14");
        assert!(matches!(&wrong[..], [line] if line.starts_with(named)), "{named}: {wrong:?}");
    }
    // from then on the image keeps them one folder above
    assert_eq!(judge(&text, "18.1").len(), 2);
}
