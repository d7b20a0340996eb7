//! What is deployed, judged without a cluster: the objects of each site as helm renders them, kept in `deploy/k8s/rendered`, and the
//! rules they must keep. Decided here: which charts make up a site and in which order. The rules run on the committed files and need no
//! helm; that the files are what the charts say is checked where helm can be had.

pub mod checks;
pub mod helm;
pub mod objects;
pub mod rules;
pub mod sbom;
pub mod scale;
pub mod simulation;

use std::path::Path;

use anyhow::Result;

use crate::layout::{self, Layout};
use crate::render;

/// A chart of a site: the name of its release and file, its folder, and the purpose of its namespace.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    pub name: &'static str,
    pub chart: &'static str,
    pub purpose: &'static str,
}

impl Layer {
    /// The namespace of the generated values files; a test holds the two against each other.
    pub fn namespace(&self) -> &'static str {
        match self.purpose {
            "data" => "shopsphere-data",
            "edge" => "shopsphere-edge",
            "observability" => "shopsphere-observability",
            "hq" => "shopsphere-hq",
            // what makes and removes namespaces keeps its own record outside of them
            "system" => "kube-system",
            _ => "shopsphere",
        }
    }
}

const fn layer(name: &'static str, chart: &'static str, purpose: &'static str) -> Layer {
    Layer { name, chart, purpose }
}

/// Layers of a serving site in the order of installation.
pub const SERVING: &[Layer] = &[
    layer("cluster", "shopsphere-cluster", "system"),
    layer("data", "shopsphere-data", "data"),
    layer("edge", "shopsphere-edge", "edge"),
    layer("shopsphere", "shopsphere", "apps"),
    layer("observability", "shopsphere-observability", "observability"),
];

/// Layers of headquarters.
pub const HEADQUARTERS: &[Layer] =
    &[layer("cluster", "shopsphere-cluster", "system"), layer("hq", "shopsphere-hq", "hq")];

/// `cargo xtask render`: files from the sources, then the objects of the sites from the charts.
///
/// # Errors
/// When a source is refused or cannot be read, when something is stale and `check` is set, when helm refuses a chart.
pub fn render(check: bool, with_helm: bool) -> Result<bool> {
    let root = layout::checkout();
    if check {
        render::check(&root)?;
    } else {
        println!("{} files written from their sources", render::write(&root)?);
    }
    if !with_helm {
        return Ok(true);
    }
    let layout = Layout::open(&root, Path::new(".dev"))?;
    let helm = helm::program(&layout)?;
    let stale = helm::stale(&root, &helm)?;
    if check {
        stale.iter().for_each(|output| println!("stale, run `cargo xtask render`: {}", output.path.display()));
        return Ok(stale.is_empty());
    }
    helm::write(&root, &stale)?;
    println!("{} files of rendered objects written", stale.len());
    let refused = rules::check(&objects::read(&root)?, &root)?;
    refused.iter().for_each(|refusal| println!("{refusal}"));
    Ok(refused.is_empty())
}
