//! The edge as files: Kong's two forms say the same and only what its version knows, F5's declarations point to things that are there, the
//! CDN keeps nothing personal, a failover stays in its jurisdiction.

use std::fs;

use serde_json::Value;
use xtask::deploy::objects::Object;
use xtask::layout::checkout;
use xtask::render::{routes, topology};

use super::SITES;

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn objects<'o>(site: &str, kind: &'o str) -> impl Iterator<Item = &'static Object> + use<'o> {
    let rendered = SITES.iter().find(|rendered| rendered.site == site).unwrap();
    rendered.objects.iter().filter(move |object| object.kind() == kind)
}

/// Facts about schemas that are not ours lie beside the checkout; they are read there and never copied.
fn shared(path: &str) -> Option<Value> {
    let path = checkout().join("../shared/schemas").join(path);
    let found = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
    if found.is_none() {
        xtask::progress::skipped(&format!("{} is not there", path.display()));
    }
    found
}

#[test]
fn the_file_and_the_objects_of_kong_say_the_same() {
    for region in topology::parse(&read("topology.toml")).unwrap().regions {
        let file = json(&format!("deploy/edge/kong/{}.json", region.code));
        let site = &region.primary().name;
        let rows = file["services"].as_array().unwrap().iter().flat_map(|service| {
            service["routes"].as_array().unwrap().iter().map(move |route| (service["name"].as_str().unwrap(), route))
        });
        let mut compared = 0;
        for (service, route) in rows {
            let name = route["name"].as_str().unwrap();
            let object = objects(site, "HTTPRoute").find(|object| object.name() == name).expect(name);
            let rule = &object.value["spec"]["rules"][0];
            let paths: Vec<_> =
                rule["matches"].as_array().unwrap().iter().map(|one| one["path"]["value"].clone()).collect();
            assert_eq!(
                (rule["backendRefs"][0]["name"].as_str(), &Value::Array(paths)),
                (Some(service), &route["paths"]),
                "{name}"
            );
            let named = object.value["metadata"]["annotations"]["konghq.com/plugins"].as_str().unwrap().split(',');
            let of_object: Vec<&Value> = named
                .map(|name| &objects(site, "KongPlugin").find(|plugin| plugin.name() == name).expect(name).value)
                .collect();
            for plugin in route["plugins"].as_array().unwrap() {
                let twin = of_object.iter().find(|twin| twin["plugin"] == plugin["name"]);
                let twin = twin.unwrap_or_else(|| panic!("{name} has no {}", plugin["name"]));
                assert_eq!(twin["config"], plugin["config"], "{name} {}", plugin["name"]);
                compared += 1;
            }
        }
        assert!(compared >= 25, "only {compared} plugins compared");
        // what holds for every request, and whom global routing and the lost ask
        for plugin in file["plugins"].as_array().unwrap() {
            let twin = objects(site, "KongClusterPlugin").find(|object| object.value["plugin"] == plugin["name"]);
            let mut config = twin.unwrap_or_else(|| panic!("no object {}", plugin["name"])).value["config"].clone();
            if plugin["name"] == "opentelemetry" {
                // a file is of a region
                config["resource_attributes"].as_object_mut().unwrap().remove("shopsphere.site");
            }
            assert_eq!(config, plugin["config"], "{}", plugin["name"]);
        }
        assert_eq!(file["plugins"].as_array().unwrap().len(), objects(site, "KongClusterPlugin").count());
        let lone = file["routes"].as_array().unwrap().iter().map(|route| route["name"].as_str().unwrap());
        let lone: Vec<_> = lone.collect();
        assert_eq!(lone, ["site-health", "nothing-here"]);
        for name in lone {
            assert!(objects(site, "HTTPRoute").any(|object| object.name() == name), "{name}");
        }
        let lost = objects(site, "KongPlugin").find(|plugin| plugin.name() == "nothing-here").unwrap();
        assert_eq!(lost.value["config"], file["routes"][1]["plugins"][1]["config"]);
    }
}

