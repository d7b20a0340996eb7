//! Argo CD, for those who deploy from git: one Application per site that holds one per layer, in the order of installation. Decided here:
//! nothing about the objects; each layer is the chart with the same three values files that helm is given by hand.

use std::fmt::Write;

use super::Output;
use super::text::header;
use super::topology::Topology;
use crate::deploy::{HEADQUARTERS, Layer, SERVING};

pub fn outputs(topology: &Topology) -> Vec<Output> {
    let serving = topology.sites().map(|(_, site)| (site.name.as_str(), SERVING));
    let sites = serving.chain([(topology.headquarters.name.as_str(), HEADQUARTERS)]);
    sites
        .map(|(site, layers)| Output::new(format!("deploy/k8s/argocd/{site}.yaml"), applications(site, layers)))
        .collect()
}

fn applications(site: &str, layers: &[Layer]) -> String {
    let mut text = header("topology.toml");
    for (wave, layer) in layers.iter().enumerate() {
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {site}-{name}\n  namespace: argocd\n  annotations: {{ \
             argocd.argoproj.io/sync-wave: \"{wave}\" }}\nspec:\n  project: shopsphere\n  destination: {{ name: {site}, namespace: \
             {namespace} }}\n  source:\n    repoURL: https://git.shopsphere.example/shopsphere-core.git\n    targetRevision: main\n    path: \
             deploy/helm/{chart}\n    helm:\n      releaseName: {name}\n      valueFiles:\n        - ../values/common.yaml\n        - \
             ../values/env/prod.yaml\n        - ../values/site/{site}.yaml\n  syncPolicy:\n    syncOptions: [ServerSideApply=true, \
             PruneLast=true]\n    retry: {{ limit: 5, backoff: {{ duration: 10s, factor: 2, maxDuration: 3m }} }}\n",
            name = layer.name,
            namespace = layer.namespace(),
            chart = layer.chart,
        );
    }
    text
}
