//! The rules that rendered objects keep. Decided here: that each rule has a name, judges one site at a time (or a pair, or the whole),
//! and says which object breaks it. A test plants a mistake of each kind and expects exactly the rule of that name to refuse it.

mod admission;
mod applied;
mod data;
mod edge;
mod images;
mod names;
mod parity;
mod reach;
mod received;
mod residency;
mod rights;
mod scaling;
mod settings;
mod shipped;
mod spilled;
mod watch;
mod workloads;

use std::fmt;
use std::path::Path;

use anyhow::Result;

use super::objects::{Object, Rendered};
use crate::render::Sources;
use crate::render::topology::{Region, Site, Topology};

/// An object that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub rule: &'static str,
    pub site: String,
    pub object: String,
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {} [{}]", self.site, self.object, self.why, self.rule)
    }
}

/// What a rule is told: the objects of a site, where it lies, and what the sources say.
pub(super) struct Case<'a> {
    pub rendered: &'a Rendered,
    pub sources: &'a Sources,
    /// `None` for headquarters.
    pub place: Option<(&'a Region, &'a Site)>,
    pub root: &'a Path,
}

impl Case<'_> {
    fn objects(&self) -> &[Object] {
        &self.rendered.objects
    }

    fn of<'c>(&'c self, kind: &'c str) -> impl Iterator<Item = &'c Object> {
        self.objects().iter().filter(move |object| object.kind() == kind)
    }

    fn is_standby(&self) -> bool {
        self.place.is_some_and(|(region, site)| region.standby().name == site.name)
    }

    fn topology(&self) -> &Topology {
        &self.sources.topology
    }

    fn refuse(&self, rule: &'static str, object: &Object, why: impl Into<String>) -> Refusal {
        Refusal { rule, site: self.rendered.site.clone(), object: object.to_string(), why: why.into() }
    }

    /// A refusal of what is not there: a rule over objects that are missing must not be content.
    fn lacks(&self, rule: &'static str, why: impl Into<String>) -> Refusal {
        Refusal { rule, site: self.rendered.site.clone(), object: "the site".to_owned(), why: why.into() }
    }
}

type Rule = fn(&Case<'_>) -> Vec<Refusal>;

const RULES: &[Rule] = &[
    workloads::replicas,
    workloads::probes,
    workloads::restricted,
    workloads::resources,
    workloads::images,
    workloads::disruption,
    workloads::spread,
    workloads::rollout,
    workloads::priority,
    workloads::monitored,
    workloads::network_policy,
    workloads::default_deny,
    names::unique,
    names::selectors,
    names::secrets,
    reach::ways,
    reach::only_ours,
    reach::api_server,
    reach::secrets,
    reach::sources,
    residency::hosts,
    residency::networks,
    residency::labels,
    admission::admission,
    scaling::bounds,
    scaling::lag,
    scaling::connections,
    scaling::speed,
    scaling::standby,
    settings::known,
    settings::complete,
    settings::own,
    settings::ordered,
    rights::table,
    rights::asked,
    data::topics,
    data::mirror,
    data::operators,
    data::roles,
    data::follows,
    data::passwords,
    data::first,
    data::certificates,
    watch::recorded,
    watch::remote_write,
    received::received,
    watch::redaction,
    watch::alerts,
    watch::delivered,
    watch::found,
    watch::shown,
    watch::traced,
    shipped::shipped,
    spilled::spilled,
    images::built,
    applied::applied,
    edge::routes,
    edge::gateway,
    edge::keys,
    edge::purged,
];

/// Every refusal over all sites.
///
/// # Errors
/// When the sources cannot be read.
pub fn check(sites: &[Rendered], root: &Path) -> Result<Vec<Refusal>> {
    Ok(judge(sites, &Sources::read(root)?, root))
}

/// The same with sources that are read already.
pub fn judge(sites: &[Rendered], sources: &Sources, root: &Path) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for rendered in sites {
        let place = sources.topology.sites().find(|(_, site)| site.name == rendered.site);
        let case = Case { rendered, sources, place, root };
        refused.extend(RULES.iter().flat_map(|rule| rule(&case)));
    }
    for region in &sources.topology.regions {
        let by_name = |name: &str| sites.iter().find(|rendered| rendered.site == name);
        if let (Some(primary), Some(standby)) = (by_name(&region.primary().name), by_name(&region.standby().name)) {
            refused.extend(parity::pair((region.primary(), primary), (region.standby(), standby)));
        }
    }
    refused
}
