//! The throw-away machine: network, mounts, processes, control groups and names of its own, so that a kubelet and its containers touch
//! nothing of the machine they run on. Decided here: how it is made and that ending its first process ends everything in it. What needs
//! the kernel's tools is three short scripts beside this file. Only for control groups of the first version, and only for root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::kubectl::until;
use crate::layout::Layout;
use crate::os;
use crate::stack::process::{self, Health, Spec};

const INIT: &str = include_str!("init.sh");
const BEGIN: &str = include_str!("begin.sh");
const ENTER: &str = include_str!("enter.sh");
/// The name of the process, and of the control groups.
const NAME: &str = "cluster-machine";
/// The role of what runs in it.
const INSIDE: &str = "inside";
/// Mounts and one interface.
const READY: Duration = Duration::from_secs(30);
/// Ended processes leave their control groups a moment later.
const GONE: Duration = Duration::from_secs(20);

/// The node's name and address, and the next hop of a way that leads nowhere.
pub const NODE: &str = "node-1";
pub const ADDRESS: &str = "10.200.0.1";
const GATEWAY: &str = "10.200.0.254";

/// A machine and the folder that it shares with this one.
#[derive(Debug, Clone)]
pub struct Machine {
    layout: Layout,
    pub folder: PathBuf,
}

/// Why there can be no such machine here; `None` when there can.
pub fn impossible() -> Option<String> {
    if !os::is_root() {
        return Some("namespaces and control groups need root".to_owned());
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if !groups(&own).iter().any(|(controllers, _)| controllers == "memory") {
        return Some(
            "this machine has no control groups of the first version, and the kubelet is set up for those".to_owned(),
        );
    }
    ["unshare", "nsenter", "ip"]
        .into_iter()
        .find(|program| os::which(program).is_none())
        .map(|program| format!("{program} is missing; it comes with util-linux or iproute2"))
}

/// Controllers and the folder of our own group, for each hierarchy that `/proc/self/cgroup` tells of.
fn groups(own: &str) -> Vec<(String, PathBuf)> {
    let row = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        // the unified hierarchy has none
        let named = controllers.strip_prefix("name=").unwrap_or(controllers);
        let folder = Path::new("/sys/fs/cgroup").join(named).join(path.trim_start_matches('/'));
        (!controllers.is_empty()).then(|| (controllers.to_owned(), folder))
    };
    own.lines().filter_map(row).collect()
}

impl Machine {
    pub fn of(layout: &Layout) -> Machine {
        Machine { layout: layout.clone(), folder: layout.state.join("machine") }
    }

    /// Begins it, unless it runs.
    ///
    /// # Errors
    /// When the kernel refuses; the log says what.
    pub fn begin(&self) -> Result<()> {
        if self.runs() {
            return Ok(());
        }
        self.end()?;
        fs::create_dir_all(&self.folder).with_context(|| format!("make {}", self.folder.display()))?;
        for (name, text) in [("init.sh", INIT), ("begin.sh", BEGIN), ("enter.sh", ENTER)] {
            fs::write(self.folder.join(name), text)?;
        }
        self.make_groups()?;
        let script = |name: &str| self.folder.join(name).display().to_string();
        let args = [script("begin.sh"), self.folder.display().to_string(), script("init.sh")];
        let mut args = args.to_vec();
        args.extend([NODE, ADDRESS, GATEWAY].map(str::to_owned));
        let spec = self.process(NAME, PathBuf::from("/bin/bash"), args);
        spec.start(&self.layout)?;
        let log = self.layout.log(NAME);
        until("the machine", READY, || {
            ensure!(self.folder.join("ready").is_file(), "{}", os::tail(&log, 0, 5));
            Ok(())
        })?;
        let record = process::running(&self.layout, NAME).context("the machine ended at once")?;
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", record.pid))
            .context("the kernel names no children")?;
        let first = children.split_whitespace().next().context("the machine has no first process")?;
        fs::write(self.folder.join("first-pid"), first).context("note the first process")
    }

