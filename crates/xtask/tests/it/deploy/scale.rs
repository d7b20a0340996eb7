//! The tables of `cargo xtask scale`: the committed objects hold what is promised, and a mistake in them shows in the row of its workload.

use serde_json::{Value, json};
use xtask::deploy::objects::Rendered;
use xtask::deploy::scale::start_times::StartTimes;
use xtask::deploy::scale::{Site, sites};
use xtask::deploy::simulation::Course;
use xtask::layout::checkout;
use xtask::render::topology;

use super::SITES;

fn reckoned(rendered: &[Rendered], times: &StartTimes) -> Vec<Site> {
    sites(rendered, &topology::read(&checkout()).unwrap(), times).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The tables of rdc-a after something was done to an object of it.
fn with(kind: &str, name: &str, change: impl Fn(&mut Value)) -> Site {
    let mut rendered: Vec<Rendered> = SITES.clone();
    let site = rendered.iter_mut().find(|rendered| rendered.site == "rdc-a").unwrap();
    let object = site.objects.iter_mut().find(|object| object.kind() == kind && object.name() == name);
    change(&mut object.unwrap_or_else(|| panic!("{kind} {name} is not there")).value);
    let times = StartTimes::read(&checkout()).unwrap();
    reckoned(&rendered, &times).into_iter().find(|site| site.name == "rdc-a").unwrap()
}

fn course<'s>(site: &'s Site, times: u32, alone: bool, name: &str) -> &'s Course {
    let step = site.steps.iter().find(|step| step.times == times && step.alone == alone).unwrap();
    step.courses.iter().find(|course| course.name == name).unwrap()
}

#[test]
fn every_site_holds_five_and_ten_times_the_load_with_what_is_committed() {
    let sites = reckoned(&SITES, &StartTimes::read(&checkout()).unwrap());
    assert_eq!(sites.len(), 6);
    for site in &sites {
        assert!(site.broken.is_empty(), "{}: {:?}", site.name, site.broken);
        let times: Vec<(u32, bool)> = site.steps.iter().map(|step| (step.times, step.alone)).collect();
        assert_eq!(times, [(5, true), (5, false), (10, true), (10, false)]);
        // A standby serves and does not consume.
        let workloads = if site.standby { 4 } else { 7 };
        assert!(site.steps.iter().all(|step| step.courses.len() == workloads), "{}", site.name);
    }
}

#[test]
fn more_load_waits_longer_and_so_does_load_that_comes_everywhere_at_once() {
    let site = with("Deployment", "balloon", |_| {});
    for name in ["order-payment-serve", "catalog-serve"] {
        let (five, ten) = (course(&site, 5, true, name), course(&site, 10, true, name));
        assert_eq!((five.needed, ten.needed), (15, 30), "{name}");
        assert!(five.ready_after_s < ten.ready_after_s, "{five:?} {ten:?}");
        assert!(five.queue_most < ten.queue_most && five.drained_after_s < ten.drained_after_s, "{five:?} {ten:?}");
        assert!(five.drained_after_s > five.ready_after_s, "what has waited is still to be done: {five:?}");
        assert_eq!(five.without_room, 0, "{five:?}");
        let crowded = course(&site, 5, false, name);
        assert!(crowded.without_room > 0 && crowded.queue_most > five.queue_most, "{crowded:?}");
    }
    // Orders find room before clicks do.
    let (orders, clicks) =
        (course(&site, 5, false, "order-payment-work"), course(&site, 5, false, "personalization-work"));
    assert!(orders.ready_after_s < clicks.ready_after_s, "{orders:?} {clicks:?}");
}

#[test]
fn a_mistake_in_an_object_is_a_promise_that_is_broken() {
    let behaviour = |value: &mut Value, key: &str, to: Value| {
        value["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"][key] = to;
    };
    let cases = [
        (
            "no room is kept",
            with("Deployment", "balloon", |value| value["spec"]["replicas"] = json!(0)),
            "user-serve alone meets",
        ),
        (
            "room for processors only",
            with("Deployment", "balloon", |value| {
                let container = &mut value["spec"]["template"]["spec"]["containers"][0];
                container["resources"]["requests"]["memory"] = json!("128Mi");
            }),
            "catalog-serve alone meets",
        ),
        (
            "a controller that waits",
            with("ScaledObject", "catalog-serve", |value| behaviour(value, "stabilizationWindowSeconds", json!(60))),
            "catalog-serve alone meets",
        ),
        (
            "one pod in a minute",
            with("ScaledObject", "order-payment-serve", |value| {
                behaviour(value, "policies", json!([{"type": "Pods", "value": 1, "periodSeconds": 60}]));
            }),
            "order-payment-serve alone meets",
        ),
        (
            "too few replicas",
            with("ScaledObject", "user-serve", |value| value["spec"]["maxReplicaCount"] = json!(14)),
            "user-serve alone never meets 5 times the load",
        ),
        (
            "consumers that cannot keep up",
            with("ScaledObject", "order-payment-work", |value| value["spec"]["maxReplicaCount"] = json!(4)),
            "order-payment-work alone never catches up with 5 times the load",
        ),
        (
            "a rate over five minutes",
            with("ScaledObject", "user-serve", |value| {
                value["spec"]["triggers"][0]["metadata"]["query"] = json!("sum(rate(a[300s]))");
            }),
            "user-serve alone meets",
        ),
        (
            "a pod that is asked seldom",
            with("Deployment", "user-serve", |value| {
                value["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(30);
            }),
            "user-serve alone meets",
        ),
    ];
    for (what, site, said) in cases {
        assert!(site.broken.iter().any(|broken| broken.starts_with(said)), "{what}: {:?}", site.broken);
    }
}

#[test]
fn a_program_that_starts_slowly_is_late_and_one_that_was_never_measured_is_named() {
    let mut times = StartTimes::read(&checkout()).unwrap();
    times.p95_ms.insert("catalog-serve".to_owned(), 45_000);
    let site = |sites: Vec<Site>| sites.into_iter().find(|site| site.name == "rdc-c").unwrap();
    let broken = site(reckoned(&SITES, &times)).broken;
    assert!(broken.iter().any(|broken| broken.starts_with("catalog-serve alone meets 5 times")), "{broken:?}");
    times.p95_ms.remove("catalog-serve");
    let error = sites(&SITES, &topology::read(&checkout()).unwrap(), &times).unwrap_err();
    assert!(format!("{error:#}").contains("does not say how long catalog-serve starts"), "{error:#}");
}
