//! Planted bugs: each patch in `tests/planted-bugs` breaks one promise silently, and the one test it names must fail with the
//! complaint it names. Decided here: the form of a patch, what counts as caught, and that bugs live in a copy of the commit
//! with a target folder of its own, so that no program of this checkout is ever built from one. Not decided here: whether the
//! tests find bugs that nobody thought of.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::layout::{self, Layout};
use crate::os;
use crate::stack::TEST_OFFSET;

/// Longest build of one package and what it stands on: the first one on two cores that others use too.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Longest run of one test; the slowest promise waits 60 s for an order, a hang ends here and is no catch.
const TEST_LIMIT: Duration = Duration::from_secs(4 * 60);
/// How often a running command is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// One patch with what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bug {
    /// The file's name without its ending, such as `01-inbox-not-asked`.
    pub name: String,
    pub file: PathBuf,
    /// Package whose test finds it.
    pub package: String,
    /// The test as libtest prints it.
    pub caught_by: String,
    /// Number and words of the promise that is broken.
    pub promise: String,
    /// Part of the failing test's output: it fails for the right reason.
    pub complaint: String,
    /// What the bug does, in one sentence.
    pub story: String,
}

/// All planted bugs, by name.
///
/// # Errors
/// A folder that cannot be read, a header that lacks a line, or no bugs at all.
pub fn bugs(checkout: &Path) -> Result<Vec<Bug>> {
    let folder = checkout.join("tests/planted-bugs");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "patch"));
    files.sort();
    if files.is_empty() {
        bail!("there are no patches in {}", folder.display());
    }
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<Bug> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let header = |label: &str| {
        let line = text.lines().take_while(|line| line.starts_with('#')).find_map(|line| {
            let (found, value) = line.trim_start_matches('#').split_once(':')?;
            (found.trim() == label && !value.trim().is_empty()).then(|| value.trim().to_owned())
        });
        line.with_context(|| format!("{} has no header line `# {label}: …`", file.display()))
    };
    Ok(Bug {
        name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        file: file.to_owned(),
        package: header("package")?,
        caught_by: header("caught by")?,
        promise: header("promise")?,
        complaint: header("complaint")?,
        story: header("story")?,
    })
}

/// What came of one bug.
struct Finding<'a> {
    bug: &'a Bug,
    /// Why it counts as missed.
    missed: Option<String>,
    seconds: f64,
}

/// Plants every bug (or those whose name begins with `only`) in the committed tree and says whether all were caught. A run over
/// all of them writes `docs/planted-bugs.md`.
///
/// # Errors
/// When nothing can be tried: no git, no such bug, or a named test that is red without any bug.
pub fn run(only: Option<&str>) -> Result<bool> {
    let checkout = layout::checkout();
    let mut bugs = bugs(&checkout)?;
    bugs.retain(|bug| only.is_none_or(|wanted| bug.name.starts_with(wanted)));
    // What one bug has made cargo build is worth most to the next that touches the same crates.
    bugs.sort_by_cached_key(|bug| (bug.package.clone(), crates_of(bug), bug.name.clone()));
    if bugs.is_empty() {
        bail!("no planted bug begins with {}", only.unwrap_or_default());
    }
    let nursery = Nursery::open(&checkout)?;
    println!("commit {}, copied to {}", nursery.commit, nursery.source.display());
    nursery.green(&bugs)?;
    let mut findings = bugs.iter().map(|bug| nursery.try_bug(bug)).collect::<Result<Vec<_>>>()?;
    findings.sort_by(|left, right| left.bug.name.cmp(&right.bug.name));
    nursery.clean()?;
    let missed = findings.iter().filter(|finding| finding.missed.is_some()).count();
    let width = bugs.iter().map(|bug| bug.name.len()).max().unwrap_or(0);
    println!();
    for Finding { bug, missed, seconds } in &findings {
        let verdict = missed.as_ref().map_or_else(|| bug.caught_by.clone(), |why| format!("MISSED: {why}"));
        println!("{:<width$}  → {verdict}  {seconds:.1} s", bug.name);
    }
    if only.is_none() {
        fs::write(checkout.join("docs/planted-bugs.md"), report(&nursery.commit, &findings))?;
    }
    println!("{} caught, {missed} missed", findings.len() - missed);
    Ok(missed == 0)
}

