//! Recommendations per processor second: our answers against those of gorse, for the same visitors, made from the same products and
//! clicks. Decided here: how gorse is built, taught and asked, and whose processor time counts.
//!
//! gorse makes a list for each visitor beforehand and reads it when it is asked. It runs as it does on one machine (`gorse-in-one`), in its
//! managed mode: it fits and makes lists when it is told to and at no other time, so none of that is in a turn.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::abba::{self, Better, Turn};
use super::ingest::accepted;
use super::program::{self, Program, TESTED};
use super::recs::{self, ANSWERS_PORT, Fleet, VISITORS, visitor};
use super::results::{Pair, Side};
use super::rig::{self, Fsync, Rig};
use super::stream::{redis, words};
use super::{Invalid, Measured, Options, Skipped, cpu, peers};
use crate::layout::Layout;
use crate::stack::postgres;
use crate::{net, os};

/// Connections of visitors.
const CONNECTIONS: &str = "64";

/// The version that `tools/peers/gorse/go.mod` names; another one is another folder in the cache.
const VERSION: &str = "0.4.15";
/// Modules and build cache are many times as large as the program.
const MEGABYTES: u64 = 2_500;
const PACKAGE: &str = "github.com/zhenghaoz/gorse/cmd/gorse-in-one";
/// Ports above the bench's offset: its HTTP, and what its parts speak.
const PORT: u16 = 8_141;
const PARTS_PORT: u16 = 8_142;
/// A number of gorse's in Redis, beside ours.
const REDIS_DATABASE: &str = "1";
/// Products in each answer; ours has as many without being asked.
const LIST: usize = 20;
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the models, or all lists, may take on one processor.
const TAUGHT_WITHIN: Duration = Duration::from_secs(600);
/// Products or clicks in one request.
const AT_ONCE: usize = 250;
/// How long our answers may take to say how many they were.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);
const UNIT: &str = "recommendations per processor second";

/// What gorse calls its work; each is done once.
const FITS: &[&str] = &[
    "Load dataset",
    "Fit collaborative filtering model",
    "Fit click-through rate prediction model",
    "Find neighbors of items",
    "Find neighbors of users",
];
const LISTS: &[&str] = &["Generate offline recommendation"];

pub const SETTINGS: &[&str] = &[
    "lists of 20 products for 500 visitors in turn, over 64 kept-alive connections in closed loop; both know 1,000 products with category, brand, family and attributes, and 20 events of each visitor, of which gorse takes those with a product; nobody clicks meanwhile",
    "ours: GET /v1/recommendations of the personalization service's router behind chassis' server, its store, its index of visits and its popular lists, one worker thread; visitors without a login; a visitor who has not clicked since gets the list of their session, as in the service",
    "against: gorse v0.4.15 (Apache 2.0), GET /api/recommend/{user-id}?n=20 of gorse-in-one, a Go program on one processor, as its Dockerfile builds it, with its own settings (tools/peers/gorse/config.toml says where they differ): 100 products kept for each visitor, an answer is their names alone; its models were fitted and all lists made before, nothing is fitted meanwhile; its log goes to nobody",
    "gorse's stores: Redis as its cache, which its own settings have and the fastest of those it knows; PostgreSQL for its data, which is not asked while lists are full, and counts for nobody",
    "values are recommendations per processor second of the server that answers and the Redis that both use; of ours those that are not degraded",
    "checked before and after: every visitor gets 200 and 20 products from both, ours from a profile and not degraded, gorse's without a fallback; more than half of the lists of each differ",
    "processor 0: the server that answers; the others: generator, Redis, PostgreSQL, broker, intake and worker, of which the last four have nothing to do",
];

