//! The committed files.

use std::collections::BTreeSet;
use std::path::Path;

use xtask::deploy::checks::queries;
use xtask::deploy::objects::Rendered;
use xtask::deploy::rules;
use xtask::layout::checkout;
use xtask::render;

use super::SITES;

#[test]
fn every_file_is_what_its_sources_say() {
    render::check(&checkout()).unwrap_or_else(|error| panic!("{error:#}"));
    let outputs = render::outputs(&checkout()).unwrap();
    assert!(outputs.len() >= 20, "only {} files are rendered", outputs.len());
}

#[test]
fn what_would_be_deployed_keeps_every_rule() {
    let refused = rules::check(&SITES, &checkout()).unwrap();
    let lines: Vec<_> = refused.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn all_seven_sites_are_there_with_their_programs() {
    let names: Vec<_> = SITES.iter().map(|rendered| rendered.site.as_str()).collect();
    assert_eq!(names, ["rdc-a", "dr-a", "rdc-b", "dr-b", "rdc-c", "dr-c", "hq"]);
    let deployments =
        |rendered: &Rendered| rendered.objects.iter().filter(|object| object.kind() == "Deployment").count();
    for rendered in SITES.iter().filter(|rendered| rendered.site != "hq") {
        // four services in two roles, and headroom
        assert!(deployments(rendered) >= 9, "{} has {} deployments", rendered.site, deployments(rendered));
    }
}

#[test]
fn a_standby_migrates_nothing_and_keeps_fewer_pods_warm() {
    let of = |site: &str| SITES.iter().find(|rendered| rendered.site == site).unwrap();
    let jobs = |rendered: &Rendered| rendered.objects.iter().filter(|object| object.kind() == "Job").count();
    assert_eq!((jobs(of("rdc-a")), jobs(of("dr-a"))), (3, 0), "three services have tables");
    let warm = |rendered: &Rendered| -> u64 {
        let scaled = rendered.objects.iter().filter(|object| object.kind() == "ScaledObject");
        scaled.filter_map(|object| object.value["spec"]["minReplicaCount"].as_u64()).sum()
    };
    assert!(warm(of("dr-a")) < warm(of("rdc-a")), "{} and {}", warm(of("dr-a")), warm(of("rdc-a")));
}

/// Names of series in a query: words that begin as ours do.
fn series(query: &str) -> BTreeSet<String> {
    let words = query.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    let ours = |word: &&str| {
        ["shopsphere_", "http_server_", "rpc_server_", "site:", "region:"].iter().any(|start| word.starts_with(start))
    };
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn every_series_that_a_rule_a_panel_or_a_scaler_asks_for_is_one_we_emit_or_record() {
    let mut declared = String::new();
    for file in [
        "crates/chassis/src/metrics.rs",
        "crates/messaging/src/metrics.rs",
        "services/order-payment/src/metrics.rs",
        "services/catalog/src/metrics.rs",
        "services/user/src/metrics.rs",
    ] {
        declared.push_str(&std::fs::read_to_string(checkout().join(file)).unwrap());
    }
    let (mut asked, mut recorded) = (BTreeSet::new(), BTreeSet::new());
    for object in SITES.iter().flat_map(|rendered| &rendered.objects) {
        for (path, text) in object.texts() {
            if path.ends_with(".record") {
                recorded.insert(text.to_owned());
            }
            if path.ends_with(".expr") || path.ends_with(".query") {
                asked.extend(series(text));
            }
            if path.contains(".data.") && path.ends_with(".json") {
                let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
                let panels = dashboard["panels"].as_array().unwrap().iter();
                let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
                targets.for_each(|target| asked.extend(series(target["expr"].as_str().unwrap())));
            }
        }
    }
    assert!(asked.len() >= 10, "{asked:?}");
    let known = |name: &String| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        recorded.contains(name)
            || declared.contains(&format!("\"{base}\""))
            || declared.contains(&format!("\"{name}\""))
    };
    let unknown: Vec<_> = asked.iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "asked for, and nobody emits them: {unknown:?}");
}

