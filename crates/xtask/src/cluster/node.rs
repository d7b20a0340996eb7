//! A control plane and two real nodes in throw-away machines: containerd, kubelet, kube-proxy, names. Decided here: their settings, each
//! with what is special about a node inside of another machine. The control plane is in the first machine, the ways to the stores too.
//! Programs of Debian are only unpacked, so that nothing of theirs is started on the machine itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::images;
use super::kubectl::{Kubectl, until};
use super::machine::{ADDRESS, FIRST, Machine, PODS, SECOND};
use super::pki::Authority;
use super::tools::Tools;
use crate::layout::Layout;
use crate::os;
use crate::provision::{debian, gomod};

/// The network of services; none of a site.
const SERVICES: &str = "10.96.0.0/16";
const FIRST_SERVICE: &str = "10.96.0.1";
const NAMES: &str = "10.96.0.10";
const DOMAIN: &str = "cluster.local";
/// The port of an API server that has its certificates.
const SECURE: u16 = 6443;
/// Who speaks for others to servers behind the API server, and the folder of an authority that has signed nobody else.
pub(super) const FRONT: &str = "front-proxy";
/// The sandbox of every pod.
const PAUSE: &str = "localhost/pause:local";
const COREDNS: &str = "localhost/coredns:local";
const SOCKET: &str = "/run/containerd/containerd.sock";
/// Fifteen seconds on an idle machine.
const READY: Duration = Duration::from_secs(180);
/// What the kubelet and kube-proxy call; these packages start nothing.
const HELPERS: &[(&str, &str)] = &[
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("socat", "socat"),
    ("ethtool", "ethtool"),
    ("iproute2", "ip"),
];

/// Programs of the node.
struct Programs {
    containerd: PathBuf,
    runc: PathBuf,
    plugins: PathBuf,
    kubelet: PathBuf,
    proxy: PathBuf,
    coredns: PathBuf,
    pause: PathBuf,
}

fn programs(layout: &Layout) -> Result<Programs> {
    let missing: Vec<_> =
        HELPERS.iter().filter(|(_, program)| os::which(program).is_none()).map(|(package, _)| *package).collect();
    if !missing.is_empty() {
        debian::install(&missing)?;
    }
    let node = gomod::node(layout)?;
    Ok(Programs {
        containerd: debian::unpacked(layout, "containerd")?.join("usr/bin"),
        runc: debian::unpacked(layout, "runc")?.join("usr/sbin"),
        plugins: debian::unpacked(layout, "containernetworking-plugins")?.join("usr/lib/cni"),
        kubelet: node.join("kubelet"),
        proxy: node.join("kube-proxy"),
        coredns: gomod::coredns(layout)?,
        pause: gomod::pause(layout)?,
    })
}

/// The nodes, and whom one asks about them.
pub struct Nodes<'a> {
    /// With the control plane.
    pub machine: &'a Machine,
    second: &'a Machine,
    pub kubectl: Kubectl,
    programs: Programs,
}

