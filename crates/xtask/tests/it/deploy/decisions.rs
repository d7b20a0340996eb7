//! What the edge's files decide, asked of the files themselves: which answer the CDN keeps, where a name leads when a site is down, and that
//! the load balancer and the gateways behind it speak of the same ports, addresses and times.

use std::fs;

use serde_json::Value;
use xtask::layout::checkout;
use xtask::render::topology::{self, Topology};

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Topology {
    topology::parse(&read("topology.toml")).unwrap()
}

/// What stands behind `name = "` in a block, with its escapes undone.
fn text(block: &str, name: &str) -> Option<String> {
    let line = block.lines().find(|line| line.trim_start().split('=').next().is_some_and(|key| key.trim() == name))?;
    let value = line.split_once('=')?.1.trim();
    serde_json::from_str::<String>(value).ok().or_else(|| Some(value.to_owned()))
}

/// A request as the CDN sees it.
struct Request<'r> {
    host: &'r str,
    method: &'r str,
    path: &'r str,
    authorization: bool,
    cookie: &'r str,
}

/// The part of the CDN's language of rules that our rules use.
struct Expression<'e> {
    rest: &'e str,
    request: &'e Request<'e>,
}

impl<'e> Expression<'e> {
    fn holds(text: &'e str, request: &'e Request<'e>) -> bool {
        let mut expression = Expression { rest: text, request };
        let value = expression.any_of();
        assert!(expression.rest.trim().is_empty(), "not understood: {:?}", expression.rest);
        value
    }

