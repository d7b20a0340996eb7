//! `./dev test --cluster`, the part that needs tools but no cluster: the charts make the committed objects and pass helm's lint, every
//! object passes its schema (native ones strictly, custom ones by the operators' schemas beside the checkout). What cannot be had is
//! said to be skipped, with the reason. A control plane that takes the objects comes on top of this.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::objects::{self, Object};
use super::{helm, rules};
use crate::compose_check;
use crate::layout::Layout;
use crate::os;
use crate::provision::cached;
use crate::render;

/// How a check went.
pub enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// A check that was made: its name, how long it took, how it went.
pub type Made = (&'static str, Duration, Outcome);

/// All checks, in order.
pub fn checks(layout: &Layout) -> Vec<Made> {
    let root = &layout.checkout;
    let program = helm::program(layout);
    let with_helm = |check: fn(&Path, &Path) -> Result<String>| match &program {
        Ok(program) => judged(check(root, program)),
        Err(error) => Outcome::Skipped(first_line(error)),
    };
    vec![
        timed("rendered files", || judged(render::check(root).map(|()| "as their sources say".to_owned()))),
        timed("helm template", || with_helm(equal)),
        timed("helm lint", || with_helm(lint)),
        timed("rules", || judged(kept(root))),
        timed("custom resources", || custom(layout).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))),
        timed("native objects", || native(layout)),
        timed("load balancer", || balancer(layout).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))),
    ]
}

fn timed(name: &'static str, check: impl FnOnce() -> Outcome) -> Made {
    let began = Instant::now();
    let outcome = check();
    (name, began.elapsed(), outcome)
}

fn judged(result: Result<String>) -> Outcome {
    match result {
        Ok(said) => Outcome::Passed(said),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

fn equal(root: &Path, program: &Path) -> Result<String> {
    let stale = helm::stale(root, program)?;
    if !stale.is_empty() {
        let names: Vec<_> = stale.iter().map(|output| output.path.display().to_string()).collect();
        bail!("stale, run `cargo xtask render`: {}", names.join(", "));
    }
    Ok(format!("{} sites equal the committed objects", helm::sites(root)?.len()))
}

fn lint(root: &Path, program: &Path) -> Result<String> {
    let mut count = 0;
    for (site, layers) in helm::sites(root)? {
        for layer in layers {
            helm::lint(root, program, &site, layer)?;
            count += 1;
        }
    }
    Ok(format!("{count} layers"))
}

fn kept(root: &Path) -> Result<String> {
    let sites = objects::read(root)?;
    let refused = rules::check(&sites, root)?;
    if !refused.is_empty() {
        bail!("{}", refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    Ok(format!("{} objects", sites.iter().map(|rendered| rendered.objects.len()).sum::<usize>()))
}

/// Group, kind and version name the file of a schema; those without a group are Kubernetes' own.
fn schema_of(folder: &Path, object: &Object) -> Option<PathBuf> {
    let (group, version) = object.value["apiVersion"].as_str()?.split_once('/')?;
    let path = folder.join(group).join(format!("{}_{version}.json", object.kind().to_lowercase()));
    path.is_file().then_some(path)
}

fn custom(layout: &Layout) -> Result<Outcome> {
    let folder = layout.checkout.join("../shared/schemas/crds");
    if !folder.is_dir() {
        return Ok(Outcome::Skipped(format!("{} is not there", folder.display())));
    }
    let checker = match compose_check::checker(layout) {
        Ok(checker) => checker,
        Err(error) => return Ok(Outcome::Skipped(first_line(&error))),
    };
    let mut by_schema: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let work = layout.state.join("run/objects");
    fs::create_dir_all(&work)?;
    for rendered in objects::read(&layout.checkout)? {
        for (at, object) in rendered.objects.iter().enumerate() {
            if let Some(schema) = schema_of(&folder, object) {
                let file = work.join(format!("{}-{at}-{}.json", rendered.site, object.kind().to_lowercase()));
                fs::write(&file, object.value.to_string())?;
                by_schema.entry(schema).or_default().push(file);
            }
        }
    }
    let mut count = 0;
    for (schema, files) in &by_schema {
        let mut command = Command::new(&checker);
        command.arg("--schemafile").arg(schema).args(files);
        os::output(&mut command).with_context(|| format!("objects against {}", schema.display()))?;
        count += files.len();
    }
    fs::remove_dir_all(&work)?;
    Ok(Outcome::Passed(format!("{count} objects of {} kinds", by_schema.len())))
}

/// F5's declarations against the vendor's schema; what it does not see is an ordinary test.
fn balancer(layout: &Layout) -> Result<Outcome> {
    let schema = layout.checkout.join("../shared/schemas/f5/as3-schema.json");
    if !schema.is_file() {
        return Ok(Outcome::Skipped(format!("{} is not there", schema.display())));
    }
    let checker = match compose_check::checker(layout) {
        Ok(checker) => checker,
        Err(error) => return Ok(Outcome::Skipped(first_line(&error))),
    };
    let folder = layout.checkout.join("deploy/edge/f5/as3");
    let files: Vec<_> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    // the formats are the vendor's own
    os::output(Command::new(checker).args(["--disable-formats", "*", "--schemafile"]).arg(schema).args(&files))?;
    Ok(Outcome::Passed(format!("{} declarations", files.len())))
}

const VALIDATOR: &str = "kubernetes-validate";
const VALIDATOR_VERSION: &str = "1.37.0";
/// The schemas of a dozen versions lie in it.
const VALIDATOR_MEGABYTES: u64 = 400;
const KUBERNETES: &str = "1.36";

fn native(layout: &Layout) -> Outcome {
    let home = cached(layout, VALIDATOR, VALIDATOR_VERSION, VALIDATOR_MEGABYTES, |work, log| {
        os::run("make a Python environment", Command::new("python3").args(["-m", "venv"]).arg(work.join("venv")), log)?;
        let mut pip = Command::new(work.join("venv/bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            &format!("{VALIDATOR}=={VALIDATOR_VERSION}"),
        ]);
        os::run("install kubernetes-validate", &mut pip, log)
    });
    let home = match home {
        Ok(home) => home,
        Err(error) => return Outcome::Skipped(first_line(&error)),
    };
    let validate = || -> Result<String> {
        let work = layout.state.join("run/native");
        fs::create_dir_all(&work)?;
        let mut count = 0;
        for rendered in objects::read(&layout.checkout)? {
            // the validator knows none of the operators' kinds
            let own = |object: &&Object| {
                let version = object.value["apiVersion"].as_str().unwrap_or_default();
                !version.split('/').next().is_some_and(|group| group.contains('.') && !group.ends_with(".k8s.io"))
                    && !version.starts_with("gateway.networking.k8s.io")
            };
            let documents: Vec<_> =
                rendered.objects.iter().filter(own).map(|object| object.value.to_string()).collect();
            count += documents.len();
            fs::write(work.join(format!("{}.yaml", rendered.site)), documents.join("\n---\n"))?;
        }
        let mut command = Command::new(home.join("venv/bin/python"));
        command.args(["-m", "kubernetes_validate", "-k", KUBERNETES, "--strict", "--quiet"]);
        let files = fs::read_dir(&work)?.flatten().map(|entry| entry.path());
        os::output(command.args(files))?;
        fs::remove_dir_all(&work)?;
        Ok(format!("{count} objects, strictly, against {KUBERNETES}"))
    };
    judged(validate())
}