    pub fn runs(&self) -> bool {
        process::running(&self.layout, NAME).is_some() && self.folder.join("first-pid").is_file()
    }

    /// Ends everything in it and removes what it has left.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn end(&self) -> Result<()> {
        if let Some(record) = process::running(&self.layout, NAME) {
            process::stop(&self.layout, &record);
        }
        // they ended with it; what is stopped here is their way in
        for record in process::records(&self.layout).into_iter().filter(|record| record.role == INSIDE) {
            process::stop(&self.layout, &record);
        }
        self.remove_groups()?;
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// The words that bring a command into the machine.
    pub fn way(&self) -> Vec<String> {
        ["/bin/bash".to_owned(), self.folder.join("enter.sh").display().to_string(), self.folder.display().to_string()]
            .to_vec()
    }

    /// Runs a command in the machine to its end.
    ///
    /// # Errors
    /// What it says on standard error when it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let way = self.way();
        let (shell, words) = way.split_first().context("a way has words")?;
        os::output(Command::new(shell).args(words).args(arguments).current_dir("/"))
    }

    /// Starts a server in the machine, unless it runs. It ends with the machine.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str, program: &Path, arguments: &[String], env: &[(&str, String)]) -> Result<()> {
        let mut way = self.way();
        let shell = PathBuf::from(way.remove(0));
        way.push(program.display().to_string());
        way.extend_from_slice(arguments);
        let mut spec = self.process(name, shell, way);
        spec.role = INSIDE;
        spec.env.extend(env.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        spec.start(&self.layout).map(|_| ())
    }

    fn process(&self, name: &str, program: PathBuf, args: Vec<String>) -> Spec {
        Spec {
            name: name.to_owned(),
            role: "tool",
            program,
            args,
            env: vec![("HOME".to_owned(), self.folder.display().to_string())],
            folder: PathBuf::from("/"),
            account: None,
            ports: Vec::new(),
            // who waits asks the API server
            health: Health::Http(Vec::new()),
            // everything in it is thrown away
            stop: libc::SIGKILL,
            stop_within: Duration::from_secs(5),
            ready_within: READY,
            ours: false,
            depends_on: String::new(),
        }
    }

    fn make_groups(&self) -> Result<()> {
        let own = fs::read_to_string("/proc/self/cgroup").context("read our control groups")?;
        let mut lines = String::new();
        for (controllers, parent) in groups(&own) {
            let group = parent.join(NAME);
            fs::create_dir_all(&group).with_context(|| format!("make {}", group.display()))?;
            if controllers.split(',').any(|controller| controller == "cpuset") {
                // a group without processors takes no process
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(group.join(file), fs::read(parent.join(file))?).with_context(|| format!("set {file}"))?;
                }
            }
            lines.push_str(&format!("{controllers} {}\n", group.display()));
        }
        fs::write(self.folder.join("groups"), lines).context("note the control groups")
    }

    /// Groups are removed from the inside out; those of pods lie in ours.
    fn remove_groups(&self) -> Result<()> {
        let Ok(lines) = fs::read_to_string(self.folder.join("groups")) else { return Ok(()) };
        let groups: Vec<_> =
            lines.lines().filter_map(|line| line.split_once(' ')).map(|(_, group)| PathBuf::from(group)).collect();
        until("control groups", GONE, || groups.iter().try_for_each(|group| remove_group(group)))
    }
}

fn remove_group(group: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(group) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_group(&entry.path())?;
    }
    fs::remove_dir(group).with_context(|| format!("remove {}", group.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hierarchy_of_the_first_version_is_told_with_our_own_place_in_it() {
        let own = "9:name=systemd:/\n4:memory:/process_api/f9\n2:cpu,cpuacct:/\n0::/unified\n";
        let expected = [
            ("name=systemd", "/sys/fs/cgroup/systemd/"),
            ("memory", "/sys/fs/cgroup/memory/process_api/f9"),
            ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/"),
        ];
        let expected = expected.map(|(controllers, folder)| (controllers.to_owned(), PathBuf::from(folder)));
        assert_eq!(groups(own), expected);
    }
}
