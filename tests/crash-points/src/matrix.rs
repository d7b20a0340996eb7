//! The run over all boundaries: first every behaviour undisturbed, which shows what passes where; then for each point one run
//! in the first behaviour that passes it, with the program killed there. The whole matrix (every behaviour that passes a point,
//! its second passage, a pause instead of a kill, the points inside a step) is for the night: `CRASH_POINTS=full`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use messaging::crash::Boundary;

use crate::behaviours::{Behaviour, Stage};
use crate::books;
use crate::fate::{End, Fate, Folder};
use crate::invariants;
use crate::report::{Report, Row};
use crate::sandbox::{Role, Sandbox};
use crate::shop;

/// Units on the shared shelf: more than any run sells.
const UNITS: u32 = 100_000;

/// How long a point that a timer leads to is waited for: five of the longest pauses between two turns, in glances.
const GLANCE: Duration = Duration::from_millis(50);
const TIMER_GLANCES: u32 = 200;

/// After so many the shop itself is broken, and each further kill would only wait a minute for what cannot come.
const MOST_RED_IN_A_ROW: u32 = 4;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Each boundary before and after, once in each program that passes it.
    Boundaries,
    Full,
}

/// Who is to die: one of the running programs, or the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Victim {
    Program(Role),
    Redriver,
}

impl Victim {
    fn all() -> impl Iterator<Item = Self> {
        Role::ALL.into_iter().map(Self::Program).chain([Self::Redriver])
    }

    fn name(self) -> &'static str {
        match self {
            Self::Program(role) => role.name(),
            Self::Redriver => "order-payment-redrive",
        }
    }

    fn folder(self, sandbox: &Sandbox) -> Folder {
        match self {
            Self::Program(role) => sandbox.of(role).program.folder.clone(),
            Self::Redriver => sandbox.redriver(),
        }
    }
}

type Passed = BTreeMap<(Victim, String), BTreeMap<Behaviour, u32>>;

struct Planned {
    victim: Victim,
    behaviour: Behaviour,
    fate: Fate,
}

/// Runs it on a sandbox of its own with the mortal program `binary`. A name in `only` keeps the boundaries that contain it.
///
/// # Panics
/// When the sandbox cannot be opened.
pub async fn run(binary: &Path, extent: Extent, only: Option<&str>) -> Report {
    let began = Instant::now();
    let sandbox = Arc::new(Sandbox::open(binary).await);
    let (shopper, staff) = (sandbox.issuer.person("shopper").await, sandbox.issuer.person("staff").await);
    let sku = shop::stock(&sandbox, &staff, UNITS).await;
    let stage = Arc::new(Stage { sandbox: Arc::clone(&sandbox), shopper, staff, sku });
    // What the product half does in its own time after the first product shall not count as another behaviour's.
    Behaviour::Published.play(&stage).await;
    let mut report = Report::default();
    let passed = undisturbed(&stage, &mut report).await;
    report.faults.extend(missed(&passed));
    let mut red_in_a_row = 0;
    for planned in plan(&passed, extent) {
        if only.is_none_or(|only| planned.fate.point.contains(only)) {
            let row = kill(&stage, &planned).await;
            let verdict = if row.green() { "green" } else { "RED" };
            println!(
                "{verdict} {:>6.1} s  {} in {} while {}: {:?}",
                began.elapsed().as_secs_f64(),
                row.point,
                row.program,
                row.behaviour,
                row.left
            );
            red_in_a_row = if row.green() { 0 } else { red_in_a_row + 1 };
            report.rows.push(row);
            if red_in_a_row == MOST_RED_IN_A_ROW {
                report.faults.push(format!("{red_in_a_row} kills in a row were red: the rest was not tried"));
                break;
            }
        }
    }
    match invariants::topics(&stage).await {
        Ok(published) => (report.events, report.events_again) = (published.events, published.again),
        Err(wrong) => report.faults.push(wrong),
    }
    report.faults.extend(invariants::versions(&sandbox).await.err());
    for role in Role::ALL {
        report.faults.extend(sandbox.of(role).life().surprises);
    }
    report.seconds = began.elapsed().as_secs_f64();
    let green = report.green();
    drop(stage);
    match Arc::try_unwrap(sandbox) {
        Ok(sandbox) => sandbox.close(green).await,
        Err(_) => report.faults.push("somebody still holds the sandbox".to_owned()),
    }
    if !green {
        println!("the sandbox of a red run stays for whoever wants to look");
    }
    report
}

/// Plays each behaviour without a kill and sees what passes.
async fn undisturbed(stage: &Arc<Stage>, report: &mut Report) -> Passed {
    let mut passed = Passed::new();
    // Until now the programs only started.
    for victim in Victim::all() {
        victim.folder(&stage.sandbox).take_passed();
    }
    for behaviour in Behaviour::ALL {
        if let Err(wrong) = played(stage, behaviour).await {
            report.faults.push(format!("undisturbed, {}: {wrong}", behaviour.name()));
        }
        for victim in Victim::all() {
            let counts: HashMap<String, u32> = victim.folder(&stage.sandbox).take_passed();
            for (point, count) in counts {
                passed.entry((victim, point)).or_default().insert(behaviour, count);
            }
        }
    }
    passed
}

