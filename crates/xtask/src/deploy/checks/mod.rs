//! What the makers of the formats say of our files: each file that is deployed is shown to the program, or the schema, that will read it.
//! Decided here: which checkers there are, in which order, and that one which cannot be had is said to be skipped, with the reason. Those
//! built from Go modules take minutes, once: `./dev test --cluster` builds them, without it they are used where they are already.
//!
//! Each check takes what it judges as an argument, so that a test can hand it a mistake and see it refused by name.

pub mod gateway;
pub mod queries;
pub mod schemas;
pub mod score;
pub mod terraform;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::objects::{self, Rendered};
use super::{helm, rules};
use crate::layout::Layout;
use crate::render;
use crate::stack::Stack;

/// How a check went.
#[derive(Debug)]
pub enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// A check that was made: its name, how long it took, how it went.
pub type Made = (&'static str, Duration, Outcome);

/// May tools be built from Go modules for it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Building {
    Allowed,
    Forbidden,
}

/// All checks, in order.
pub fn checks(stack: &Stack, building: Building) -> Vec<Made> {
    let layout = &stack.layout;
    let root = &layout.checkout;
    let helm =
        helm::found(layout).map_or_else(|| built(building, "helm", || crate::provision::gomod::helm(layout)), Ok);
    let with_helm = |check: fn(&Path, &Path) -> Result<String>| match &helm {
        Ok(program) => judged(check(root, program)),
        Err(error) => Outcome::Skipped(first_line(error)),
    };
    let mut made = vec![
        timed("rendered files", || judged(render::check(root).map(|()| "as their sources say".to_owned()))),
        timed("helm template", || with_helm(equal)),
        timed("helm lint", || with_helm(lint)),
    ];
    let sites = match objects::read(root) {
        Ok(sites) => sites,
        Err(error) => {
            made.push(("objects", Duration::ZERO, Outcome::Failed(format!("{error:#}"))));
            return made;
        }
    };
    made.extend([
        timed("rules", || judged(kept(root, &sites))),
        timed("custom resources", || schemas::custom(layout, &sites)),
        timed("native objects", || schemas::native(layout, &sites)),
        timed("kube-score", || match score::program(layout, building) {
            Ok(program) => judged(work_in(layout, "score", |folder| score::score(&program, folder, &sites))),
            Err(error) => Outcome::Skipped(first_line(&error)),
        }),
        timed("load balancer", || schemas::balancer(layout, &root.join("deploy/edge/f5/as3"))),
        timed("haproxy", || judged(gateway::check(stack))),
        timed("prometheus", || match queries::program(layout) {
            Ok(program) => {
                judged(work_in(layout, "prometheus", |folder| queries::check(&program, folder, root, &sites)))
            }
            Err(error) => Outcome::Skipped(first_line(&error)),
        }),
        timed("terraform", || match terraform::program(layout, building) {
            Ok(program) => judged(terraform::check(&program, &root.join("deploy/edge"))),
            Err(error) => Outcome::Skipped(first_line(&error)),
        }),
    ]);
    made
}

/// Prints how checks went. Says whether none failed.
pub fn report(made: &[Made]) -> bool {
    for (name, took, outcome) in made {
        let (word, said) = match outcome {
            Outcome::Passed(said) => ("ok", said),
            Outcome::Failed(why) => ("FAILED", why),
            Outcome::Skipped(why) => ("skipped", why),
        };
        println!("{name:<18} {:>6.1} s  {word}: {said}", took.as_secs_f64());
    }
    !made.iter().any(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_)))
}

/// What `build` gives, or why it was not asked.
fn built(building: Building, tool: &str, build: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
    match building {
        Building::Allowed => build(),
        Building::Forbidden => Err(anyhow!("{tool} is built from its Go module, by ./dev test --cluster")),
    }
}

fn timed(name: &'static str, check: impl FnOnce() -> Outcome) -> Made {
    let began = Instant::now();
    let outcome = check();
    (name, began.elapsed(), outcome)
}

fn judged(result: Result<String>) -> Outcome {
    match result {
        Ok(said) => Outcome::Passed(said),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

/// A folder for what a checker reads, empty before and gone afterwards.
fn work_in<T>(layout: &Layout, name: &str, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = layout.state.join("run").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let result = work(&folder);
    let _ = fs::remove_dir_all(&folder);
    result
}

/// Lines of a checker that are shown: the first mistakes, not all that follow from them.
const LINES: usize = 40;

/// Runs a checker. Checkers say what is wrong on either output, so a failure has both.
fn ask(command: &mut Command) -> Result<String> {
    ask_for(command, |_| true)
}

/// The same for a checker that also says what is good: of a failure the lines are shown that tell of a mistake, all of them when none does.
fn ask_for(command: &mut Command, tells: impl Fn(&str) -> bool) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {program}"))?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if !output.status.success() {
        let all: Vec<_> = said.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty()).collect();
        let told: Vec<_> = all.iter().copied().filter(|line| tells(line)).collect();
        let lines = if told.is_empty() { all } else { told };
        bail!("{}", lines[..lines.len().min(LINES)].join("\n"));
    }
    Ok(said.into_iter().next().unwrap_or_default())
}

/// A program of a pinned version: the one in the cache, else one that is built now.
fn tool(
    layout: &Layout,
    building: Building,
    (name, version): (&str, &str),
    build: fn(&Layout) -> Result<PathBuf>,
) -> Result<PathBuf> {
    let cached = layout.cache.join(format!("{name}-{version}")).join(name);
    if cached.is_file() { Ok(cached) } else { built(building, name, || build(layout)) }
}

fn equal(root: &Path, program: &Path) -> Result<String> {
    let stale = helm::stale(root, program)?;
    if !stale.is_empty() {
        let names: Vec<_> = stale.iter().map(|output| output.path.display().to_string()).collect();
        bail!("stale, run `cargo xtask render`: {}", names.join(", "));
    }
    Ok(format!("{} sites equal the committed objects", helm::sites(root)?.len()))
}

fn lint(root: &Path, program: &Path) -> Result<String> {
    let mut count = 0;
    for (site, layers) in helm::sites(root)? {
        for layer in layers {
            helm::lint(root, program, &site, layer)?;
            count += 1;
        }
    }
    Ok(format!("{count} layers"))
}

fn kept(root: &Path, sites: &[Rendered]) -> Result<String> {
    let refused = rules::check(sites, root)?;
    if !refused.is_empty() {
        bail!("{}", refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    Ok(format!("{} objects", sites.iter().map(|rendered| rendered.objects.len()).sum::<usize>()))
}
