//! What is built from Go modules. Decided here: three ways. `go install` where a module lets itself be installed (helm, kube-score, hclfmt,
//! stripe-mock, kwok, coredns, metrics-server). A copy of the module with two files written into it for FerretDB, the MongoDB-wire server, which wants
//! generated version files beside its sources. A module of ours that requires the other one for etcd, whose server is a library, and for
//! Kubernetes, whose go.mod replaces its own parts by folders that only its repository has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cached;
use super::pins::ferretdb::{GO, MEGABYTES, MODULE, VERSION};
use super::pins::{coredns, etcd, hclfmt, helm, kube_score, kubernetes, kwok, metrics_server, stripe_mock};
use crate::layout::Layout;
use crate::os;

/// The FerretDB program.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn ferretdb(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, "ferretdb", VERSION, MEGABYTES, |work, log| {
        require_go()?;
        let answer = download(work, MODULE, VERSION)?;
        let module = answer["Dir"].as_str().context("go mod download names no folder")?;
        let sources = work.join("sources");
        os::output(Command::new("cp").args(["-R", module]).arg(&sources))?;
        os::output(Command::new("chmod").args(["-R", "u+w"]).arg(&sources))?;
        write_version(&sources)?;
        let mut build = Command::new("go");
        build
            .current_dir(&sources)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-o"])
            .arg(work.join("ferretdb"))
            .arg("./cmd/ferretdb");
        os::run("build ferretdb", &mut build, log)?;
        fs::remove_dir_all(&sources).context("remove the sources of ferretdb")
    })?;
    Ok(home.join("ferretdb"))
}

/// The stripe-mock program. An ordinary `go install` builds it.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn stripe_mock(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "stripe-mock", stripe_mock::MODULE, stripe_mock::VERSION, stripe_mock::MEGABYTES)
}

/// The helm program; four minutes on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn helm(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "helm", helm::MODULE, helm::VERSION, helm::MEGABYTES)
}

/// The kube-score program; a minute on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn kube_score(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "kube-score", kube_score::MODULE, kube_score::VERSION, kube_score::MEGABYTES)
}

/// The hclfmt program; half a minute, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn hclfmt(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "hclfmt", hclfmt::MODULE, hclfmt::VERSION, hclfmt::MEGABYTES)
}

/// The kwok program; four minutes on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn kwok(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "kwok", kwok::MODULE, kwok::VERSION, kwok::MEGABYTES)
}

/// The coredns program; two minutes on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn coredns(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "coredns", coredns::MODULE, coredns::VERSION, coredns::MEGABYTES)
}

/// The metrics-server program; three minutes on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn metrics_server(layout: &Layout) -> Result<PathBuf> {
    let (module, version) = (metrics_server::MODULE, metrics_server::VERSION);
    installed(layout, "metrics-server", module, version, metrics_server::MEGABYTES)
}

/// The etcd program; a minute on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn etcd(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, "etcd", etcd::VERSION, etcd::MEGABYTES, |work, log| {
        require_go()?;
        write(work, "go.mod", &requiring("etcd", etcd::MODULE, etcd::VERSION, &[]))?;
        write(work, "main.go", ETCD)?;
        go(work, "find the modules of etcd", &["mod", "tidy"], log)?;
        go(work, "build etcd", &["build", "-trimpath", "-ldflags", "-s -w", "-o", "etcd", "."], log)
    })?;
    Ok(home.join("etcd"))
}

/// All that etcd's own program does as well.
const ETCD: &str = "package main\n\nimport (\n\t\"os\"\n\n\t\"go.etcd.io/etcd/server/v3/etcdmain\"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n";

/// A program that waits to be ended: the sandbox of a pod. Built from twenty lines, because Kubernetes' own is C and comes as an image only.
///
/// # Errors
/// No Go, a failed build.
pub fn pause(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, "pause", "1", PAUSE_MEGABYTES, |work, log| {
        require_go()?;
        write(work, "go.mod", "module shopsphere/pause\n\ngo 1.21\n")?;
        write(work, "main.go", PAUSE)?;
        go(work, "build pause", &["build", "-trimpath", "-ldflags", "-s -w", "-o", "pause", "."], log)
    })?;
    Ok(home.join("pause"))
}

const PAUSE_MEGABYTES: u64 = 50;

/// It is the first process of a pod whose containers share processes, so it also collects those that have ended.
const PAUSE: &str = r#"package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for one := range signals {
		if one != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
"#;

/// Programs of a control plane.
const CONTROL: &[&str] = &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];
/// Programs of a node.
const NODE: &[&str] = &["kubelet", "kube-proxy"];

/// The folder with kube-apiserver, kube-controller-manager, kube-scheduler and kubectl; eleven minutes on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn control_plane(layout: &Layout) -> Result<PathBuf> {
    of_kubernetes(layout, "kubernetes", CONTROL)
}

/// The folder with kubelet and kube-proxy; a minute or two when the control plane was built before.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn node(layout: &Layout) -> Result<PathBuf> {
    of_kubernetes(layout, "kubernetes-node", NODE)
}

