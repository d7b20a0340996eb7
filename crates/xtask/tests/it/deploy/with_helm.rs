//! Where a helm is at hand already: the charts make exactly the committed objects, pass its lint, and refuse a wrong value with its
//! path. Nothing is built or fetched here; `./dev test --cluster` does that.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::deploy::helm;
use xtask::layout::{Layout, checkout};

fn program() -> Option<PathBuf> {
    let found = helm::found(&Layout::from_env(&checkout()).ok()?);
    if found.is_none() {
        xtask::progress::skipped("there is no helm here; `./dev test --cluster` builds one");
    }
    found
}

#[test]
fn the_charts_make_exactly_the_committed_objects() {
    let Some(program) = program() else { return };
    let stale = helm::stale(&checkout(), &program).unwrap_or_else(|error| panic!("{error:#}"));
    let names: Vec<_> = stale.iter().map(|output| output.path.display().to_string()).collect();
    assert!(names.is_empty(), "stale, run `cargo xtask render`: {names:?}");
}

#[test]
fn every_chart_passes_the_lint_for_every_site() {
    let Some(program) = program() else { return };
    for (site, layers) in helm::sites(&checkout()).unwrap() {
        for layer in layers {
            helm::lint(&checkout(), &program, &site, layer).unwrap_or_else(|error| panic!("{error:#}"));
        }
    }
}

#[test]
fn a_value_with_a_typing_error_is_refused_with_its_path() {
    let Some(program) = program() else { return };
    let cases = [
        ("user.serve.minReplica=3", "minReplica"),
        ("user.settings.http.prot=1", "prot"),
        ("catalog.settings.cache.shared_ttl_s=soon", "shared_ttl_s"),
        ("global.jurisdicton=EU", "jurisdicton"),
        ("user.image.tag=latest", "tag"),
        ("user.settings.database.url=postgres://a:b@c/d", "a secret comes from the store"),
    ];
    for (value, expected) in cases {
        let error = template(&program, &checkout(), value).expect_err(value);
        assert!(error.contains(expected), "{value}: {error}");
    }
}

fn template(program: &Path, root: &Path, value: &str) -> Result<String, String> {
    let charts = root.join("deploy/helm");
    let mut helm = Command::new(program);
    helm.arg("template").arg("shopsphere").arg(charts.join("shopsphere")).args([
        "--kube-version",
        "1.36.0",
        "--set",
        value,
    ]);
    for file in ["common.yaml", "env/prod.yaml", "site/rdc-a.yaml"] {
        helm.arg("--values").arg(charts.join("values").join(file));
    }
    let output = helm.output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