/// What a value has that its schema does not know, or has otherwise.
fn odd(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let fits = match kind {
        "record" | "map" => value.is_object(),
        "set" | "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "number" | "integer" => value.is_number(),
        "string" => value.is_string(),
        _ => true,
    };
    if !fits {
        found.push(format!("{path} is no {kind}"));
        return;
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        found.push(format!("{path} is {value}"));
    }
    match value {
        Value::Object(map) if kind == "record" => {
            for (key, value) in map {
                match schema["fields"].get(key) {
                    Some(field) => odd(value, field, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key} is unknown")),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| odd(item, &schema["elements"], path, found)),
        _ => {}
    }
}

#[test]
fn every_plugin_has_only_fields_that_its_version_knows() {
    let Some(facts) = shared("kong/plugin-fields-3.9.json") else { return };
    let judge = |name: &str, config: &Value| {
        let mut found = Vec::new();
        match facts["plugins"].get(name) {
            Some(plugin) => odd(config, &plugin["config"], name, &mut found),
            None => found.push(format!("{name} is not among the plugins that we know")),
        }
        found
    };
    let mut count = 0;
    let mut all = Vec::new();
    for site in ["rdc-a", "dr-a", "rdc-b", "rdc-c"] {
        for object in objects(site, "KongPlugin").chain(objects(site, "KongClusterPlugin")) {
            count += 1;
            all.extend(
                judge(object.value["plugin"].as_str().unwrap(), &object.value["config"])
                    .into_iter()
                    .map(|why| format!("{object}: {why}")),
            );
        }
    }
    let file = json("deploy/edge/kong/eu.json");
    assert_eq!(file["_format_version"], "3.0");
    let services = file["services"].as_array().unwrap();
    let of_routes = services
        .iter()
        .flat_map(|service| service["routes"].as_array().unwrap())
        .flat_map(|route| route["plugins"].as_array().unwrap());
    for plugin in of_routes.chain(file["plugins"].as_array().unwrap()) {
        count += 1;
        all.extend(judge(plugin["name"].as_str().unwrap(), &plugin["config"]));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    assert!(count > 80, "only {count} plugins");
    // and what is wrong is seen
    let wrong = serde_json::json!({"minute": 5, "limit_by": "moon", "redis": {"hots": "x"}});
    assert_eq!(judge("rate-limiting", &wrong).len(), 2, "{:?}", judge("rate-limiting", &wrong));
    assert_eq!(judge("openid-connect", &wrong).len(), 1);
}

/// What a declaration points to by name and does not have.
fn dangling(declaration: &Value) -> Vec<String> {
    let application = &declaration["declaration"]["shopsphere"]["edge"];
    let mut found = Vec::new();
    let mut point = |at: &str, target: &Value, class: &str| {
        let name = target.as_str().or_else(|| target["use"].as_str());
        if !name.is_some_and(|name| application[name]["class"] == class) {
            found.push(format!("{at} points to {target}, which is no {class}"));
        }
    };
    for (name, part) in application.as_object().unwrap().iter().filter(|(_, part)| part.is_object()) {
        let class = part["class"].as_str().unwrap_or_default();
        if class.starts_with("Service_") {
            point(name, &part["pool"], "Pool");
            if class == "Service_HTTPS" {
                point(name, &part["serverTLS"], "TLS_Server");
                point(name, &part["clientTLS"], "TLS_Client");
                point(name, &part["profileHTTP"], "HTTP_Profile");
            }
        }
        if class == "TLS_Server" {
            part["certificates"]
                .as_array()
                .unwrap()
                .iter()
                .for_each(|row| point(name, &row["certificate"], "Certificate"));
        }
        if class == "Pool" {
            part["monitors"].as_array().unwrap().iter().for_each(|monitor| point(name, monitor, "Monitor"));
        }
    }
    found
}

#[test]
fn everything_an_as3_declaration_points_to_is_there() {
    for (region, site) in topology::parse(&read("topology.toml")).unwrap().sites() {
        let declaration = json(&format!("deploy/edge/f5/as3/{}.json", site.name));
        assert_eq!(dangling(&declaration), Vec::<String>::new(), "{}", site.name);
        let edge = &declaration["declaration"]["shopsphere"]["edge"];
        assert_eq!(edge["https"]["virtualAddresses"][0], site.edge.address.as_str());
        assert_eq!(edge["inside"]["sendSNI"], region.host(), "{}", site.name);
        let members = edge["gateways"]["members"][0]["serverAddresses"].as_array().unwrap();
        assert_eq!(members.len(), site.edge.gateways.len());
        let network = site.network.trim_end_matches("0.0/16");
        assert!(
            members.iter().all(|member| member.as_str().unwrap().starts_with(network)),
            "{} of {}",
            site.name,
            region.code
        );
    }
    let mut broken = json("deploy/edge/f5/as3/rdc-a.json");
    broken["declaration"]["shopsphere"]["edge"]["https"]["pool"] = Value::from("gateway");
    assert_eq!(dangling(&broken), ["https points to \"gateway\", which is no Pool"]);
}

#[test]
fn nothing_personal_is_kept_by_the_cdn() {
    let terraform = read("deploy/edge/cloudflare/cache.tf");
    let table = routes::parse(&read(routes::SOURCE)).unwrap();
    let mut private = 0;
    for route in &table.routes {
        for path in &route.paths {
            let kept = terraform.contains(&format!("starts_with(http.request.uri.path, \\\"{path}\\\")"));
            assert_eq!(kept, route.cache, "{path}");
            private += usize::from(!route.cache);
        }
    }
    assert!(private > 20, "only {private} private paths");
    for path in ["/v1/orders", "/v1/me", "/v1/cart", "/v1/sessions", "/v1/recommendations"] {
        assert!(table.routes.iter().any(|route| !route.cache && route.paths.iter().any(|one| one == path)), "{path}");
    }
    // a prefix of a private path must not be public: `/v1/me` would take `/v1/me/store-credit` with it
    let shared = table.routes.iter().filter(|route| route.cache).flat_map(|route| &route.paths);
    for public in shared {
        let hidden = table.routes.iter().filter(|route| !route.cache).flat_map(|route| &route.paths);
        assert!(hidden.into_iter().all(|path| !path.starts_with(public.as_str())), "{public} covers a private path");
    }
    assert!(terraform.matches("authorization").count() == 3 && terraform.matches("http.cookie eq").count() == 3);
}

#[test]
fn a_failover_answers_with_sites_of_one_region_in_order() {
    let terraform = read("deploy/edge/akamai/gtm.tf");
    let topology = topology::parse(&read("topology.toml")).unwrap();
    for region in &topology.regions {
        let block =
            terraform.split(&format!("resource \"akamai_gtm_property\" \"{}\" {{", region.code)).nth(1).unwrap();
        let block = block.split("\n}\n").next().unwrap();
        let targets: Vec<_> = block.split("traffic_target {").skip(1).collect();
        assert_eq!(targets.len(), 2, "{}", region.code);
        for (target, (site, precedence)) in targets.iter().zip([(region.primary(), 10), (region.standby(), 20)]) {
            assert!(
                target.contains(&site.edge.address) && target.contains(&format!("precedence    = {precedence}")),
                "{target}"
            );
        }
        assert!(
            block.contains("test_object                      = \"/healthz/site\"")
                && block.contains("dynamic_ttl            = 60")
        );
        let foreign = topology.sites().filter(|(other, _)| other.code != region.code);
        assert!(
            foreign.into_iter().all(|(_, site)| !block.contains(&site.edge.address)),
            "{} fails over abroad",
            region.code
        );
    }
    assert_eq!(terraform.matches('{').count(), terraform.matches('}').count());
    // only such a domain may have both kinds of property
    assert!(terraform.contains("type                      = \"full\""));
}

/// Routes of the local edge by path, as they stand in its template.
fn local_routes(template: &str) -> Vec<(&str, &str)> {
    let rules = template.lines().filter_map(|line| line.trim().strip_prefix("http-request set-var(txn.route) str("));
    rules
        .map(|rule| {
            let (route, rest) = rule.split_once(')').unwrap();
            (route, rest.split_once("path_reg ^").unwrap().1.split_once("(/|$)").unwrap().0)
        })
        .collect()
}

/// What the template says of a route: the value of a variable that is set for it.
fn said<'t>(template: &'t str, variable: &str, route: &str) -> Option<&'t str> {
    let start = format!("http-request set-var(txn.{variable}) ");
    let rules = template.lines().filter_map(|line| line.trim().strip_prefix(start.as_str()));
    rules.filter_map(|rule| rule.split_once(" if { var(txn.route) -m str ")).find_map(|(value, routes)| {
        let named = routes.trim_end_matches(" }").split(' ').any(|one| one == route);
        named.then(|| value.split_once('(').unwrap().1.trim_end_matches(')'))
    })
}

#[test]
fn the_local_edge_sends_every_path_of_the_table_to_its_service() {
    let template = read("deploy/edge/haproxy/haproxy.cfg.template");
    let rules = local_routes(&template);
    // as HAProxy does: all rules in order, the last that fits stays
    let answers = |path: &str| {
        let fits = |prefix: &str| path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        let route = rules.iter().rfind(|(_, prefix)| fits(prefix)).map(|(route, _)| *route)?;
        said(&template, "service", route)
    };
    let cases = [
        ("/v1/me", Some("user")),
        ("/v1/me/addresses", Some("user")),
        ("/v1/me/store-credit", Some("order-payment")),
        ("/v1/products/X-1", Some("catalog")),
        ("/v1/admin/parked-messages/user", Some("user")),
        ("/v1/admin/parked-messages/order-payment/7", Some("order-payment")),
        ("/v1/recommendations", Some("personalization")),
        ("/v1/admin/experiments/calm", Some("personalization")),
        ("/v1/productsandmore", None),
        ("/metrics", None),
    ];
    for (path, service) in cases {
        assert_eq!(answers(path), service, "{path}");
    }
}

#[test]
fn the_local_edge_and_kong_ask_bound_and_count_alike() {
    let template = read("deploy/edge/haproxy/haproxy.cfg.template");
    let file = json("deploy/edge/kong/eu.json");
    let mut compared = 0;
    for route in file["services"].as_array().unwrap().iter().flat_map(|service| service["routes"].as_array().unwrap()) {
        let name = route["name"].as_str().unwrap();
        let plugin = |kind: &str| route["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == kind);
        let size = &plugin("request-size-limiting").unwrap()["config"];
        assert_eq!(size["size_unit"], "kilobytes");
        let bytes = (size["allowed_payload_size"].as_u64().unwrap() * 1024).to_string();
        assert_eq!(said(&template, "body", name), Some(bytes.as_str()), "{name}");
        assert_eq!(said(&template, "token", name).is_some(), plugin("jwt").is_some(), "{name}");
        let counting = &plugin("rate-limiting").unwrap()["config"];
        let minute = counting["minute"].to_string();
        assert_eq!(said(&template, "per_minute", name), Some(minute.as_str()), "{name}");
        let by = if counting["limit_by"] == "ip" { " src " } else { " var(txn.subject) " };
        let tracked = template
            .lines()
            .find(|line| line.contains("track-sc1") && line.trim_end_matches(" }").split(' ').any(|one| one == name));
        assert!(tracked.is_some_and(|line| line.contains(by)), "{name}: {tracked:?}");
        compared += 1;
    }
    assert!(compared >= 13, "only {compared} routes");
}

#[test]
fn whoever_is_not_logged_in_reaches_what_the_services_let_them() {
    let table = routes::parse(&read(routes::SOURCE)).unwrap();
    // a browser that nobody has logged in with yet: looks, fills a basket, signs up, logs in, is shown things and reports clicks
    let open = [
        "/v1/products",
        "/v1/search",
        "/v1/categories",
        "/v1/regions",
        "/v1/recommendations",
        "/v1/events",
        "/v1/cart",
        "/v1/users",
        "/v1/sessions",
        "/v1/payments",
    ];
    let closed = ["/v1/me", "/v1/orders", "/v1/me/store-credit", "/v1/sagas"];
    let row = |path: &str| table.routes.iter().find(|route| route.paths.iter().any(|one| one == path)).expect(path);
    for path in open {
        assert_ne!(row(path).token, routes::Token::Required, "{path}");
    }
    let administration =
        table.routes.iter().flat_map(|route| &route.paths).filter(|path| path.starts_with("/v1/admin/"));
    for path in closed.into_iter().chain(administration.map(String::as_str)) {
        assert_eq!(row(path).token, routes::Token::Required, "{path}");
    }
}
