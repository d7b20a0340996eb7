//! The gateway's objects: every path of the table is routed to its service, counted, limited in size, and asks for a token where the table
//! says so; a plugin that is named is there. The gateway itself: whose word it takes, who writes it, who watches it. Its keys: somebody
//! brings them, and may touch nothing else. And the CDN in front of it hears which of its copies are out of date.

use std::collections::{BTreeMap, BTreeSet};

use super::super::objects::Object;
use super::reach::{chooses, list, opens};
use super::{Case, Refusal, settings};
use crate::render::kong;
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

/// Port of the controller's way into the gateway: whoever reaches it decides what the gateway does.
const ADMINISTRATION: u64 = 8444;

/// What a gateway needs besides routes: settings that say whose word about an address counts, a controller that reaches it and nobody else
/// who does, somebody who reads its metrics, and an answer of ours to what no route names.
pub fn gateway(case: &Case<'_>) -> Vec<Refusal> {
    let Some((_, site)) = case.place else { return Vec::new() };
    let Some(gateway) = case.of("Gateway").next() else { return Vec::new() };
    let asked: BTreeSet<_> = case.sources.routes.routes.iter().map(|row| row.service.as_str()).collect();
    let mut refused = Vec::new();
    let mut want = |good: bool, object: &Object, why: String| {
        if !good {
            refused.push(case.refuse("edge-gateway", object, why));
        }
    };
    let settings = case.of("ConfigMap").find(|map| map.name() == "gateway-settings");
    for (name, value) in kong::settings(case.topology(), site) {
        let variable = format!("KONG_{}", name.to_uppercase());
        let set = settings.map(|map| &map.value["data"][variable.as_str()]);
        let good = set.is_some_and(|set| set == value.as_str());
        want(good, settings.unwrap_or(gateway), format!("{variable} is not {value}"));
    }
    for service in case.of("Service").filter(|service| asked.contains(service.name())) {
        let wanted = [
            ("connect-timeout", kong::CONNECT.to_string()),
            ("read-timeout", kong::patience(service.name()).to_string()),
            ("retries", "0".to_owned()),
        ];
        for (name, wanted) in wanted {
            let said = &service.value["metadata"]["annotations"][format!("konghq.com/{name}").as_str()];
            want(said == wanted.as_str(), service, format!("the gateway's {name} is not {wanted}"));
        }
    }
    let functions = case.of("KongPlugin").chain(case.of("KongClusterPlugin"));
    for plugin in functions.filter(|plugin| plugin.value["plugin"] == "pre-function") {
        // one that stands at a route stands in place of the global one
        let first = &plugin.value["config"]["access"][0];
        want(first == kong::STRIP, plugin, "lets clients say what only the edge may say".to_owned());
    }
    let lost = case.of("HTTPRoute").find(|route| route.value["spec"]["rules"][0]["matches"][0]["path"]["value"] == "/");
    let ends = lost.is_some_and(|route| {
        names(route).iter().any(|name| {
            case.of("KongPlugin").any(|plugin| {
                plugin.name() == *name
                    && plugin.value["plugin"] == "request-termination"
                    && plugin.value["config"]["status_code"] == 404
            })
        })
    });
    want(ends, gateway, "what no route names is answered by Kong in its own words".to_owned());
    let health = case.of("HTTPRoute").find(|route| {
        route.value["spec"]["rules"][0]["matches"][0]["path"]["value"] == "/healthz/site" && names(route).is_empty()
    });
    want(health.is_some(), gateway, "global routing asks /healthz/site and is not answered".to_owned());
    let here = gateway.namespace();
    want(
        case.of("PodMonitor").any(|monitor| monitor.namespace() == here),
        gateway,
        "nobody reads the gateway's metrics".to_owned(),
    );
    let policies = case.of("NetworkPolicy").filter(|policy| policy.namespace() == here);
    let mut reached = false;
    for policy in policies {
        for row in policy.value["spec"]["ingress"].as_array().into_iter().flatten() {
            let ports: Vec<_> = row["ports"].as_array().into_iter().flatten().collect();
            if !ports.is_empty() && ports.iter().all(|port| port["port"] != ADMINISTRATION) {
                continue;
            }
            let from: Vec<_> = row["from"].as_array().into_iter().flatten().collect();
            let operators = |peer: &&serde_json::Value| {
                peer["namespaceSelector"]["matchLabels"]["shopsphere.example/operators"] == "true"
            };
            reached |= from.iter().any(operators);
            let only = !from.is_empty() && from.iter().all(operators);
            want(only, policy, format!("opens {ADMINISTRATION} to more than the controller"));
        }
    }
    want(reached, gateway, "no controller reaches the gateway, so it has no routes".to_owned());
    refused
}