    fn takes(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn any_of(&mut self) -> bool {
        let mut value = self.all_of();
        while self.takes("or ") {
            value |= self.all_of();
        }
        value
    }

    fn all_of(&mut self) -> bool {
        let mut value = self.one();
        while self.takes("and ") {
            value &= self.one();
        }
        value
    }

    fn one(&mut self) -> bool {
        if self.takes("not ") {
            return !self.one();
        }
        if self.takes("any(") || self.takes("(") {
            let value = self.any_of();
            assert!(self.takes(")"), "a bracket is open: {:?}", self.rest);
            return value;
        }
        if self.takes("starts_with(http.request.uri.path,") {
            let prefix = self.quoted();
            assert!(self.takes(")"));
            return self.request.path.starts_with(&prefix);
        }
        let fields = [
            ("http.host eq", self.request.host),
            ("http.request.method eq", self.request.method),
            ("http.request.headers.names[*] eq", if self.request.authorization { "authorization" } else { "" }),
            ("http.cookie eq", self.request.cookie),
        ];
        for (field, value) in fields {
            if self.takes(field) {
                return self.quoted() == value;
            }
        }
        panic!("not understood: {:?}", self.rest);
    }

    fn quoted(&mut self) -> String {
        let rest = self.rest.trim_start().strip_prefix('"').expect("a quoted text");
        let (value, after) = rest.split_once('"').expect("a closed text");
        self.rest = after;
        value.to_owned()
    }
}

/// `None` where no rule speaks; the last one that does decides.
fn kept(rules: &str, request: &Request<'_>) -> Option<bool> {
    let rules = rules.split("\n  rules {").skip(1);
    let speaking = rules.filter(|rule| Expression::holds(&text(rule, "expression").unwrap(), request));
    speaking.last().map(|rule| text(rule, "cache").unwrap() == "true")
}

#[test]
fn the_cdn_keeps_public_pages_of_strangers_and_nothing_else() {
    let terraform = read("deploy/edge/cloudflare/cache.tf");
    let stranger = |method, path| Request { host: "", method, path, authorization: false, cookie: "" };
    for region in sources().regions {
        let ruleset =
            terraform.split(&format!("resource \"cloudflare_ruleset\" \"cache_{}\"", region.code)).nth(1).unwrap();
        let ruleset = ruleset.split("\nvariable ").next().unwrap();
        let host = region.host();
        let cases = [
            (stranger("GET", "/v1/products"), Some(true)),
            (stranger("GET", "/v1/products/GA-1"), Some(true)),
            (stranger("GET", "/v1/search"), Some(true)),
            (Request { authorization: true, ..stranger("GET", "/v1/products") }, Some(false)),
            (Request { cookie: "session=1", ..stranger("GET", "/v1/products") }, Some(false)),
            (stranger("POST", "/v1/products"), Some(false)),
            (stranger("HEAD", "/v1/search"), Some(false)),
            (stranger("GET", "/v1/me"), Some(false)),
            (stranger("GET", "/v1/me/addresses"), Some(false)),
            (stranger("GET", "/v1/orders"), Some(false)),
            (stranger("GET", "/v1/cart"), Some(false)),
            (stranger("GET", "/v1/recommendations"), Some(false)),
            (stranger("GET", "/v1/admin/products"), Some(false)),
            (stranger("POST", "/v1/sessions"), Some(false)),
            (stranger("GET", "/healthz/site"), Some(false)),
            (stranger("GET", "/"), Some(false)),
        ];
        for (request, expected) in cases {
            let request = Request { host, ..request };
            assert_eq!(kept(ruleset, &request), expected, "{host} {} {}", request.method, request.path);
        }
        let elsewhere = Request { host: "www.example", ..stranger("GET", "/v1/products") };
        assert_eq!(kept(ruleset, &elsewhere), None, "{host} speaks for another host");
    }
}

/// The headers by which a rule tells the copies of one address apart.
fn told_apart_by(rule: &str) -> Option<String> {
    text(rule.split("custom_key {").nth(1)?.split("header {").nth(1)?, "include")
}

/// By what each rule that keeps something tells its copies apart.
fn keys(terraform: &str) -> Vec<Option<String>> {
    let rules = terraform.split("\n  rules {").skip(1);
    rules.filter(|rule| text(rule, "cache").is_some_and(|cache| cache == "true")).map(told_apart_by).collect()
}

#[test]
fn nobody_is_given_a_page_in_the_language_of_somebody_else() {
    let terraform = read("deploy/edge/cloudflare/cache.tf");
    // the CDN does not look at `Vary`, whatever our answers say there
    let wanted: Vec<_> = sources()
        .regions
        .iter()
        .map(|region| (region.languages.len() > 1).then(|| "[\"accept-language\"]".to_owned()))
        .collect();
    assert_eq!(keys(&terraform), wanted, "one language needs no second copy, several need one each");
    let by_address_alone = terraform.replace("custom_key {", "ignored {");
    assert!(keys(&by_address_alone).iter().all(Option::is_none), "a rule that forgets the language is noticed");
}

/// The address that a name of ranked failover gives: the first of its targets, by precedence, whose probe answers 200.
fn given(property: &str, answers: impl Fn(&str) -> u16) -> Option<&str> {
    let strict = ["http_error3xx", "http_error4xx", "http_error5xx"]
        .iter()
        .all(|word| text(property, word).is_some_and(|value| value == "true"));
    let mut targets: Vec<(u32, &str)> = property
        .split("traffic_target {")
        .skip(1)
        .map(|target| {
            let address = target.split("servers ").nth(1).unwrap().split('"').nth(1).unwrap();
            (text(target, "precedence").unwrap().parse().unwrap(), address)
        })
        .collect();
    targets.sort_unstable();
    let live = |address: &str| answers(address) == 200 || (!strict && answers(address) != 0);
    targets.into_iter().map(|(_, address)| address).find(|address| live(address))
}

fn block<'t>(terraform: &'t str, head: &str) -> &'t str {
    let rest = terraform.split(&format!("resource {head} {{")).nth(1).unwrap_or_else(|| panic!("no {head}"));
    rest.split("\n}\n").next().unwrap()
}

#[test]
fn a_name_leads_to_the_site_that_says_it_is_the_active_one_and_never_abroad() {
    let terraform = read("deploy/edge/akamai/gtm.tf");
    for region in sources().regions {
        let (primary, standby) = (region.primary().edge.address.clone(), region.standby().edge.address.clone());
        let property = block(&terraform, &format!("\"akamai_gtm_property\" \"{}\"", region.code));
        // what the two sites answer at /healthz/site (0: nothing), and who is given
        let cases: [(u16, u16, Option<&str>, &str); 7] = [
            (200, 503, Some(&primary), "as installed"),
            (503, 200, Some(&standby), "the primary is fenced, the standby promoted"),
            (0, 200, Some(&standby), "the primary is gone, the standby promoted"),
            (0, 503, None, "the primary is gone, nobody is promoted yet: a standby that cannot write is not given"),
            (404, 200, Some(&standby), "something else answers at the primary"),
            (302, 200, Some(&standby), "something sends elsewhere"),
            (200, 200, Some(&primary), "both think so: the first one is given, and the lease decides"),
        ];
        for (first, second, expected, what) in cases {
            let answers = |address: &str| {
                if address == primary {
                    first
                } else if address == standby {
                    second
                } else {
                    200
                }
            };
            assert_eq!(given(property, answers), expected, "{}: {what}", region.code);
        }
    }
}