/// One behaviour to its end, and what must hold then. Gives the statuses of its orders.
async fn played(stage: &Arc<Stage>, behaviour: Behaviour) -> Result<String, String> {
    // What does not come about ends this run and not the others.
    let playing = AssertUnwindSafe(behaviour.play(stage)).catch_unwind().await;
    let orders = playing.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("it panicked").to_owned()
    });
    stage.sandbox.go_on().await;
    let orders = orders?;
    invariants::quiet(&stage.sandbox).await?;
    let mut ends = Vec::new();
    for placed in orders {
        ends.push(invariants::order(&stage.sandbox, &placed).await?);
    }
    invariants::stock(&stage.sandbox).await?;
    books::altogether(&stage.sandbox).await?;
    Ok(if ends.is_empty() { "applied once".to_owned() } else { ends.join(", ") })
}

/// Boundaries that no behaviour passes, and commits that the table does not know.
fn missed(passed: &Passed) -> Vec<String> {
    let points: BTreeSet<&str> = passed.keys().map(|(_, point)| point.as_str()).collect();
    let mut faults: Vec<String> = Boundary::ALL
        .iter()
        .flat_map(|boundary| [boundary.before(), boundary.after()])
        .filter(|point| !points.contains(point))
        .map(|point| {
            format!("no behaviour passes {point}: a new boundary needs one in tests/crash-points/src/behaviours")
        })
        .collect();
    for ((victim, _), behaviours) in passed.iter().filter(|((_, point), _)| point == "commit.before") {
        let while_doing: Vec<String> = behaviours.keys().map(|behaviour| format!("{behaviour:?}")).collect();
        faults.push(format!(
            "a commit of {victim:?} has no row in crates/messaging/src/boundary.rs; it is made while {}",
            while_doing.join(", ")
        ));
    }
    faults
}

fn plan(passed: &Passed, extent: Extent) -> Vec<Planned> {
    let mut planned = Vec::new();
    for ((victim, point), behaviours) in passed {
        let boundary = boundary_of(point);
        let is_boundary = boundary.is_some();
        let mut add = |behaviour: Behaviour, passage: u32, end: End| {
            planned.push(Planned { victim: *victim, behaviour, fate: Fate { point: point.clone(), passage, end } });
        };
        // What others pass by chance they may not pass the next time.
        let sure = boundary.and_then(Behaviour::sure_of).filter(|sure| behaviours.contains_key(sure));
        let Some(first) = sure.as_ref().or(behaviours.keys().next()) else { continue };
        if extent == Extent::Boundaries {
            if is_boundary {
                add(*first, 1, End::Kill);
            }
            continue;
        }
        for (behaviour, count) in behaviours.iter().filter(|(known, _)| sure.is_none_or(|sure| sure == **known)) {
            add(*behaviour, 1, End::Kill);
            if *count > 1 {
                add(*behaviour, 2, End::Kill);
            }
        }
        add(*first, 1, End::Pause);
    }
    planned.sort_by_key(|planned| (boundary_of(&planned.fate.point), planned.fate.point.clone()));
    planned
}

fn boundary_of(point: &str) -> Option<Boundary> {
    Boundary::ALL.iter().copied().find(|boundary| boundary.before() == point || boundary.after() == point)
}

async fn kill(stage: &Arc<Stage>, planned: &Planned) -> Row {
    let folder = planned.victim.folder(&stage.sandbox);
    let met_before = met(stage, planned.victim);
    folder.decree(&planned.fate);
    let mut left = played(stage, planned.behaviour).await;
    let mut met_now = met(stage, planned.victim);
    if planned.victim == Victim::Redriver {
        met_now.extend(folder.take_met());
    } else if met_now.len() == met_before.len() {
        // A duty that comes by its timer may not have come yet.
        for _ in 0..TIMER_GLANCES {
            tokio::time::sleep(GLANCE).await;
            met_now = met(stage, planned.victim);
            if met_now.len() > met_before.len() {
                left = match invariants::quiet(&stage.sandbox).await {
                    Ok(()) => left,
                    Err(wrong) => Err(wrong),
                };
                break;
            }
        }
    }
    folder.forget();
    Row {
        boundary: boundary_of(&planned.fate.point),
        point: planned.fate.point.clone(),
        program: planned.victim.name(),
        behaviour: planned.behaviour.name(),
        passage: planned.fate.passage,
        end: planned.fate.end,
        met: met_now.iter().skip(met_before.len()).any(|point| *point == planned.fate.point),
        left,
    }
}

fn met(stage: &Stage, victim: Victim) -> Vec<String> {
    match victim {
        Victim::Program(role) => stage.sandbox.of(role).life().met,
        Victim::Redriver => Vec::new(),
    }
}
