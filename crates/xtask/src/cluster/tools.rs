//! The programs of a control plane. Decided here: they come from the cache, and are built into it only by those who may wait for it.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::deploy::checks::Building;
use crate::deploy::helm;
use crate::layout::Layout;
use crate::provision::{gomod, pins};

/// What a control plane with played nodes consists of, and who installs into it.
#[derive(Debug, Clone)]
pub struct Tools {
    pub etcd: PathBuf,
    pub apiserver: PathBuf,
    pub controllers: PathBuf,
    pub scheduler: PathBuf,
    pub kubectl: PathBuf,
    pub helm: PathBuf,
}

/// A tool: its folder in the cache, one program of it, and who builds the folder.
type Row = (&'static str, &'static str, &'static str, fn(&Layout) -> Result<PathBuf>);

const ETCD: Row = ("etcd", pins::etcd::VERSION, "etcd", gomod::etcd);
const KUBERNETES: Row = ("kubernetes", pins::kubernetes::VERSION, "kube-apiserver", gomod::control_plane);
const KWOK: Row = ("kwok", pins::kwok::VERSION, "kwok", gomod::kwok);

impl Tools {
    /// All of them.
    ///
    /// # Errors
    /// When one is not built and may not be, or cannot be.
    pub fn find(layout: &Layout, building: Building) -> Result<Tools> {
        let helm = match (helm::found(layout), building) {
            (Some(helm), _) => helm,
            (None, Building::Allowed) => gomod::helm(layout)?,
            (None, Building::Forbidden) => bail!("helm is built from its Go module, by ./dev test --cluster"),
        };
        let etcd = folder(layout, building, &ETCD)?.join("etcd");
        let kubernetes = folder(layout, building, &KUBERNETES)?;
        Ok(Tools {
            etcd,
            apiserver: kubernetes.join("kube-apiserver"),
            controllers: kubernetes.join("kube-controller-manager"),
            scheduler: kubernetes.join("kube-scheduler"),
            kubectl: kubernetes.join("kubectl"),
            helm,
        })
    }
}

/// The program that plays nodes.
///
/// # Errors
/// As [`Tools::find`].
pub fn kwok(layout: &Layout, building: Building) -> Result<PathBuf> {
    Ok(folder(layout, building, &KWOK)?.join("kwok"))
}

fn folder(layout: &Layout, building: Building, (tool, version, program, build): &Row) -> Result<PathBuf> {
    let folder = layout.cache.join(format!("{tool}-{version}"));
    if folder.join(program).is_file() {
        return Ok(folder);
    }
    if building == Building::Forbidden {
        bail!("{program} is built from its Go module, by ./dev test --cluster");
    }
    build(layout)?;
    Ok(folder)
}