#[test]
fn a_country_is_shown_its_region_and_every_other_the_default() {
    let terraform = read("deploy/edge/akamai/gtm.tf");
    let topology = sources();
    let map = block(&terraform, "\"akamai_gtm_geomap\" \"regions\"");
    let shown = |country: &str| {
        let assigned = map.split("assignment {").skip(1).find(|row| row.contains(&format!("\"{country}\"")));
        let row = assigned.unwrap_or_else(|| map.split("default_datacenter {").nth(1).unwrap());
        text(row, "nickname").unwrap()
    };
    for (country, region) in
        [("DE", "eu"), ("IE", "eu"), ("US", "us"), ("SG", "apac"), ("AU", "apac"), ("BR", &*topology.default_region)]
    {
        assert_eq!(shown(country), region, "{country}");
    }
    // no country twice, and a region's own name behind each: a failover stays where it is
    let listed: Vec<_> = topology.regions.iter().flat_map(|region| &region.countries).collect();
    assert!(listed.iter().all(|country| map.matches(&format!("\"{country}\"")).count() == 1));
    let shop = block(&terraform, "\"akamai_gtm_property\" \"shop\"");
    let names: Vec<_> =
        shop.split("traffic_target {").skip(1).map(|target| text(target, "handout_cname").unwrap()).collect();
    assert_eq!(names, topology.regions.iter().map(|region| region.host().to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_load_balancer_and_the_gateways_mean_the_same_ports_addresses_and_times() {
    let topology = sources();
    for (region, site) in topology.sites() {
        let file: Value = serde_json::from_str(&read(&format!("deploy/edge/f5/as3/{}.json", site.name))).unwrap();
        let edge = &file["declaration"]["shopsphere"]["edge"];
        let kong = read(&format!("deploy/edge/kong/{}.conf", site.name));
        let setting = |name: &str| text(&kong, name).unwrap_or_else(|| panic!("{}: no {name}", site.name));
        let member = &edge["gateways"]["members"][0];
        let name = &site.name;
        assert!(setting("proxy_listen").starts_with(&format!("0.0.0.0:{} ssl", member["servicePort"])), "{name}");
        assert_eq!(setting("status_listen"), format!("0.0.0.0:{}", edge["status"]["targetPort"]), "{name}");
        assert!(edge["status"]["send"].as_str().unwrap().starts_with("GET /status/ready HTTP"), "{name}");
        // twice missed is down, and that within the time in which a failover would be decided
        let (interval, timeout) =
            (edge["status"]["interval"].as_u64().unwrap(), edge["status"]["timeout"].as_u64().unwrap());
        assert!(timeout > 2 * interval && timeout < 10, "{name}: {interval} and {timeout}");
        // limits count the address that the balancer writes, and only it and the CDN in front of it are believed
        assert_eq!(
            (&edge["forwarded"]["xForwardedFor"], setting("real_ip_header").as_str()),
            (&Value::Bool(true), "X-Forwarded-For")
        );
        let believed: Vec<_> = std::iter::once(&site.network).chain(&topology.cdn.networks).cloned().collect();
        assert_eq!(setting("trusted_ips"), believed.join(","), "{name}");
        // order events stream longer than anything else; nothing on their way may end them first
        let routes: Value = serde_json::from_str(&read(&format!("deploy/edge/kong/{}.json", region.code))).unwrap();
        let longest = routes["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|service| service["read_timeout"].as_u64().unwrap())
            .max();
        let idle = edge["streams"]["idleTimeout"].as_u64().unwrap();
        assert!(longest.is_some_and(|longest| idle * 1000 > longest), "{name}: {idle} s and {longest:?} ms");
        assert_eq!(edge["https"]["profileTCP"]["use"], "streams", "{name}");
        // a member that goes keeps what it has, and no client is tied to it
        assert_eq!(
            (&edge["gateways"]["serviceDownAction"], &edge["https"]["persistenceMethods"]),
            (&Value::from("none"), &serde_json::json!([]))
        );
    }
}
