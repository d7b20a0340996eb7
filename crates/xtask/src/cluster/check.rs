//! `cargo xtask cluster check`: every site on a real control plane, one after the other, from nothing to nothing. Decided here: the order
//! of things that are tried at a site, and that whatever happens the servers are stopped. What cannot be tried with nodes that are only
//! played (images, probes, network policies) is not tried here, and nothing here says it was.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::book::Book;
use super::control::ControlPlane;
use super::kubectl::{Kubectl, until};
use super::releases::{NEXT, Place, has_services};
use super::tools::Tools;
use super::{crds, leftovers, placement, planted, played};
use crate::deploy::checks::{Building, Made, Outcome};
use crate::deploy::objects::{self, Rendered};
use crate::deploy::{Layer, helm};
use crate::layout::Layout;
use crate::os;
use crate::ports::Ports;
use crate::render::topology;

const PLANE: &str = "control plane";
const DEFINITIONS: &str = "definitions";
const DRY_RUN: &str = "server dry run";
const INSTALL: &str = "helm install";
const PLANTED: &str = "planted mistakes";
const SPREAD: &str = "pods spread";
const UPGRADE: &str = "helm upgrade";
const DRAIN: &str = "node drained";
const ROLLBACK: &str = "helm rollback";
const UNINSTALL: &str = "nothing left";
/// As they are told.
const CONCERNS: &[&str] = &[PLANE, DEFINITIONS, DRY_RUN, INSTALL, PLANTED, SPREAD, UPGRADE, DRAIN, ROLLBACK, UNINSTALL];

/// A definition is served within moments; twenty-five of them while the server compiles their rules take longer.
const ESTABLISHED: &str = "--timeout=90s";
/// Namespaces go last, and their controller looks in a rhythm of its own.
const GONE: Duration = Duration::from_secs(150);
/// All objects of a layer, one request each.
const DRY_RUNS: Duration = Duration::from_secs(120);

/// Tries everything. `layout` is that of the cluster alone: its data is removed.
pub fn check(layout: &Layout, ports: Ports, building: Building) -> Vec<Made> {
    let tools = match Tools::find(layout, building) {
        Ok(tools) => tools,
        Err(error) => {
            let why = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
            return vec![(PLANE, Duration::ZERO, Outcome::Skipped(why))];
        }
    };
    let mut book = Book::new(CONCERNS);
    tried(layout, ports, &tools, building, &mut book);
    book.made()
}

fn tried(layout: &Layout, ports: Ports, tools: &Tools, building: Building, book: &mut Book) -> Option<()> {
    let mut plane = None;
    let began = Instant::now();
    book.note(PLANE, "all", || {
        plane = Some(ControlPlane::start(layout, ports, tools, building)?);
        Ok(format!("ready after {:.1} s", began.elapsed().as_secs_f64()))
    })?;
    let plane = plane?;
    let mut sites = Vec::new();
    book.note(DEFINITIONS, "all", || {
        sites = objects::read(&layout.checkout)?;
        define(&plane.kubectl, layout, &sites)
    })?;
    let mut layers = Vec::new();
    book.note(DEFINITIONS, "sites", || {
        layers = helm::sites(&layout.checkout)?;
        Ok(layers.len().to_string())
    })?;
    for rendered in &sites {
        let Some((_, layers)) = layers.iter().find(|(site, _)| *site == rendered.site) else { continue };
        let place = Place { kubectl: &plane.kubectl, root: &layout.checkout, rendered, layers };
        site(place, book);
        if os::interrupted() {
            return None;
        }
    }
    Some(())
}

/// The operators' kinds, which the charts need before anything else.
fn define(kubectl: &Kubectl, layout: &Layout, sites: &[Rendered]) -> Result<String> {
    let kinds = crds::kinds(sites);
    let made = crds::definitions(&layout.checkout.join("../shared/schemas/crds"), &kinds)?;
    kubectl.fed(&["create"], "definitions", &made.objects)?;
    let wait = ["wait", "--for=condition=Established", "customresourcedefinitions", "--all", ESTABLISHED];
    kubectl.run_within(&wait, GONE).context("definitions that the server does not serve")?;
    let open = if made.open.is_empty() {
        String::new()
    } else {
        format!(", open for want of a schema: {}", made.open.join(", "))
    };
    Ok(format!("{} kinds of operators{open}", made.objects.len()))
}