/// The crates that a bug changes, by their folders.
fn crates_of(bug: &Bug) -> BTreeSet<String> {
    let text = fs::read_to_string(&bug.file).unwrap_or_default();
    let changed = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    changed.map(|file| file.split('/').take(2).collect::<Vec<_>>().join("/")).collect()
}

/// Where bugs are planted: a copy of the commit and a target folder beside the checkout's own.
struct Nursery {
    checkout: PathBuf,
    git_folder: PathBuf,
    commit: String,
    place: PathBuf,
    source: PathBuf,
    target: PathBuf,
}

impl Nursery {
    fn open(checkout: &Path) -> Result<Nursery> {
        let place = Layout::open(checkout, Path::new(".dev"))?.state.join("planted");
        let (source, main) = (place.join("src"), std::env::var_os("CARGO_TARGET_DIR"));
        let main = main.map_or_else(|| checkout.join("target"), PathBuf::from);
        fs::create_dir_all(&source)?;
        fs::create_dir_all(place.join("logs"))?;
        let git = |what: &[&str]| os::output(Command::new("git").args(what).current_dir(checkout));
        let nursery = Nursery {
            checkout: checkout.to_owned(),
            git_folder: PathBuf::from(git(&["rev-parse", "--absolute-git-dir"])?.trim()),
            commit: git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned(),
            source: source.canonicalize()?,
            // On the file system of the dependencies it links to.
            target: main.join("planted"),
            place,
        };
        nursery.clean()?;
        share_dependencies(checkout, &main.join("debug"), &nursery.target.join("debug"))?;
        Ok(nursery)
    }

    /// Makes the copy equal to the commit. Files that are equal keep their time, so cargo builds only what was touched.
    fn clean(&self) -> Result<()> {
        os::output(
            Command::new("git")
                .args(["read-tree", "--reset", "-u", &self.commit])
                .env("GIT_DIR", &self.git_folder)
                .env("GIT_WORK_TREE", &self.source)
                .env("GIT_INDEX_FILE", self.place.join("index"))
                .current_dir(&self.source),
        )?;
        // Below the checkout cargo finds the checkout's own configuration; the same flags twice would be other flags.
        if self.source.starts_with(self.checkout.canonicalize()?) {
            let _ = fs::remove_dir_all(self.source.join(".cargo"));
        }
        Ok(())
    }