fn of_kubernetes(layout: &Layout, tool: &str, programs: &[&str]) -> Result<PathBuf> {
    cached(layout, tool, kubernetes::VERSION, kubernetes::MEGABYTES, |work, log| {
        require_go()?;
        let answer = download(work, kubernetes::MODULE, kubernetes::VERSION)?;
        let theirs = answer["GoMod"].as_str().context("go mod download names no go.mod")?;
        let theirs = fs::read_to_string(theirs).with_context(|| format!("read {theirs}"))?;
        let staged = staged(&theirs);
        if staged.is_empty() {
            bail!("the go.mod of {} {} names no part of its own", kubernetes::MODULE, kubernetes::VERSION);
        }
        write(work, "go.mod", &requiring("kubernetes", kubernetes::MODULE, kubernetes::VERSION, &staged))?;
        write(work, "tools.go", &wanting([CONTROL, NODE].concat().as_slice()))?;
        go(work, "find the modules of kubernetes", &["mod", "tidy"], log)?;
        let names = "-X k8s.io/component-base/version";
        let version = kubernetes::VERSION;
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let flags = format!("-s -w {names}.gitVersion={version} {names}.gitMajor={major} {names}.gitMinor={minor}");
        for program in programs {
            let package = format!("{}/cmd/{program}", kubernetes::MODULE);
            let arguments = ["build", "-trimpath", "-ldflags", &flags, "-o", program, &package];
            go(work, &format!("build {program}"), &arguments, log)?;
        }
        Ok(())
    })
}

/// The parts of Kubernetes that its go.mod names without a version: those, and not the ones that have the date of a commit.
pub fn staged(go_mod: &str) -> Vec<&str> {
    let words = go_mod.lines().map(|line| line.trim().trim_start_matches("require ").split_whitespace());
    words
        .filter_map(|mut words| {
            let (module, version) = (words.next()?, words.next()?);
            (module.starts_with("k8s.io/") && version == "v0.0.0").then_some(module)
        })
        .collect()
}

/// The go.mod of a module of ours that is there to build another one.
fn requiring(name: &str, module: &str, version: &str, staged: &[&str]) -> String {
    let mut text = format!("module shopsphere/{name}\n\ngo {}\n\nrequire {module} {version}\n\n", kubernetes::GO);
    staged.iter().for_each(|part| text.push_str(&format!("replace {part} => {part} {}\n", kubernetes::STAGED)));
    text
}

/// Names programs, so that what they import is looked for; it is compiled into nothing.
fn wanting(programs: &[&str]) -> String {
    let imports: Vec<_> =
        programs.iter().map(|program| format!("\t_ \"{}/cmd/{program}\"\n", kubernetes::MODULE)).collect();
    format!("//go:build tools\n\npackage tools\n\nimport (\n{})\n", imports.concat())
}

fn write(work: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(work.join(name), text).with_context(|| format!("write {name}"))
}

fn go(work: &Path, what: &str, arguments: &[&str], log: &Path) -> Result<()> {
    let mut command = Command::new("go");
    os::run(what, command.current_dir(work).env("CGO_ENABLED", "0").args(arguments), log)
}

/// What `go mod download` says of a module that is in Go's cache now.
fn download(work: &Path, module: &str, version: &str) -> Result<serde_json::Value> {
    let answer = os::output(
        Command::new("go").args(["mod", "download", "-json", &format!("{module}@{version}")]).current_dir(work),
    )?;
    serde_json::from_str(&answer).context("go mod download answers in an unknown form")
}

/// What an ordinary `go install` builds: a program called like the tool.
fn installed(layout: &Layout, tool: &str, module: &str, version: &str, megabytes: u64) -> Result<PathBuf> {
    let home = cached(layout, tool, version, megabytes, |work, log| {
        require_go()?;
        let mut install = Command::new("go");
        let what = format!("{module}@{version}");
        install.current_dir(work).env("CGO_ENABLED", "0").env("GOBIN", work).args(["install", "-trimpath", &what]);
        os::run(&format!("build {tool}"), &mut install, log)
    })?;
    Ok(home.join(tool))
}

/// Is it built already?
pub fn is_cached(layout: &Layout) -> bool {
    layout.cache.join(format!("ferretdb-{VERSION}")).is_dir()
}

/// Gives the version of Go.
///
/// # Errors
/// When there is none or it is too old, saying what to do.
pub fn require_go() -> Result<String> {
    let (major, minor) = GO;
    let Ok(said) = os::output(Command::new("go").args(["env", "GOVERSION"])) else {
        bail!(
            "Go is missing: install Go {major}.{minor} or newer (https://go.dev/dl); it builds the MongoDB-wire server once"
        );
    };
    let version = said.trim().trim_start_matches("go").to_owned();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (major, minor) {
        bail!("Go {version} is too old: install Go {major}.{minor} or newer (https://go.dev/dl)");
    }
    Ok(format!("Go {version}"))
}

fn write_version(sources: &Path) -> Result<()> {
    let folder = sources.join("build/version");
    fs::write(folder.join("version.txt"), format!("{VERSION}\n"))?;
    fs::write(folder.join("package.txt"), "shopsphere\n").context("write the version of ferretdb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_without_a_version_are_replaced_and_those_of_a_date_are_not() {
        let theirs = "module k8s.io/kubernetes\n\nrequire (\n\tgithub.com/a/b v0.0.0\n\tk8s.io/api v0.0.0\n\tk8s.io/klog/v2 v2.140.0\n\
                      \tk8s.io/kube-openapi v0.0.0-20260317180543-43fb72c5454a\n\tk8s.io/kms v0.0.0 // indirect\n)\n\nreplace (\n\
                      \tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        assert_eq!(staged(theirs), ["k8s.io/api", "k8s.io/kms"]);
        let ours = requiring("kubernetes", kubernetes::MODULE, kubernetes::VERSION, &staged(theirs));
        assert!(ours.contains("replace k8s.io/kms => k8s.io/kms v0.36.3\n"), "{ours}");
    }
}
