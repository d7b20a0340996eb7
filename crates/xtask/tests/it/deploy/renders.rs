//! The committed files.

use std::collections::BTreeSet;

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
    for file in ["crates/chassis/src/metrics.rs", "crates/messaging/src/metrics.rs"] {
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
