//! kube-score over what would be deployed: good practice as others see it. Decided here: what it finds is mended, not listed, but for the
//! tests named below with the reason. It looks at Kubernetes' own kinds; the operators' are beyond it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::objects::Rendered;
use super::{Building, ask_for, schemas, tool};
use crate::layout::Layout;
use crate::provision::{gomod, pins};

/// What we do otherwise, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("container-image-pull-policy", "tags never move; a pod starts where its image is although the registry is away"),
    (
        "deployment-has-host-podantiaffinity",
        "pods are spread over zones and hosts by constraints, which the rule `spread` sees to",
    ),
    ("deployment-replicas", "the scaler says how many; the rule `replicas` reads it, kube-score does not"),
    (
        "networkpolicy-targets-pod",
        "operators make the pods of stores, gateway and Prometheus; none of them is rendered",
    ),
];

/// The program of the pinned version: another version finds other things.
///
/// # Errors
/// When it is not built and may not be, or cannot be.
pub fn program(layout: &Layout, building: Building) -> Result<PathBuf> {
    tool(layout, building, ("kube-score", pins::kube_score::VERSION), gomod::kube_score)
}

/// Judges each site as a whole, so that a pod meets its policy and its budget.
///
/// # Errors
/// Naming the object and the test that it fails, for warnings as for errors.
pub fn score(program: &Path, work: &Path, sites: &[Rendered]) -> Result<String> {
    let mut count = 0;
    for rendered in sites {
        let native: Vec<_> = rendered.objects.iter().filter(|object| schemas::is_native(object)).collect();
        count += native.len();
        let file = work.join(format!("{}.yaml", rendered.site));
        let documents: Vec<_> = native.iter().map(|object| object.value.to_string()).collect();
        fs::write(&file, documents.join("\n---\n"))?;
        let mut command = Command::new(program);
        command.args(["score", "--exit-one-on-warning", "--output-format", "ci"]);
        OTHERWISE.iter().for_each(|(test, _)| _ = command.args(["--ignore-test", test]));
        let tells = |line: &str| line.starts_with("[CRITICAL]") || line.starts_with("[WARNING]");
        ask_for(command.arg(&file), tells).with_context(|| format!("objects of {}", rendered.site))?;
    }
    Ok(format!("{count} objects, {} tests set aside", OTHERWISE.len()))
}