pub fn pairs(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    // Before the clicks have their time.
    let home = built(&Rig::bare(options, 0)?.stack.layout)
        .map_err(|error| Skipped(format!("gorse cannot be had: {error:#}")))?;
    let fleet = Fleet::open(options, &rig::others())?;
    let gorse = Gorse::start(&fleet, &home.join("gorse"))?;
    let began = Instant::now();
    gorse.learn(&fleet)?;
    let taught = began.elapsed();
    fleet.acquaint()?;

    let all = [&fleet.answers, &gorse.program, &fleet.intake, &fleet.worker];
    // An answer that had to do without the store is less work.
    let degraded = || {
        let so_far = fleet.answers.ask("so far", COUNTED_WITHIN)?;
        so_far.get(1).copied().context("answers in full and degraded")
    };
    let ours = Answerer {
        program: &fleet.answers,
        port: fleet.port(ANSWERS_PORT),
        paths: fleet.folder.join("paths"),
        path: recs::path,
        list: listed_by_us,
        degraded: &degraded,
    };
    let theirs = Answerer {
        program: &gorse.program,
        port: gorse.port,
        paths: fleet.folder.join("gorse-paths"),
        path,
        list: listed_by_gorse,
        degraded: &|| Ok(0),
    };
    let paths: Vec<String> = (0..VISITORS).map(path).collect();
    fs::write(&theirs.paths, paths.join("\n"))?;
    let different = [ours.different()?, theirs.different()?];
    let turn = |side: &Answerer, seconds| side.turn(&fleet, &all, seconds);
    turn(&ours, options.warm_up_s)?;
    turn(&theirs, options.warm_up_s)?;
    let before = degraded()?;
    let pairs = abba::pairs(count, (UNIT, Better::More), &mut || turn(&ours, options.side_s), &mut || {
        turn(&theirs, options.side_s)
    })?;
    let degraded = degraded()? - before;
    ours.different()?;
    theirs.different()?;
    let facts = vec![
        format!("gorse took {:.0} s to take the clicks, fit its models and make its lists", taught.as_secs_f64()),
        format!(
            "of {VISITORS} lists of {LIST}, {} of ours and {} of gorse's are different",
            different[0], different[1]
        ),
        format!("{degraded} of our answers in the turns were degraded and are not counted"),
        without_redis(&pairs),
    ];
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

/// gorse as its recipe builds it, in the cache of downloads.
pub fn built(layout: &Layout) -> Result<PathBuf> {
    peers::go_program(layout, "gorse", (VERSION, MEGABYTES), ("tools.go", PACKAGE))
}

/// A side: who answers, and what it is asked.
struct Answerer<'a> {
    program: &'a Program,
    port: u16,
    /// The file with the paths of all visitors.
    paths: PathBuf,
    path: fn(u64) -> String,
    /// The products of a sound answer.
    list: fn(&str) -> Option<Vec<String>>,
    /// How many answers were not sound so far.
    degraded: &'a dyn Fn() -> Result<u64>,
}

impl Answerer<'_> {
    fn turn(&self, fleet: &Fleet, all: &[&Program], seconds: u64) -> Result<Turn> {
        let mut load = fleet.rig.load();
        load.args(["pages", "--address", &format!("127.0.0.1:{}", self.port), "--varying", "--paths"]);
        load.arg(&self.paths).args(["--connections", CONNECTIONS, "--seconds", &seconds.to_string()]);
        let degraded = (self.degraded)()?;
        let parties = || program::parties(fleet.rig.parties("load"), all);
        let (said, used) = cpu::watched(&parties, &[self.program.name, "redis"], || os::output(&mut load))?;
        let degraded = (self.degraded)()? - degraded;
        let answered = accepted(&serde_json::from_str(&said)?, 200)?;
        let value = answered.saturating_sub(degraded) as f64 / used.tested.max(0.01);
        Ok(Turn { side: Side { per_second: value, per_cpu_second: value, cpu: used.by }, foreign: used.foreign })
    }

    /// How many lists differ, when every visitor gets a whole one. A fast list that everybody gets would be no recommendation.
    fn different(&self) -> Result<usize> {
        let mut lists = BTreeSet::new();
        for visitor in 0..VISITORS {
            os::check_interrupted()?;
            let answer = net::http_get(self.port, &(self.path)(visitor))?;
            match (answer.status, (self.list)(&answer.body)) {
                (200, Some(list)) if list.len() == LIST => lists.insert(list),
                _ => bail!(Invalid(format!(
                    "{} answers visitor {visitor} with {} and no list of {LIST}: {}",
                    self.program.name, answer.status, answer.body
                ))),
            };
        }
        if lists.len() as u64 <= VISITORS / 2 {
            bail!(Invalid(format!("{} has {} lists for {VISITORS} visitors", self.program.name, lists.len())));
        }
        Ok(lists.len())
    }
}

/// gorse, running.
struct Gorse {
    program: Program,
    port: u16,
}

