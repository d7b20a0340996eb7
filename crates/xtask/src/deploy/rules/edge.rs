//! The gateway's objects: every path of the table is routed to its service, counted, limited in size, and asks for a token where the table
//! says so; a plugin that is named is there.

use std::collections::BTreeMap;

use super::super::objects::Object;
use super::{Case, Refusal};
use crate::render::routes::Token;

const PLUGINS: &str = "konghq.com/plugins";

fn names(route: &Object) -> Vec<&str> {
    let list = route.value["metadata"]["annotations"][PLUGINS].as_str().unwrap_or_default();
    list.split(',').filter(|name| !name.is_empty()).collect()
}

pub fn routes(case: &Case<'_>) -> Vec<Refusal> {
    if case.place.is_none() {
        return Vec::new();
    }
    let mut refused = Vec::new();
    let plugins: BTreeMap<&str, &Object> = case.of("KongPlugin").map(|plugin| (plugin.name(), plugin)).collect();
    for route in case.of("HTTPRoute") {
        for name in names(route).into_iter().filter(|name| !plugins.contains_key(name)) {
            refused.push(case.refuse("edge-routes", route, format!("there is no plugin {name}")));
        }
    }
    let serves = |route: &Object, path: &str| {
        let rules = route.value["spec"]["rules"].as_array().into_iter().flatten();
        let mut matched = rules.flat_map(|rule| rule["matches"].as_array().into_iter().flatten());
        matched.any(|one| one["path"]["value"] == path)
    };
    for row in &case.sources.routes.routes {
        for path in &row.paths {
            let Some(route) = case.of("HTTPRoute").find(|route| serves(route, path)) else {
                refused.extend(
                    case.of("Gateway")
                        .map(|gateway| case.refuse("edge-routes", gateway, format!("{path} leads nowhere"))),
                );
                continue;
            };
            let uses = |kind: &str| {
                names(route).iter().any(|name| plugins.get(name).is_some_and(|plugin| plugin.value["plugin"] == kind))
            };
            let mut want = |good: bool, why: String| {
                if !good {
                    refused.push(case.refuse("edge-routes", route, why));
                }
            };
            want(
                route.value["spec"]["rules"][0]["backendRefs"][0]["name"] == row.service.as_str(),
                format!("{path} does not lead to {}", row.service),
            );
            want(uses("rate-limiting"), format!("{path} is not counted"));
            want(uses("request-size-limiting"), format!("{path} takes bodies of any size"));
            want(
                uses("jwt") == (row.token == Token::Required),
                format!("{path} asks for a token otherwise than the table says"),
            );
            want(
                uses("request-termination") == case.is_standby(),
                format!("{path} answers while the site stands by, or does not where it is active"),
            );
        }
    }
    refused
}
