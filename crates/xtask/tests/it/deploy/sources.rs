//! The sources: what a topology, a table of routes and a behaviour must be before anything is rendered from them.

use std::fs;

use xtask::deploy::simulation::{Behaviour, Measure, Size, Workload, alone};
use xtask::layout::checkout;
use xtask::render::{routes, topics, topology};

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap()
}

#[test]
fn a_topology_with_a_mistake_is_refused_by_name() {
    let good = read("topology.toml");
    assert!(topology::parse(&good).is_ok());
    let cases = [
        (
            "name = \"dr-a\"\ncity = \"Dublin\"\ncountry = \"IE\"\nlatitude = 53.35\nlongitude = -6.26\nrole = \"standby\"\njurisdiction = \"EU\"",
            "name = \"dr-a\"\ncity = \"Dublin\"\ncountry = \"IE\"\nlatitude = 53.35\nlongitude = -6.26\nrole = \"standby\"\njurisdiction = \"US\"",
            "the pair of eu lies in two jurisdictions: dr-a in US, the region in EU",
        ),
        ("network = \"10.12.0.0/16\"", "network = \"10.11.0.0/16\"", "dr-a and rdc-a share the network 10.11.0.0/16"),
        (
            "network = \"10.12.0.0/16\"",
            "network = \"10.11.128.0/17\"",
            "dr-a and rdc-a share the network 10.11.128.0/17",
        ),
        ("network = \"10.90.0.0/16\"", "network = \"10.32.5.0/24\"", "hq and dr-c share the network 10.32.5.0/24"),
        (
            "network = \"198.51.100.16/28\"",
            "network = \"198.51.100.0/24\"",
            "us.gateway.example and https://payments.eu.",
        ),
        ("network = \"10.22.0.0/16\"", "network = \"everywhere\"", "everywhere of dr-b is no network"),
        ("name = \"dr-b\"", "name = \"dr-a\"", "dr-a stands twice"),
        ("name = \"hq\"", "name = \"eu\"", "eu stands twice"),
        ("\"203.0.113.27\"", "\"203.0.113.11\"", "two sites have the address 203.0.113.11"),
        (
            "[\"10.12.240.11\"",
            "[\"10.22.240.11\"",
            "10.22.240.11 is a gateway of dr-a and lies outside of 10.12.0.0/16",
        ),
        ("jurisdiction = \"HQ\"", "jurisdiction = \"US\"", "hq lies in the jurisdiction US of us"),
        ("https://api.us.shopsphere.example", "https://api.eu.shopsphere.example", "base_url of us is not below"),
        ("default_region = \"eu\"", "default_region = \"mars\"", "default_region mars is no region"),
        ("\"172.64.0.0/13\"", "\"0.0.0.0/0\"", "cdn: 0.0.0.0/0 is no network of a CDN"),
        ("cdn_zone = \"0000", "cdn_zone = \"zone", "of eu is no zone of the CDN"),
        ("0002\"", "0001\"", "us and eu share the zone 00000000000000000000000000000001 of the CDN"),
        (
            "104.16.0.0/13\" }",
            "10.21.0.0/16\" }",
            "https://api.cloudflare.com and rdc-b share the network 10.21.0.0/16",
        ),
        ("role = \"standby\"", "role = \"primary\"", "region eu has 2 sites with the role Primary, it needs one"),
    ];
    for (from, to, expected) in cases {
        assert!(good.contains(from), "{from} is no longer in topology.toml");
        let error = format!("{:#}", topology::parse(&good.replacen(from, to, 1)).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_table_of_routes_with_a_mistake_is_refused_by_name() {
    let good = read(routes::SOURCE);
    assert!(routes::parse(&good).is_ok());
    let cases = [
        ("\"/v1/orders\"", "\"/v1/cart\"", "/v1/cart stands twice"),
        ("service = \"personalization\"", "service = \"weather\"", "there is no service weather"),
        (
            "token = \"required\"\nlimit = \"people\"",
            "token = \"required\"\nlimit = \"people\"\ncache = true",
            "/v1/me needs a token and cannot be cached",
        ),
        (
            "token = \"optional\"\nlimit = \"clicks\"",
            "token = \"optional\"\nlimit = \"people\"",
            "two routes of user have the limit people",
        ),
        (
            "limit = \"browse\"\nbody = 8\npaths = [\"/v1/rec",
            "limit = \"people\"\nbody = 8\npaths = [\"/v1/rec",
            "counts people without knowing them",
        ),
        ("\"/v1/recommendations\"", "\"/recommendations\"", "/recommendations is no path of the API"),
    ];
    for (from, to, expected) in cases {
        assert!(good.contains(from), "{from} is no longer in the table");
        let error = format!("{:#}", routes::parse(&good.replacen(from, to, 1)).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn every_row_of_the_topic_table_is_read() {
    let text = read(topics::SOURCE);
    let rows = text.lines().filter(|line| line.contains("writer: \"")).count();
    let topics = topics::parse(&text).unwrap();
    assert_eq!(topics.len(), rows);
    let clicks = topics.iter().find(|topic| topic.kind == "clickstream.raw").unwrap();
    assert_eq!((clicks.partitions, clicks.class.as_str(), clicks.retention_ms), (24, "pii", 86_400_000));
    let compacted: Vec<&str> =
        topics.iter().filter(|topic| topic.cleanup == "compact").map(|topic| topic.kind.as_str()).collect();
    assert_eq!(compacted, ["product.changed"]);
    let released = topics.iter().find(|topic| topic.kind == "stock.released").unwrap();
    assert!(released.readers.is_empty() && released.partitions == 12);
}

/// Seconds until a workload without needs, whose pods start within eight, meets so many times its load.
fn seconds_to(behaviour: &Behaviour, times: u32) -> Option<u32> {
    let (name, behaviour) = ("shop-serve".to_owned(), behaviour.clone());
    let workload = Workload { name, behaviour, size: Size::default(), priority: 0, start_s: 8 };
    alone(&workload, Size::default(), times).ready_after_s
}

#[test]
fn growing_on_requests_beats_growing_slowly() {
    let fast = Behaviour {
        least: 3,
        most: 30,
        measure: Measure::Requests { half_busy: 100, window: 15 },
        poll: 5,
        stabilisation: 0,
        policies: vec![(true, 400, 15), (false, 8, 15)],
    };
    let doubling = Behaviour { policies: vec![(true, 100, 60)], ..fast.clone() };
    let hesitant = Behaviour { stabilisation: 60, ..fast.clone() };
    let five = seconds_to(&fast, 5).unwrap();
    assert!(five <= 60, "{five}");
    assert!(seconds_to(&doubling, 5).is_none_or(|seconds| seconds > 120));
    assert_eq!(
        seconds_to(&hesitant, 5),
        Some(five + 45),
        "a minute of waiting, less the fifteen seconds in which the window fills anyway"
    );
    assert_eq!(seconds_to(&Behaviour { most: 14, ..fast.clone() }, 5), None, "fifteen were needed");
    assert!(seconds_to(&fast, 10).is_some_and(|seconds| seconds <= 75), "{:?}", seconds_to(&fast, 10));
}