impl Gorse {
    fn start(fleet: &Fleet, program: &Path) -> Result<Self> {
        let stack = &fleet.rig.stack;
        postgres::initialise(stack)?;
        fleet.rig.start(stack.server("postgres")?, None)?;
        postgres::provision(stack)?;
        // The models of a run before.
        let _ = fs::remove_file(fleet.folder.join("gorse-models"));
        let (port, parts) = (fleet.port(PORT), fleet.port(PARTS_PORT));
        // It takes its stores from the environment and says nothing when it is ready. Its log, two lines for each answer, would cost it more
        // in a file.
        let script = format!(
            "echo ready; exec env GOMAXPROCS=1 'GORSE_DATA_STORE={data}?sslmode=disable' GORSE_CACHE_STORE={cache}/{REDIS_DATABASE} \
             GORSE_MASTER_HOST=127.0.0.1 GORSE_MASTER_PORT={parts} GORSE_MASTER_HTTP_HOST=127.0.0.1 GORSE_MASTER_HTTP_PORT={port} \
             '{program}' --managed --config '{config}' --cache-path gorse-models >/dev/null",
            data = stack.ports.postgres_url("ferretdb", "ferretdb_owner"),
            cache = redis(&fleet.rig),
            program = program.display(),
            config = peers::recipe("gorse").join("config.toml").display(),
        );
        let program = Program::start("gorse", TESTED, &["sh", "-c", &script].map(str::to_owned), &fleet.folder)?;
        let began = Instant::now();
        while let Err(error) = net::http_ok(port, "/api/health/ready") {
            os::check_interrupted()?;
            if began.elapsed() > READY_WITHIN {
                bail!("gorse is not ready: {error:#}; to see why, let its log go to a file in `Gorse::start`");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self { program, port })
    }

    /// It is told products and clicks, fits its models, and makes the lists of all visitors.
    fn learn(&self, fleet: &Fleet) -> Result<()> {
        let folder = fleet.folder.display().to_string();
        // It has ended when it is ready.
        Program::start("features", &rig::others(), &words(&fleet.rig, &["features", &folder]), &fleet.folder)?;
        let clicks = clicks(&fs::read_to_string(fleet.folder.join("bodies"))?)?;
        let products = products(&fs::read_to_string(fleet.folder.join("features"))?, &clicks[0]["Timestamp"]);
        for (path, what) in [("/api/items", products), ("/api/feedback", clicks)] {
            for some in what.chunks(AT_ONCE) {
                os::check_interrupted()?;
                self.tell(path, &json!(some).to_string())?;
            }
        }
        self.tell("/api/admin/schedule/master", "")?;
        self.wait(FITS)?;
        self.tell("/api/admin/schedule/worker", "")?;
        self.wait(LISTS)
    }

    fn tell(&self, path: &str, body: &str) -> Result<()> {
        let answer = net::http_post_json(self.port, path, body)?;
        if answer.status != 200 {
            bail!(Invalid(format!("gorse answers {path} with {} {}", answer.status, answer.body)));
        }
        Ok(())
    }

    fn wait(&self, tasks: &[&str]) -> Result<()> {
        let began = Instant::now();
        loop {
            os::check_interrupted()?;
            let answer = net::http_get(self.port, "/api/dashboard/tasks")?;
            if complete(&answer.body, tasks)? {
                return Ok(());
            }
            if began.elapsed() > TAUGHT_WITHIN {
                bail!(Invalid(format!("gorse is not done after {} s: {}", TAUGHT_WITHIN.as_secs(), answer.body)));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Are all of these done?
fn complete(said: &str, tasks: &[&str]) -> Result<bool> {
    let all: Vec<Value> = serde_json::from_str(said).with_context(|| format!("gorse's tasks are {said}"))?;
    let is = |name: &str, status: &str| all.iter().any(|task| task["Name"] == name && task["Status"] == status);
    if let Some(failed) = tasks.iter().find(|name| is(name, "Failed")) {
        bail!(Invalid(format!("gorse could not do `{failed}`: {said}")));
    }
    Ok(tasks.iter().all(|name| is(name, "Complete")))
}

/// What our learner knows of a product is gorse's labels of it.
fn products(features: &str, since: &Value) -> Vec<Value> {
    let product = |line: &str| {
        let (sku, labels) = line.split_once('\t')?;
        let labels: Vec<&str> = labels.split('\t').collect();
        Some(json!({"ItemId": sku, "Categories": [], "Labels": labels, "Timestamp": since}))
    };
    features.lines().filter_map(product).collect()
}

/// The events of the bodies that name a product, as gorse takes them.
fn clicks(bodies: &str) -> Result<Vec<Value>> {
    let mut clicks = Vec::new();
    for line in bodies.lines() {
        let body: Value = serde_json::from_str(line)?;
        for event in body["events"].as_array().context("the events of a body")? {
            if event["sku"].is_string() {
                clicks.push(json!({
                    "FeedbackType": event["type"],
                    "UserId": body["visitor_id"],
                    "ItemId": event["sku"],
                    "Timestamp": event["at"],
                }));
            }
        }
    }
    if clicks.is_empty() {
        bail!("nobody clicks on anything");
    }
    Ok(clicks)
}

fn path(number: u64) -> String {
    format!("/api/recommend/{}?n={LIST}", visitor(number))
}

fn listed_by_us(body: &str) -> Option<Vec<String>> {
    if !recs::personal(body) {
        return None;
    }
    let answer: Value = serde_json::from_str(body).ok()?;
    answer["items"].as_array()?.iter().map(|item| Some(item["sku"].as_str()?.to_owned())).collect()
}

fn listed_by_gorse(body: &str) -> Option<Vec<String>> {
    serde_json::from_str(body).ok()
}

/// What the ratio would be if Redis counted on neither side.
fn without_redis(pairs: &[Pair]) -> String {
    let ratios = pairs.iter().map(|pair| {
        let alone = |side: &Side, server: &str| {
            let of = |name: &str| side.cpu.iter().find(|(party, _)| party == name).map_or(0.0, |(_, seconds)| *seconds);
            side.per_second * (of(server) + of("redis")) / of(server).max(0.01)
        };
        alone(&pair.ours, "answers") / alone(&pair.theirs, "gorse")
    });
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    let middle = ratios.get(ratios.len() / 2).copied().unwrap_or(0.0);
    format!("with Redis counted on neither side the median ratio is {middle:.2}")
}

#[cfg(test)]
mod tests {
    use super::super::intake;
    use super::*;

    #[test]
    fn the_recipe_builds_the_version_that_is_named_here() {
        let recipe = include_str!("../../../../tools/peers/gorse/go.mod");
        assert!(recipe.contains(&format!("\nrequire github.com/zhenghaoz/gorse v{VERSION}\n")), "{recipe}");
    }

    #[test]
    fn gorse_is_told_every_event_with_a_product_and_what_it_takes_as_liked() {
        let bodies = intake::bodies().unwrap();
        let clicks = clicks(&bodies).unwrap();
        assert_eq!(clicks.len(), bodies.matches(r#""sku":"#).count());
        let visitors: BTreeSet<&str> = clicks.iter().filter_map(|click| click["UserId"].as_str()).collect();
        let asked: BTreeSet<String> = (0..VISITORS).map(visitor).collect();
        assert!(visitors.into_iter().eq(asked.iter().map(String::as_str)), "who clicks is who asks");
        let settings = include_str!("../../../../tools/peers/gorse/config.toml");
        let kinds: BTreeSet<&str> = clicks.iter().filter_map(|click| click["FeedbackType"].as_str()).collect();
        assert!(kinds.iter().all(|kind| settings.contains(&format!("\"{kind}\""))), "{kinds:?}");
        assert!(super::clicks("").is_err());
    }

    #[test]
    fn a_product_has_all_that_is_known_of_it_as_labels() {
        let products = products("FA-00001\tcategory/0\tbrand 1\tfamily 1\tcolour=1\n\n", &json!("2026-01-01"));
        let labels = ["category/0", "brand 1", "family 1", "colour=1"];
        assert_eq!(
            products,
            [json!({"ItemId": "FA-00001", "Categories": [], "Labels": labels, "Timestamp": "2026-01-01"})]
        );
    }

    #[test]
    fn gorse_is_done_when_all_its_tasks_are_and_none_has_failed() {
        let said = |first: &str, second: &str| {
            json!([{"Name": "a", "Status": first}, {"Name": "b", "Status": second}, {"Name": "c", "Status": "Pending"}])
                .to_string()
        };
        assert!(complete(&said("Complete", "Complete"), &["a", "b"]).unwrap());
        for unfinished in ["Pending", "Running", "Suspended"] {
            assert!(!complete(&said("Complete", unfinished), &["a", "b"]).unwrap(), "{unfinished}");
        }
        assert!(!complete(&said("Complete", "Complete"), &["a", "nobody"]).unwrap());
        assert!(complete(&said("Complete", "Failed"), &["a", "b"]).unwrap_err().is::<Invalid>());
        assert!(complete("null", &["a"]).is_err());
    }

    #[test]
    fn a_list_that_is_degraded_or_no_list_is_none() {
        let sound = r#"{"items":[{"sku":"A"},{"sku":"B"}],"profile_age_ms":3,"degraded":false,"level":"full"}"#;
        assert_eq!(listed_by_us(sound).unwrap(), ["A", "B"]);
        assert_eq!(listed_by_us(&sound.replace("false", "true")), None);
        assert_eq!(listed_by_gorse("[\n \"A\",\n \"B\"\n]").unwrap(), ["A", "B"]);
        for wrong in ["null", "{}", r#"[{"ItemId":"A"}]"#, "Internal Server Error"] {
            assert_eq!(listed_by_gorse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn leaving_redis_out_changes_the_side_that_asks_it_more() {
        let side = |cpu: &[(&str, f64)], per_second| Side {
            per_second,
            per_cpu_second: per_second,
            cpu: cpu.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect(),
        };
        let ours = side(&[("answers", 2.0), ("redis", 2.0), ("load", 9.0)], 20_000.0);
        let theirs = side(&[("gorse", 4.0), ("redis", 0.0)], 2_000.0);
        let pair = Pair { ours, theirs, ratio: 10.0, foreign: 0.0 };
        assert_eq!(without_redis(&[pair]), "with Redis counted on neither side the median ratio is 20.00");
    }
}