#[test]
fn what_a_setting_lets_a_process_hold_fits_into_the_memory_it_asks_for() {
    const MIB: u64 = 1024 * 1024;
    let mut judged = 0;
    for object in SITES.iter().flat_map(|rendered| &rendered.objects).filter(|object| object.name() == "catalog-serve")
    {
        let Some(container) = object.containers().next() else { continue };
        let rows = container["env"].as_array().unwrap();
        let pages = rows.iter().find(|row| row["name"] == "SHOPSPHERE__PAGES__MAX_BYTES").unwrap();
        let pages: u64 = pages["value"].as_str().unwrap().parse().unwrap();
        let asked = container["resources"]["requests"]["memory"].as_str().unwrap();
        let asked: u64 = asked.strip_suffix("Mi").unwrap().parse().unwrap();
        // a process at rest holds 36 MB (docs/perf/requests-and-limits.md)
        assert!(asked * MIB > pages + 2 * 36 * MIB, "{asked} MiB for a cache of {pages} bytes");
        judged += 1;
    }
    assert_eq!(judged, 6, "six sites serve");
}

#[test]
fn every_alert_is_seen_to_fire() {
    let file = std::fs::read_to_string(checkout().join(queries::ALERTS)).unwrap();
    let file: serde_json::Value = serde_yaml_ng::from_str(&file).unwrap();
    let tried = file["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let fires = tried.filter(|row| row["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty()));
    let fires: BTreeSet<&str> = fires.map(|row| row["alertname"].as_str().unwrap()).collect();
    let mut alerts = BTreeSet::new();
    for object in SITES.iter().flat_map(|rendered| &rendered.objects).filter(|object| object.kind() == "PrometheusRule")
    {
        let groups = object.value["spec"]["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        alerts.extend(rules.filter_map(|rule| rule["alert"].as_str()));
    }
    assert!(alerts.len() >= 7, "{alerts:?}");
    let never: Vec<_> = alerts.difference(&fires).collect();
    assert!(never.is_empty(), "no test lets these fire: {never:?}");
}

/// What our programs are made of, as one text: without tests and without this tool, which name metrics that others have.
fn programs(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let left_out = ["target", "tests", "xtask"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !left_out {
            programs(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Our metrics in `rules`, and the dependencies that `tries` lets fail, that stand in no program as a literal.
fn said_by_nobody(rules: &str, tries: &str, programs: &str) -> Vec<String> {
    let words = rules.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let metrics = words.filter(|word| word.starts_with("shopsphere_")).map(|word| word.trim_end_matches("_bucket"));
    let targets = tries.split("{target=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let said = |name: &&str| programs.contains(&format!("\"{name}\""));
    metrics.chain(targets).filter(|name| !said(name)).map(str::to_owned).collect()
}

#[test]
fn alerts_ask_for_what_a_program_says() {
    let mut code = String::new();
    for folder in ["crates", "services"] {
        programs(&checkout().join(folder), &mut code);
    }
    let read = |path: &str| std::fs::read_to_string(checkout().join(path)).unwrap();
    let rules = read("deploy/helm/shopsphere-observability/files/rules/saga.yaml");
    let tries = read(queries::ALERTS);
    assert_eq!(said_by_nobody(&rules, &tries, &code), Vec::<String>::new());

    let renamed = rules.replace("shopsphere_payment_alarms_total", "shopsphere_payment_alarm_total");
    assert!(said_by_nobody(&renamed, &tries, &code).contains(&"shopsphere_payment_alarm_total".to_owned()));
    let invented = tries.replace("square-create", "payment-gateway");
    assert_eq!(said_by_nobody(&rules, &invented, &code), ["payment-gateway"]);
}

#[test]
fn what_images_are_made_of_has_nothing_for_a_debugger() {
    let cargo: toml::Table = std::fs::read_to_string(checkout().join("Cargo.toml")).unwrap().parse().unwrap();
    let dist = &cargo["profile"]["dist"];
    assert_eq!((dist["strip"].as_bool(), dist["debug"].as_bool()), (Some(true), Some(false)));
    let dockerfile = std::fs::read_to_string(checkout().join("Dockerfile")).unwrap();
    assert!(dockerfile.contains("cargo build --profile dist --locked"));
}
