//! A real Kubernetes for our charts, without a cloud and without a registry. Decided here: two of them. `check` starts a control plane on
//! loopback ports with nodes that are only played, and has every site installed, changed and removed; that is a part of `./dev test
//! --cluster`. `local` starts the same control plane with two kubelets and containers in namespaces of their own, and runs a region there, which
//! `drill` harms and `scale` puts under load.
//! Not decided here: what is deployed (`deploy/helm`), and the rules that need no cluster (`deploy::rules`). See docs/adr/0059.

pub mod archive;
pub mod book;
pub mod check;
pub mod control;
pub mod crds;
pub mod drill;
pub mod forward;
pub mod images;
pub mod kubectl;
pub mod leftovers;
pub mod local;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod pki;
pub mod placement;
pub mod planted;
pub mod played;
pub mod region;
pub mod releases;
pub mod scale;
pub mod tools;

use std::path::Path;

use anyhow::Result;

use crate::layout::{self, Layout};

/// Where the control plane of a stack keeps its files: `.dev/cluster` for the one that a person starts.
///
/// # Errors
/// When folders cannot be made.
pub fn layout(stack: &Layout) -> Result<Layout> {
    Layout::open(&stack.checkout, &stack.state.join("cluster"))
}

/// The same at a port offset, without a stack beside it.
///
/// # Errors
/// When folders cannot be made.
pub fn layout_at(offset: u16) -> Result<Layout> {
    let state = if offset == 0 { ".dev/cluster".to_owned() } else { format!(".dev/cluster-{offset}") };
    Layout::open(&layout::checkout(), Path::new(&state))
}