/// The job that brings the issuer's keys: of this region's issuer, with an overlap no shorter than a token may live, and with no right to
/// read a Secret that is not a key.
pub fn keys(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, _)) = case.place else { return Vec::new() };
    let Some(consumer) = case.of("KongConsumer").next() else { return Vec::new() };
    let mut refused = Vec::new();
    let Some(job) = case.of("CronJob").find(|job| job.name() == "jwks-sync") else {
        return vec![case.refuse("edge-keys", consumer, "nobody brings it keys, so no token is good")];
    };
    let container = job.containers().next();
    let arguments = container.and_then(|container| container["args"].as_array()).into_iter().flatten();
    let arguments: Vec<_> = arguments.filter_map(|argument| argument.as_str()).collect();
    let said = |flag: &str| arguments.iter().find_map(|argument| argument.strip_prefix(flag));
    let mut want = |good: bool, object: &Object, why: String| {
        if !good {
            refused.push(case.refuse("edge-keys", object, why));
        }
    };
    let keys = said("--keys=").unwrap_or_default();
    want(keys.contains(&format!("/realms/shopsphere-{}/", region.code)), job, format!("reads the keys at {keys:?}"));
    let namespace = said("--namespace=").unwrap_or_default();
    want(namespace == consumer.namespace(), job, format!("writes into {namespace:?}, the consumer is elsewhere"));
    let overlap = said("--overlap-s=").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    for plugin in case.of("KongPlugin").filter(|plugin| plugin.value["plugin"] == "jwt") {
        let longest = plugin.value["config"]["maximum_expiration"].as_u64().unwrap_or(u64::MAX);
        want(overlap >= longest, job, format!("takes a key away after {overlap} s, while its tokens live {longest} s"));
    }
    want(
        (job.value["spec"]["suspend"] == true) == case.is_standby(),
        job,
        "runs where no issuer answers, or rests where one does".to_owned(),
    );
    for role in case.of("Role").filter(|role| role.name() == "jwks-sync") {
        for rule in role.value["rules"].as_array().into_iter().flatten() {
            let verbs: Vec<_> =
                rule["verbs"].as_array().into_iter().flatten().filter_map(|verb| verb.as_str()).collect();
            let named = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
            want(named || verbs == ["create"], role, format!("may {} whatever it likes", verbs.join(", ")));
        }
    }
    refused
}

const PURGE_URL: &str = "SHOPSPHERE__CDN__PURGE_URL";

/// Who knows that copies are out of date tells the CDN: in the zone of this region's public host and no other, and a way is open for it.
pub fn purged(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, _)) = case.place else { return Vec::new() };
    let (url, network) = (case.topology().purge_url(region), &case.topology().cdn.api.network);
    let mut refused = Vec::new();
    let mut told = false;
    for object in case.objects() {
        let Some(pod) = object.pod() else { continue };
        for zone in object.containers().filter_map(|container| settings::value(container, PURGE_URL)) {
            if zone != url {
                refused.push(case.refuse("purged", object, format!("tells {zone:?}, which keeps no copies of ours")));
            }
            let labels = &pod["metadata"]["labels"];
            if labels["app.kubernetes.io/component"] != "work" {
                continue;
            }
            told = true;
            let open = case.of("NetworkPolicy").any(|policy| {
                policy.namespace() == object.namespace()
                    && chooses(policy, labels)
                    && list(&policy.value["spec"]["egress"])
                        .any(|rule| opens(rule, "to", 443, |peer| peer["ipBlock"]["cidr"] == network.as_str()))
            });
            if !open {
                refused.push(case.refuse("purged", object, "no policy lets it tell the CDN"));
            }
        }
    }
    if !told {
        refused.push(case.lacks("purged", "nobody tells the CDN which of its copies are out of date"));
    }
    refused
}