    /// A test that cannot pass proves nothing by failing: each named test is first seen green.
    fn green(&self, bugs: &[Bug]) -> Result<()> {
        for package in bugs.iter().map(|bug| bug.package.as_str()).collect::<BTreeSet<_>>() {
            let tests: BTreeSet<&str> =
                bugs.iter().filter(|bug| bug.package == package).map(|bug| bug.caught_by.as_str()).collect();
            let began = Instant::now();
            let known = self.known_green();
            let seen = |test: &&str| known.contains(&format!("{} {package} {test}", self.commit));
            if tests.iter().all(seen) {
                println!("{package}: {} tests were green at this commit before", tests.len());
                continue;
            }
            let log = format!("green-{package}");
            let tests: Vec<&str> = tests.into_iter().collect();
            let built = self.cargo(package, &tests, &["--no-run"], &log, BUILD_LIMIT)?;
            if !built.passed {
                bail!("{package} does not build without any bug; see {}", built.log.display());
            }
            let filter: Vec<&str> = ["--", "--exact"].into_iter().chain(tests.iter().copied()).collect();
            let run = self.cargo(package, &tests, &filter, &log, TEST_LIMIT * u32::try_from(tests.len())?)?;
            if let Some(test) = tests.iter().find(|test| !run.passed || !run.says(test, "ok")) {
                bail!("{test} is not green without any bug; see {}", run.log.display());
            }
            self.remember_green(package, &tests)?;
            println!("{package}: {} tests green without a bug, {:.0} s", tests.len(), began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// `commit package test` of each test seen green. A commit is a tree, so what was green there still is.
    fn known_green(&self) -> BTreeSet<String> {
        let notes = fs::read_to_string(self.place.join("green")).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }

    fn remember_green(&self, package: &str, tests: &[&str]) -> Result<()> {
        let mut notes = self.known_green();
        // Notes of other commits are of no use any more.
        notes.retain(|line| line.starts_with(&self.commit));
        notes.extend(tests.iter().map(|test| format!("{} {package} {test}", self.commit)));
        let lines: Vec<String> = notes.into_iter().collect();
        fs::write(self.place.join("green"), lines.join("\n")).context("note what is green")
    }

    fn try_bug<'b>(&self, bug: &'b Bug) -> Result<Finding<'b>> {
        self.clean()?;
        let test = [bug.caught_by.as_str()];
        let mut seconds = 0.0;
        let missed = match self.plant(bug) {
            Err(error) => Some(format!("the patch does not apply: {error:#}")),
            Ok(()) => {
                let built = self.cargo(&bug.package, &test, &["--no-run"], &bug.name, BUILD_LIMIT)?;
                if built.passed {
                    let began = Instant::now();
                    let only = ["--", "--exact", &bug.caught_by];
                    let run = self.cargo(&bug.package, &test, &only, &bug.name, TEST_LIMIT)?;
                    seconds = began.elapsed().as_secs_f64();
                    run.missed(bug)
                } else {
                    Some(format!("it does not build; see {}", built.log.display()))
                }
            }
        };
        println!("{}: {}, {seconds:.1} s", bug.name, missed.as_deref().unwrap_or("caught"));
        Ok(Finding { bug, missed, seconds })
    }

    fn plant(&self, bug: &Bug) -> Result<()> {
        // Without a repository around it, `git apply` changes the folder it stands in.
        let ceiling = self.source.parent().unwrap_or(&self.source);
        os::output(
            Command::new("git")
                .arg("apply")
                .arg(&bug.file)
                .current_dir(&self.source)
                .env("GIT_CEILING_DIRECTORIES", ceiling),
        )
        .map(drop)
    }

    /// Builds the programs of `tests` in the copy and runs what `arguments` say, against the test stack.
    fn cargo(&self, package: &str, tests: &[&str], arguments: &[&str], log: &str, limit: Duration) -> Result<Run> {
        os::check_interrupted()?;
        let log = self.place.join("logs").join(format!("{log}.log"));
        let output = File::create(&log)?;
        let offset = std::env::var("SHOPSPHERE_PORT_OFFSET").unwrap_or_else(|_| TEST_OFFSET.to_string());
        let mut child = Command::new("cargo")
            .args(["test", "--package", package])
            .args(programs(tests))
            .args(arguments)
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &self.target)
            // Line tables of our crates are half of what the linker carries, and a panic names its line without them.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("SHOPSPHERE_PORT_OFFSET", offset)
            .env("SHOPSPHERE_STATE_DIR", Layout::from_env(&self.checkout)?.state)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context("run cargo")?;
        let began = Instant::now();
        let (passed, in_time) = loop {
            if let Some(status) = child.try_wait()? {
                break (status.success(), true);
            }
            if os::interrupted() || began.elapsed() > limit {
                os::signal(-i32::try_from(child.id())?, libc::SIGKILL);
                child.wait()?;
                os::check_interrupted()?;
                break (false, false);
            }
            std::thread::sleep(GLANCE);
        };
        let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        Ok(Run { passed, in_time, output, log })
    }
}

/// In which programs these tests are: those of a module beside its code in the library, all others in `it`.
fn programs(tests: &[&str]) -> Vec<&'static str> {
    let beside_code = |test: &&str| test.contains("::tests::");
    let mut programs = Vec::new();
    if tests.iter().any(beside_code) {
        programs.push("--lib");
    }
    if !tests.iter().all(beside_code) {
        programs.extend(["--test", "it"]);
    }
    programs
}

/// A finished cargo command.
struct Run {
    passed: bool,
    in_time: bool,
    output: String,
    log: PathBuf,
}

impl Run {
    fn says(&self, test: &str, result: &str) -> bool {
        verdict(&self.output, test) == Some(result)
    }

