//! JVM servers from Maven artifacts: one zip each for Elasticsearch and Keycloak, a set of jars for Kafka.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::pins::{self, Zip};
use super::{cached, verify};
use crate::layout::Layout;
use crate::os;

/// Elasticsearch's home in the cache.
///
/// # Errors
/// No Maven, no network, a wrong sum, no space.
pub fn elasticsearch(layout: &Layout) -> Result<PathBuf> {
    zip(layout, &pins::ELASTICSEARCH, |_, _| Ok(()))
}

/// Keycloak's home in the cache, already built for PostgreSQL: the build takes half a minute and is the same for every stack.
///
/// # Errors
/// No Maven, no network, a wrong sum, no space.
pub fn keycloak(layout: &Layout) -> Result<PathBuf> {
    zip(layout, &pins::KEYCLOAK, |home, log| {
        let mut build = Command::new("sh");
        build.arg(home.join("bin/kc.sh")).args([
            "build",
            "--db=postgres",
            "--health-enabled=true",
            "--metrics-enabled=true",
        ]);
        os::run("build keycloak", &mut build, log)
    })
}

fn zip(layout: &Layout, pin: &Zip, finish: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
    cached(layout, pin.tool, pin.version, pin.megabytes, |work, log| {
        let archive = work.join("archive.zip");
        fetch(pin.coordinates, &archive, log)?;
        verify(&archive, pin.sha256)?;
        let mut unzip = Command::new("unzip");
        unzip.arg("-q").arg(&archive);
        if !pin.only.is_empty() {
            unzip.arg(pin.only);
        }
        os::run("unzip", unzip.arg("-d").arg(work.join("unpacked")), log)?;
        fs::remove_file(&archive)?;
        let unpacked = work.join("unpacked");
        for entry in
            fs::read_dir(unpacked.join(pin.inner)).with_context(|| format!("{} is missing in the zip", pin.inner))?
        {
            let entry = entry?;
            fs::rename(entry.path(), work.join(entry.file_name()))?;
        }
        fs::remove_dir_all(&unpacked)?;
        finish(work, log)
    })
}

/// Puts one artifact at `target`. A copy that Maven already has is used; one that came only for us does not stay in its repository.
fn fetch(coordinates: &str, target: &Path, log: &Path) -> Result<()> {
    let kept = in_local_repository(coordinates).filter(|path| path.is_file());
    if let Some(kept) = &kept {
        fs::copy(kept, target).with_context(|| format!("copy {}", kept.display()))?;
        return Ok(());
    }
    let mut get = Command::new("mvn");
    get.args(["-q", "-B", "-U", &format!("{}:get", pins::MAVEN_DEPENDENCY_PLUGIN), "-Dtransitive=false"]);
    get.arg(format!("-Dartifact={coordinates}"));
    os::run(&format!("download {coordinates}"), &mut get, log)?;
    let came = in_local_repository(coordinates).filter(|path| path.is_file());
    let came = came
        .with_context(|| format!("maven reports {coordinates} as downloaded, but it is not in its local repository"))?;
    if fs::rename(&came, target).is_err() {
        fs::copy(&came, target).with_context(|| format!("copy {}", came.display()))?;
        fs::remove_file(&came)?;
    }
    // Without its marker files Maven downloads again when asked, instead of reporting a file that is gone.
    if let Some(folder) = came.parent() {
        let _ = fs::remove_dir_all(folder);
    }
    Ok(())
}

/// Where Maven's default local repository keeps an artifact.
fn in_local_repository(coordinates: &str) -> Option<PathBuf> {
    let [group, artifact, version, kind] = coordinates.split(':').collect::<Vec<_>>().try_into().ok()?;
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let folder = home.join(".m2/repository").join(group.replace('.', "/")).join(artifact).join(version);
    Some(folder.join(format!("{artifact}-{version}.{kind}")))
}

/// The folder with Kafka's jars.
///
/// # Errors
/// No Maven, no network, a set that is not the one we pinned.
pub fn kafka(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, "kafka", pins::kafka::VERSION, pins::kafka::MEGABYTES, |work, log| {
        fs::write(work.join("pom.xml"), kafka_pom())?;
        let mut copy = Command::new("mvn");
        copy.current_dir(work).args([
            "-B",
            "-q",
            "-U",
            &format!("{}:copy-dependencies", pins::MAVEN_DEPENDENCY_PLUGIN),
        ]);
        copy.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", work.join("lib").display()));
        os::run("download kafka", &mut copy, log)?;
        let jars = fs::read_dir(work.join("lib"))?.count();
        if jars != pins::kafka::JARS {
            bail!("kafka {} came with {jars} jars, expected {}", pins::kafka::VERSION, pins::kafka::JARS);
        }
        for (jar, sum) in pins::kafka::SUMS {
            verify(&work.join("lib").join(jar), sum)?;
        }
        Ok(())
    })?;
    Ok(home.join("lib"))
}

fn kafka_pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let mut list = String::new();
    for artifact in [&format!("kafka_{}", pins::kafka::SCALA), "kafka-tools", "connect-mirror", "connect-runtime"] {
        list.push_str(&dependency("org.apache.kafka", artifact, pins::kafka::VERSION));
    }
    list.push_str(&dependency("org.apache.logging.log4j", "log4j-slf4j-impl", pins::kafka::LOG4J_BINDING));
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>shopsphere</groupId>\n  \
         <artifactId>kafka-jars</artifactId>\n  <version>1</version>\n  <packaging>pom</packaging>\n  <dependencies>\n{list}  </dependencies>\n</project>\n"
    )
}
