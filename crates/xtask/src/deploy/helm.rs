//! helm: where it comes from, and what it makes of our charts for each site. Decided here: the layers of values (common, environment,
//! site) and the version of Kubernetes that is rendered for. The program is the machine's own when there is one, else it is built once
//! from its Go module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{HEADQUARTERS, Layer, SERVING};
use crate::layout::Layout;
use crate::os;
use crate::provision::{gomod, pins};
use crate::render::{Output, topology};

/// The oldest version that the charts ask for is older; this is what is rendered.
const KUBERNETES: &str = "1.36.0";
/// What is committed is what production would get.
const ENVIRONMENT: &str = "prod";

/// The helm program.
///
/// # Errors
/// When there is none and it cannot be built.
pub fn program(layout: &Layout) -> Result<PathBuf> {
    found(layout).map_or_else(|| gomod::helm(layout), Ok)
}

/// The helm program where one is at hand: the one that was named, the machine's own, the one that was built before.
pub fn found(layout: &Layout) -> Option<PathBuf> {
    let built = layout.cache.join(format!("helm-{}/helm", pins::helm::VERSION));
    let own = std::env::var_os("SHOPSPHERE_HELM").map(PathBuf::from).or_else(|| os::which("helm"));
    own.or_else(|| built.is_file().then_some(built))
}

/// Where the objects of a site's layer are kept.
pub fn path(site: &str, layer: &Layer) -> PathBuf {
    PathBuf::from(format!("deploy/k8s/rendered/{site}/{}.yaml", layer.name))
}

/// Every site with its layers.
///
/// # Errors
/// When the topology is refused.
pub fn sites(root: &Path) -> Result<Vec<(String, &'static [Layer])>> {
    let topology = topology::read(root)?;
    let serving = topology.sites().map(|(_, site)| (site.name.clone(), SERVING));
    Ok(serving.chain([(topology.headquarters.name.clone(), HEADQUARTERS)]).collect())
}

/// The files that differ from what helm makes now.
///
/// # Errors
/// When helm refuses a chart; the message is helm's.
pub fn stale(root: &Path, helm: &Path) -> Result<Vec<Output>> {
    let mut stale = Vec::new();
    for (site, layers) in sites(root)? {
        for layer in layers {
            let text = template(root, helm, &site, layer)?;
            let path = path(&site, layer);
            if fs::read_to_string(root.join(&path)).ok().as_ref() != Some(&text) {
                stale.push(Output { path, text });
            }
        }
        let kustomization = kustomization(layers);
        let path = PathBuf::from(format!("deploy/k8s/rendered/{site}/kustomization.yaml"));
        if fs::read_to_string(root.join(&path)).ok().as_ref() != Some(&kustomization) {
            stale.push(Output { path, text: kustomization });
        }
    }
    Ok(stale)
}

/// Writes rendered objects.
///
/// # Errors
/// When a file cannot be written.
pub fn write(root: &Path, outputs: &[Output]) -> Result<()> {
    for output in outputs {
        let path = root.join(&output.path);
        fs::create_dir_all(path.parent().context("a rendered file lies in a folder")?)?;
        fs::write(&path, &output.text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// `helm template` of one layer of a site.
///
/// # Errors
/// When helm refuses it.
pub fn template(root: &Path, helm: &Path, site: &str, layer: &Layer) -> Result<String> {
    let mut command = Command::new(helm);
    command.arg("template").arg(layer.name);
    let text = os::output(arguments(&mut command, root, site, layer).args(["--kube-version", KUBERNETES]))
        .with_context(|| format!("helm template of {} for {site}", layer.chart))?;
    // Empty lines depend on the versions of helm and say nothing.
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    Ok(format!("{}\n", lines.join("\n")))
}

/// `helm lint --strict` of one layer of a site.
///
/// # Errors
/// When helm finds something.
pub fn lint(root: &Path, helm: &Path, site: &str, layer: &Layer) -> Result<()> {
    let mut command = Command::new(helm);
    command.args(["lint", "--strict", "--quiet"]);
    os::output(arguments(&mut command, root, site, layer))
        .with_context(|| format!("helm lint of {} for {site}", layer.chart))?;
    Ok(())
}

/// Chart, namespace and values of one layer of a site, as production gets it.
pub(crate) fn arguments<'a>(command: &'a mut Command, root: &Path, site: &str, layer: &Layer) -> &'a mut Command {
    arguments_in(command, root, ENVIRONMENT, site, layer)
}

/// The same in another environment.
pub(crate) fn arguments_in<'a>(
    command: &'a mut Command,
    root: &Path,
    environment: &str,
    site: &str,
    layer: &Layer,
) -> &'a mut Command {
    let charts = root.join("deploy/helm");
    command.arg(charts.join(layer.chart)).args(["--namespace", layer.namespace()]);
    for file in ["common.yaml".to_owned(), format!("env/{environment}.yaml"), format!("site/{site}.yaml")] {
        command.arg("--values").arg(charts.join("values").join(file));
    }
    command
}

/// For those who apply without helm: `kubectl apply -k deploy/k8s/rendered/<site>`.
fn kustomization(layers: &[Layer]) -> String {
    let mut text = String::from(
        "# Written by `cargo xtask render`. All layers at once, for a dry run or a cluster without helm.\n\
         apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n",
    );
    layers.iter().for_each(|layer| text.push_str(&format!("  - {}.yaml\n", layer.name)));
    text
}