impl<'a> Nodes<'a> {
    /// The nodes of two machines; nothing is started.
    ///
    /// # Errors
    /// When a program cannot be had.
    pub fn of(layout: &Layout, tools: &Tools, [machine, second]: [&'a Machine; 2]) -> Result<Nodes<'a>> {
        let (config, folder) = (machine.folder.join("admin.kubeconfig"), machine.folder.join("kubectl"));
        let kubectl =
            Kubectl { kubectl: tools.kubectl.clone(), helm: tools.helm.clone(), config, folder, way: machine.way() };
        Ok(Nodes { machine, second, kubectl, programs: programs(layout)? })
    }

    fn machines(&self) -> [&'a Machine; 2] {
        [self.machine, self.second]
    }

    /// Starts control plane and nodes in machines that run, and waits until names are answered. When that was done before, it only
    /// looks whether the nodes are ready.
    ///
    /// # Errors
    /// When something does not become ready.
    pub fn start(&self, tools: &Tools) -> Result<()> {
        if Self::were_ready(self.machine) {
            return self.all_ready();
        }
        fs::create_dir_all(&self.kubectl.folder)?;
        let authority = Authority::create(&self.machine.folder.join("pki"))?;
        certificates(&authority)?;
        configured(self.machine, &authority, "admin", "admin")?;
        control(self.machine, tools, &authority)?;
        until("the API server", READY, || self.kubectl.run(&["get", "--raw", "/readyz"]))?;
        self.machine.join(self.second)?;
        for machine in self.machines() {
            self.containers(machine)?;
            self.kubelet(machine, &authority)?;
        }
        self.all_ready()?;
        self.names()?;
        fs::write(done(self.machine), "").context("note that the nodes are ready")
    }

    /// Nodes of this control plane were ready once, and answered names.
    pub fn were_ready(machine: &Machine) -> bool {
        done(machine).is_file()
    }

    fn all_ready(&self) -> Result<()> {
        until("the nodes", READY, || self.machines().into_iter().try_for_each(|machine| self.ready(machine)))
    }

    /// Puts images where each node finds them.
    ///
    /// # Errors
    /// When containerd refuses one.
    pub fn import(&self, files: &[PathBuf]) -> Result<()> {
        self.machines().into_iter().try_for_each(|machine| self.import_to(machine, files))
    }

    fn import_to(&self, machine: &Machine, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let file = file.display().to_string();
            self.ctr(machine, &["images", "import", &file]).with_context(|| format!("import {file}"))?;
        }
        Ok(())
    }

    /// Ends the process of a container on `node` with SIGKILL, as the kernel does where memory is short: there is no shell in our images.
    ///
    /// # Errors
    /// When there is no such node, or no such container runs on it.
    pub fn kill(&self, node: &str, container: &str) -> Result<()> {
        let machine = self.machines().into_iter().find(|machine| machine.seat.node == node);
        let machine = machine.with_context(|| format!("{node} is no node of this cluster"))?;
        self.ctr(machine, &["tasks", "kill", "--signal", "SIGKILL", container]).map(|_| ())
    }

    fn ctr(&self, machine: &Machine, arguments: &[&str]) -> Result<String> {
        let ctr = self.programs.containerd.join("ctr").display().to_string();
        machine.run(&[&[ctr.as_str(), "-a", SOCKET, "-n", "k8s.io"][..], arguments].concat())
    }

    fn containers(&self, machine: &Machine) -> Result<()> {
        let network = machine.folder.join("cni");
        fs::create_dir_all(&network)?;
        fs::write(network.join("10-pods.conflist"), network_of_pods(machine.seat.pods))?;
        let file = machine.folder.join("containerd.toml");
        fs::write(&file, containerd(&machine.folder, &self.programs.plugins))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let (containerd, runc) = (self.programs.containerd.display(), self.programs.runc.display());
        // it looks for its shim and for runc there
        let env = [("PATH", format!("{containerd}:{runc}:/usr/sbin:/sbin:{path}"))];
        let arguments = ["-c".to_owned(), file.display().to_string()];
        machine.start("containerd", &self.programs.containerd.join("containerd"), &arguments, &env)?;
        let ctr = self.programs.containerd.join("ctr").display().to_string();
        until("containerd", READY, || machine.run(&[&ctr, "-a", SOCKET, "version"]))?;
        let folder = machine.folder.join("images");
        let pause = images::of_static(&self.programs.pause, PAUSE, &folder)?;
        let coredns = images::of_static(&self.programs.coredns, COREDNS, &folder)?;
        self.import_to(machine, &[pause, coredns])
    }

    fn kubelet(&self, machine: &Machine, authority: &Authority) -> Result<()> {
        let (folder, node) = (&machine.folder, machine.seat.node);
        let settings = folder.join("kubelet.yaml");
        fs::write(&settings, kubelet(folder, authority, node))?;
        configured(machine, authority, "kubelet", node)?;
        configured(machine, authority, "kube-proxy", "kube-proxy")?;
        let arguments = [
            format!("--config={}", settings.display()),
            format!("--kubeconfig={}", folder.join("kubelet.kubeconfig").display()),
            format!("--node-ip={}", machine.seat.address),
            format!("--hostname-override={node}"),
            "--node-labels=topology.kubernetes.io/zone=local,topology.kubernetes.io/region=local".to_owned(),
        ];
        let path = std::env::var("PATH").unwrap_or_default();
        let env = [("PATH", format!("/usr/sbin:/sbin:{path}"))];
        machine.start("kubelet", &self.programs.kubelet, &arguments, &env)?;
        let settings = folder.join("kube-proxy.yaml");
        fs::write(&settings, proxy(folder, node))?;
        machine.start("kube-proxy", &self.programs.proxy, &[format!("--config={}", settings.display())], &env)
    }

    fn ready(&self, machine: &Machine) -> Result<()> {
        let node = self.kubectl.json(&["get", "node", machine.seat.node])?;
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("it says nothing yet")?;
        ensure!(ready["status"] == "True", "{}", ready["message"].as_str().unwrap_or("not ready"));
        Ok(())
    }

    fn names(&self) -> Result<()> {
        let file = self.machine.folder.join("coredns.yaml");
        fs::write(&file, include_str!("machine/coredns.yaml"))?;
        self.kubectl.run(&["apply", "-f", &file.to_string_lossy()])?;
        let wait = ["-n", "kube-system", "rollout", "status", "daemonset/coredns", "--timeout=120s"];
        self.kubectl.run_within(&wait, READY).map(|_| ())
    }
}

/// Written once all was ready.
fn done(machine: &Machine) -> PathBuf {
    machine.folder.join("nodes-are-ready")
}

/// Where the API server is, for who is in one of the machines.
pub(super) fn server() -> String {
    format!("https://{ADDRESS}:{SECURE}")
}

/// How `who`, signed as `signed`, reaches the API server from a machine.
fn configured(machine: &Machine, authority: &Authority, who: &str, signed: &str) -> Result<()> {
    let file = machine.folder.join(format!("{who}.kubeconfig"));
    fs::write(&file, authority.kubeconfig(signed, &server())).with_context(|| format!("write {}", file.display()))
}

fn certificates(authority: &Authority) -> Result<()> {
    let (address, first) = (format!("IP:{ADDRESS}"), format!("IP:{FIRST_SERVICE}"));
    let inside = format!("DNS:kubernetes.default.svc.{DOMAIN}");
    let names = [
        "IP:127.0.0.1",
        &address,
        &first,
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        &inside,
    ];
    authority.sign("apiserver", "/CN=kube-apiserver", &names)?;
    for seat in [&FIRST, &SECOND] {
        let (address, name) = (format!("IP:{}", seat.address), format!("DNS:{}", seat.node));
        authority.sign(seat.node, &format!("/O=system:nodes/CN=system:node:{}", seat.node), &[&address, &name])?;
    }
    authority.sign("kube-proxy", "/CN=system:kube-proxy", &[])?;
    authority.sign("admin", "/O=system:masters/CN=admin", &[])?;
    authority.sign("to-kubelets", "/O=system:masters/CN=kube-apiserver", &[])?;
    Authority::create(&authority.folder.join(FRONT))?.sign(FRONT, &format!("/CN={FRONT}"), &[])
}

fn control(machine: &Machine, tools: &Tools, authority: &Authority) -> Result<()> {
    let etcd = [
        format!("--data-dir={}", machine.folder.join("etcd").display()),
        "--log-level=warn".to_owned(),
        "--unsafe-no-fsync".to_owned(),
    ];
    machine.start("etcd", &tools.etcd, &etcd, &[])?;
    let key = authority.path("service-accounts.key");
    let front = Authority { folder: authority.folder.join(FRONT) };
    let apiserver = [
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={ADDRESS}"),
        format!("--secure-port={SECURE}"),
        format!("--tls-cert-file={}", authority.path("apiserver.crt")),
        format!("--tls-private-key-file={}", authority.path("apiserver.key")),
        format!("--client-ca-file={}", authority.path("ca.crt")),
        format!("--kubelet-client-certificate={}", authority.path("to-kubelets.crt")),
        format!("--kubelet-client-key={}", authority.path("to-kubelets.key")),
        format!("--kubelet-certificate-authority={}", authority.path("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!("--service-account-key-file={key}.pub"),
        format!("--service-account-signing-key-file={key}"),
        format!("--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--profiling=false".to_owned(),
        // what others serve is asked for in the name of whoever asked, and they believe that from nobody else
        format!("--requestheader-client-ca-file={}", front.path("ca.crt")),
        format!("--requestheader-allowed-names={FRONT}"),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", front.path(&format!("{FRONT}.crt"))),
        format!("--proxy-client-key-file={}", front.path(&format!("{FRONT}.key"))),
    ];
    machine.start("kube-apiserver", &tools.apiserver, &apiserver, &[])?;
    let config = machine.folder.join("admin.kubeconfig").display().to_string();
    let client = |name: &str| {
        vec![
            format!("--kubeconfig={config}"),
            format!("--authentication-kubeconfig={config}"),
            format!("--authorization-kubeconfig={config}"),
            format!("--cert-dir={}", machine.folder.join(name).display()),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ]
    };
    let mut controllers = client("kube-controller-manager");
    controllers.extend([
        "--use-service-account-credentials".to_owned(),
        format!("--service-account-private-key-file={key}"),
        format!("--root-ca-file={}", authority.path("ca.crt")),
    ]);
    machine.start("kube-controller-manager", &tools.controllers, &controllers, &[])?;
    machine.start("kube-scheduler", &tools.scheduler, &client("kube-scheduler"), &[])
}

/// `restrict_oom_score_adj`: without the right to lower that number, every sandbox would end at once.
fn containerd(folder: &Path, plugins: &Path) -> String {
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "/run/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
"#,
        folder = folder.display(),
        plugins = plugins.display(),
    )
}

fn network_of_pods(pods: &str) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

/// Its disk is the machine's own, so it evicts only when that is nearly full.
fn kubelet(folder: &Path, authority: &Authority, node: &str) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix://{SOCKET}
address: 0.0.0.0
tlsCertFile: {certificate}
tlsPrivateKeyFile: {key}
authentication: {{ anonymous: {{ enabled: false }}, webhook: {{ enabled: true }}, x509: {{ clientCAFile: {ca} }} }}
authorization: {{ mode: Webhook }}
failSwapOn: false
clusterDomain: {DOMAIN}
clusterDNS: ["{NAMES}"]
resolvConf: /dev/null
evictionHard: {{ memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1% }}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
volumePluginDir: {folder}/volume-plugins
"#,
        certificate = authority.path(&format!("{node}.crt")),
        key = authority.path(&format!("{node}.key")),
        ca = authority.path("ca.crt"),
        folder = folder.display(),
    )
}

/// Settings of the kernel's table of connections are the machine's, and stay. Rules follow a change within a tenth of a second, or the first
/// request after a release would meet no pod.
fn proxy(folder: &Path, node: &str) -> String {
    format!(
        r"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: {PODS}
hostnameOverride: {node}
clientConnection: {{ kubeconfig: {folder}/kube-proxy.kubeconfig }}
conntrack: {{ maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s }}
iptables: {{ minSyncPeriod: 100ms }}
",
        folder = folder.display(),
    )
}