/// One site from nothing to nothing. What goes wrong ends it early, and it is removed all the same.
fn site(place: Place<'_>, book: &mut Book) {
    let before = match leftovers::everything(place.kubectl) {
        Ok(before) => before,
        Err(error) => {
            book.note(UNINSTALL, place.site(), || Err(error.context("look at what is there")));
            return;
        }
    };
    let came_through = through(place, book);
    book.note(UNINSTALL, place.site(), || {
        if came_through.is_some() {
            for layer in place.layers.iter().rev() {
                place.uninstall(layer)?;
            }
        } else {
            place.sweep();
        }
        played::remove_volumes(place.kubectl, place.rendered)?;
        until("everything gone", GONE, || leftovers::nothing_left(&before, &leftovers::everything(place.kubectl)?))?;
        Ok(format!("{} releases removed", place.layers.len()))
    });
}

fn through(place: Place<'_>, book: &mut Book) -> Option<()> {
    let (kubectl, site) = (place.kubectl, place.site());
    let (first, others) = place.layers.split_first()?;
    let has_pods = place.layers.iter().any(has_services);
    book.note(INSTALL, site, || {
        place.install(first)?;
        Ok(first.name.to_owned())
    })?;
    // namespaces and policies are there now, and nothing else
    book.note(DRY_RUN, site, || dry_run(place))?;
    book.note(INSTALL, site, || {
        let volumes = played::volumes(place.rendered, played::NOWHERE);
        if !volumes.is_empty() {
            kubectl.fed(&["create"], "volumes", &volumes)?;
        }
        each(others, |layer| place.install(layer))
    })?;
    book.note(PLANTED, site, || planted::refused(&place));
    if has_pods {
        book.note(SPREAD, site, || {
            let count = played::scale(kubectl, place.rendered)?;
            Ok(format!("{count} scaled, {}", placement::spread(&place)?))
        })?;
    }
    book.note(UPGRADE, site, || {
        let said = each(place.layers, |layer| place.upgrade(layer))?;
        let count = place.comes_to_run(Some(NEXT))?;
        Ok(format!("{said}, {count} Deployments run the new images"))
    })?;
    if has_pods && is_primary(place) {
        book.note(DRAIN, site, || {
            placement::closed_budget(&place)?;
            placement::drain(&place)
        })?;
    }
    book.note(ROLLBACK, site, || {
        let said = each(place.layers, |layer| place.rollback(layer))?;
        let count = place.comes_to_run(None)?;
        Ok(format!("{said}, {count} Deployments run the old images"))
    })
}

fn each(layers: &[Layer], work: impl Fn(&Layer) -> Result<()>) -> Result<String> {
    layers.iter().try_for_each(work)?;
    Ok(format!("{} layers", layers.len()))
}

/// Draining takes its time, and a standby has the same budgets with fewer pods.
fn is_primary(place: Place<'_>) -> bool {
    topology::read(place.root).is_ok_and(|topology| {
        topology.sites().any(|(region, site)| site.name == place.site() && region.primary().name == site.name)
    })
}

/// Each committed object of a site, shown to the server: strictly, and without making any.
fn dry_run(place: Place<'_>) -> Result<String> {
    for layer in place.layers {
        let path = place.root.join(helm::path(place.site(), layer));
        let file = path.to_string_lossy();
        // what a layer before has made is helm's, and is laid over without a quarrel about it
        let apply =
            ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", &file];
        place.kubectl.run_within(&apply, DRY_RUNS).with_context(|| format!("the objects of {}", layer.name))?;
    }
    Ok(format!("{} objects", place.rendered.objects.len()))
}
