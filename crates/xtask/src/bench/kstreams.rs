//! Kafka Streams with our few lines (`tools/peers/kstreams`): its jars from Maven, compiled with the `javac` beside our `java`, started
//! and ready. Not decided here: what it is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Skipped;
use super::program::{Program, TESTED};
use super::rig::Rig;
use super::stream::brokers;
use crate::layout::{self, Layout};
use crate::os;
use crate::provision::{cached, pins};
use crate::stack::java;

/// As the recipe says; another version is another folder in the cache.
const VERSION: &str = "4.3.1";
const MEGABYTES: u64 = 150;
const SOURCE: &str = "Fold";

/// The program over `topic`, ready for its first pass; its state and its log are in `folder`.
///
/// # Errors
/// [`Skipped`] when it cannot be had or compiled; else when it does not start.
pub fn start(rig: &Rig, folder: &Path, topic: &str) -> Result<Program> {
    let jars = jars(&rig.stack.layout).map_err(|error| Skipped(format!("Kafka Streams cannot be had: {error:#}")))?;
    let classes = compile(&jars, folder).map_err(|error| Skipped(format!("Kafka Streams: {error:#}")))?;
    let logging = folder.join("log4j2.properties");
    fs::write(&logging, "status = error\nrootLogger.level = OFF\n")?;
    let java = java::program()?.display().to_string();
    let words = [
        java.as_str(),
        "-Xms512m",
        "-Xmx1g",
        "-XX:+UseSerialGC",
        &format!("-Dlog4j2.configurationFile={}", logging.display()),
        "-cp",
        &format!("{}:{}/*", classes.display(), jars.display()),
        SOURCE,
        &brokers(rig),
        topic,
        &folder.join("features").display().to_string(),
        &folder.join("kstreams-state").display().to_string(),
    ]
    .map(str::to_owned);
    Program::start("kstreams", TESTED, &words, folder)
}

/// The jars, in the cache of downloads.
pub fn jars(layout: &Layout) -> Result<PathBuf> {
    let recipe = recipe();
    let home = cached(layout, "peer-kstreams", VERSION, MEGABYTES, |work, log| {
        fs::copy(recipe.join("pom.xml"), work.join("pom.xml"))?;
        let plugin = format!("{}:copy-dependencies", pins::MAVEN_DEPENDENCY_PLUGIN);
        let mut copy = Command::new("mvn");
        copy.current_dir(work).args(["-B", "-q", "-U", &plugin, "-DincludeScope=runtime"]);
        copy.arg(format!("-DoutputDirectory={}", work.join("lib").display()));
        os::run("download Kafka Streams", &mut copy, log)
    })?;
    Ok(home.join("lib"))
}

fn compile(jars: &Path, folder: &Path) -> Result<PathBuf> {
    let beside = java::program()?.with_file_name("javac");
    let javac = if beside.is_file() { beside } else { os::which("javac").context("javac is not on this machine")? };
    let classes = folder.join("classes");
    let mut compile = Command::new(javac);
    compile.arg("-cp").arg(format!("{}/*", jars.display())).arg("-d").arg(&classes);
    os::output(compile.arg(recipe().join(format!("{SOURCE}.java")))).context("compile the fold")?;
    Ok(classes)
}

fn recipe() -> PathBuf {
    layout::checkout().join("tools/peers/kstreams")
}
