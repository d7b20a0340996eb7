//! Argo CD, for those who deploy from git: `root.yaml` has one Application per site, which holds one per layer, in the order of
//! installation, which whoever syncs them keeps. Decided here: nothing about the objects, for each layer is the chart with the same three values files that helm is given
//! by hand; and that a site has a project of its own, which may write to its cluster and to no other, so that no Application of one
//! site brings its objects to another by a wrong word.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Output;
use super::text::{header, list};
use super::topology::Topology;
use crate::deploy::{HEADQUARTERS, Layer, SERVING};

const FOLDER: &str = "deploy/k8s/argocd";

pub fn outputs(topology: &Topology) -> Vec<Output> {
    let serving = topology.sites().map(|(_, site)| (site.name.as_str(), SERVING));
    let sites: Vec<_> = serving.chain([(topology.headquarters.name.as_str(), HEADQUARTERS)]).collect();
    let repository = format!("https://git.{}/shopsphere-core.git", topology.domain);
    let root = Output::new(format!("{FOLDER}/root.yaml"), root(&sites, &repository));
    let of_site = |(site, layers): &(&str, &[Layer])| {
        Output::new(format!("{FOLDER}/{site}.yaml"), applications(site, layers, &repository))
    };
    sites.iter().map(of_site).chain([root]).collect()
}

/// What somebody applies once, by hand, where Argo CD runs.
fn root(sites: &[(&str, &[Layer])], repository: &str) -> String {
    let mut text = header("topology.toml");
    for (site, _) in sites {
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {site}\n  namespace: argocd\nspec:\n  project: \
             default\n  destination: {{ server: https://kubernetes.default.svc, namespace: argocd }}\n  source:\n    repoURL: \
             {repository}\n    targetRevision: main\n    path: {FOLDER}\n    directory: {{ include: {site}.yaml }}\n"
        );
    }
    text
}

fn applications(site: &str, layers: &[Layer], repository: &str) -> String {
    let mut text = header("topology.toml");
    let namespaces: BTreeSet<_> = layers.iter().map(Layer::namespace).collect();
    let _ = write!(
        text,
        "---\n# only this site's cluster, and only the namespaces of its charts\napiVersion: argoproj.io/v1alpha1\nkind: AppProject\n\
         metadata:\n  name: shopsphere-{site}\n  namespace: argocd\nspec:\n  sourceRepos: {}\n  clusterResourceWhitelist: [{{ group: \
         \"*\", kind: \"*\" }}]\n  destinations:\n",
        list([repository])
    );
    for namespace in namespaces {
        let _ = writeln!(text, "    - {{ name: {site}, namespace: {namespace} }}");
    }
    for (wave, layer) in layers.iter().enumerate() {
        let _ = write!(
            text,
            "---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {site}-{name}\n  namespace: argocd\n  annotations: {{ \
             argocd.argoproj.io/sync-wave: \"{wave}\" }}\nspec:\n  project: shopsphere-{site}\n  destination: {{ name: {site}, namespace: \
             {namespace} }}\n  source:\n    repoURL: {repository}\n    targetRevision: main\n    path: \
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