    fn missed(&self, bug: &Bug) -> Option<String> {
        if !self.in_time {
            return Some(format!("stopped after {} s", TEST_LIMIT.as_secs()));
        }
        judge(&self.output, bug).map(|why| format!("{why}; see {}", self.log.display()))
    }
}

/// What libtest prints of a test: `ok` or `FAILED`.
fn verdict<'o>(output: &'o str, test: &str) -> Option<&'o str> {
    output.lines().find_map(|line| line.strip_prefix("test ")?.strip_prefix(test)?.strip_prefix(" ... "))
}

/// Why the output of the named test does not show the bug; `None` when it does.
pub fn judge(output: &str, bug: &Bug) -> Option<String> {
    match verdict(output, &bug.caught_by) {
        Some("FAILED") if output.contains(&bug.complaint) => None,
        Some("FAILED") => Some(format!("the test failed, but without saying `{}`", bug.complaint)),
        Some(_) => Some("the test passed".to_owned()),
        None => Some("the test came to no end".to_owned()),
    }
}

/// Links what the checkout has compiled of other people's crates, which no bug changes. Our own are never shared: cargo knows
/// them by their place in the workspace and would take a bug's build for the checkout's. What is missing is compiled anew.
fn share_dependencies(checkout: &Path, from: &Path, to: &Path) -> Result<()> {
    let metadata = os::output(
        Command::new("cargo").args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(checkout),
    )?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("the answer of cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let ours: BTreeSet<String> = packages
        .flat_map(|package| package["targets"].as_array().into_iter().flatten().chain([package]))
        .filter_map(|named| Some(named["name"].as_str()?.replace('-', "_")))
        .collect();
    if ours.is_empty() {
        bail!("cargo metadata names no package");
    }
    let is_ours = |file: &str| {
        let crate_name = file.rsplit_once('-').map_or(file, |(name, _)| name).replace('-', "_");
        ours.contains(&crate_name) || crate_name.strip_prefix("lib").is_some_and(|name| ours.contains(name))
    };
    for folder in ["deps", "build", ".fingerprint"] {
        fs::create_dir_all(to.join(folder))?;
        for entry in fs::read_dir(from.join(folder)).into_iter().flatten() {
            let entry = entry?;
            if !is_ours(&entry.file_name().to_string_lossy()) {
                share(&entry.path(), &to.join(folder).join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}

/// Links a file or all files of a folder that are not there yet. Cargo's own notes, which it writes in place, are copied.
fn share(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            share(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    // A build in the checkout may replace a file while we look at it.
    let (Ok(facts), false) = (from.metadata(), to.exists()) else { return Ok(()) };
    let is_note = from.components().any(|part| part.as_os_str() == ".fingerprint") || facts.len() < 64 * 1024;
    if is_note {
        fs::copy(from, to)?;
        File::options().write(true).open(to)?.set_modified(facts.modified()?)?;
    } else if fs::hard_link(from, to).is_err() {
        // Another file system: cargo compiles it again.
        return Ok(());
    }
    Ok(())
}

fn report(commit: &str, findings: &[Finding<'_>]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    let mut text = format!(
        "# Planted bugs\n\n\
         Each patch of the table breaks one promise silently; the test beside it must fail and say so. Written by `cargo xtask planted`.\n\n\
         - commit: {commit}\n- machine: {cores} cores, {} GiB memory; the servers of the test stack ran on it too\n\
         - before: each named test passed without any patch\n\n\
         | Bug | Broken promise | What it does | Caught by | Test, s |\n|---|---|---|---|---|\n",
        kilobytes.div_ceil(1024 * 1024)
    );
    for Finding { bug, missed, seconds } in findings {
        let found =
            if missed.is_some() { "**missed**".to_owned() } else { format!("{} `{}`", bug.package, bug.caught_by) };
        let _ = writeln!(text, "| {} | {} | {} | {found} | {seconds:.1} |", bug.name, bug.promise, bug.story);
    }
    let missed = findings.iter().filter(|finding| finding.missed.is_some()).count();
    let _ = writeln!(text, "\n{} caught, {missed} missed", findings.len() - missed);
    text
}
