//! The throw-away machine: network, mounts, processes, control groups and names of its own, so that a kubelet and its containers touch
//! nothing of the machine they run on. Decided here: how it is made, how two of them are joined, and that ending its first process ends
//! everything in it. What needs the kernel's tools is four short scripts beside this file. Only for control groups of the first version, and
//! only for root.

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
const JOIN: &str = include_str!("join.sh");
/// The role of what runs in it.
const INSIDE: &str = "inside";
/// Mounts and one interface.
const READY: Duration = Duration::from_secs(30);
/// Ended processes leave their control groups a moment later.
const GONE: Duration = Duration::from_secs(20);

/// The address of the first, where the control plane and the ways to the stores are.
pub const ADDRESS: &str = FIRST.address;
/// The next hop of a way that leads nowhere.
const GATEWAY: &str = "10.200.0.254";

/// What a machine is called and where its node and the pods on it are.
#[derive(Debug, PartialEq, Eq)]
pub struct Seat {
    /// The name of its process, of its control groups and of its folder; what runs in it ends with `mark`.
    name: &'static str,
    mark: &'static str,
    pub node: &'static str,
    pub address: &'static str,
    pub pods: &'static str,
}

pub const FIRST: Seat =
    Seat { name: "cluster-machine", mark: "", node: "node-1", address: "10.200.0.1", pods: "10.244.0.0/24" };
/// There is a second, so that the first can be drained.
pub const SECOND: Seat =
    Seat { name: "cluster-machine-2", mark: "-2", node: "node-2", address: "10.200.0.2", pods: "10.244.1.0/24" };
/// The pods of both.
pub const PODS: &str = "10.244.0.0/16";

/// A machine and the folder that it shares with this one.
#[derive(Debug, Clone)]
pub struct Machine {
    layout: Layout,
    pub seat: &'static Seat,
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
    pub fn of(layout: &Layout, seat: &'static Seat) -> Machine {
        Machine { layout: layout.clone(), seat, folder: layout.state.join(format!("machine{}", seat.mark)) }
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
        fs::write(self.folder.join("places"), PLACES.join("\n") + "\n").context("note the places")?;
        self.make_groups()?;
        let script = |name: &str| self.folder.join(name).display().to_string();
        let args = [script("begin.sh"), self.folder.display().to_string(), script("init.sh")];
        let mut args = args.to_vec();
        args.extend([self.seat.node, self.seat.address, GATEWAY].map(str::to_owned));
        let spec = self.process(self.seat.name, PathBuf::from("/bin/bash"), args);
        spec.start(&self.layout)?;
        let log = self.layout.log(self.seat.name);
        until("the machine", READY, || {
            ensure!(self.folder.join("ready").is_file(), "{}", os::tail(&log, 0, 5));
            Ok(())
        })?;
        let record = process::running(&self.layout, self.seat.name).context("the machine ended at once")?;
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", record.pid))
            .context("the kernel names no children")?;
        let first = children.split_whitespace().next().context("the machine has no first process")?;
        fs::write(self.folder.join("first-pid"), first).context("note the first process")
    }

    pub fn runs(&self) -> bool {
        process::running(&self.layout, self.seat.name).is_some() && self.folder.join("first-pid").is_file()
    }

    /// A cable to another machine and the way to its pods.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn join(&self, other: &Machine) -> Result<()> {
        let script = other.folder.join("join.sh");
        fs::write(&script, JOIN)?;
        let mut join = Command::new("/bin/bash");
        join.arg(&script);
        for machine in [self, other] {
            join.arg(fs::read_to_string(machine.folder.join("first-pid")).context("read the first process")?);
            join.args([machine.seat.address, machine.seat.pods]);
        }
        os::output(&mut join).map(drop)
    }

    /// Ends everything in it and removes what it has left.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn end(&self) -> Result<()> {
        if let Some(record) = process::running(&self.layout, self.seat.name) {
            process::stop(&self.layout, &record);
        }
        // they ended with it; what is stopped here is their way in
        let ours = |name: &str| name.ends_with(SECOND.mark) == (*self.seat == SECOND);
        for record in process::records(&self.layout) {
            if record.role == INSIDE && ours(&record.name) {
                process::stop(&self.layout, &record);
            }
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
        let mut spec = self.process(&format!("{name}{}", self.seat.mark), shell, way);
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
        let groups = groups(&own);
        let line = |(controllers, parent): &(String, PathBuf)| {
            format!("{controllers} {}\n", parent.join(self.seat.name).display())
        };
        // before they are made, so that whoever ends it finds those of a beginning that failed
        fs::write(self.folder.join("groups"), groups.iter().map(line).collect::<String>())
            .context("note the control groups")?;
        for (controllers, parent) in groups {
            let group = parent.join(self.seat.name);
            fs::create_dir_all(&group).with_context(|| format!("make {}", group.display()))?;
            if controllers.split(',').any(|controller| controller == "cpuset") {
                // a group without processors takes no process
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(group.join(file), fs::read(parent.join(file))?).with_context(|| format!("set {file}"))?;
                }
            }
        }
        Ok(())
    }

    /// Groups are removed from the inside out; those of pods lie in ours.
    fn remove_groups(&self) -> Result<()> {
        let Ok(lines) = fs::read_to_string(self.folder.join("groups")) else { return Ok(()) };
        let groups: Vec<_> =
            lines.lines().filter_map(|line| line.split_once(' ')).map(|(_, group)| PathBuf::from(group)).collect();
        until("control groups", GONE, || groups.iter().try_for_each(|group| remove_group(group)))
    }
}

/// Folders of this machine that the throw-away one lays its own over, and that are made where there were none.
const PLACES: [&str; 4] = ["/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers"];

/// Removes those that are empty: others are somebody else's.
pub fn remove_places() {
    for place in PLACES {
        let _ = fs::remove_dir(place);
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
