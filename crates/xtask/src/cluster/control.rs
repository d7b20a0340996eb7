//! The control plane: etcd, API server, controllers, scheduler, and the program that plays nodes. Decided here: it listens on loopback
//! ports of the table, begins empty each time, knows one account with a token made for this run, and is stopped in the reverse order,
//! whatever happened: the API server before its etcd, or it would not end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::kubectl::{Kubectl, until};
use super::played;
use super::tools::{self, Tools};
use crate::deploy::checks::Building;
use crate::layout::{self, Account, Layout, own};
use crate::os;
use crate::ports::{Port, Ports};
use crate::provision::debian;
use crate::stack::process::{self, Health, Spec};

/// What Kubernetes keeps for services; no network of a site.
const SERVICE_NETWORK: &str = "10.96.0.0/16";
/// The API server answers after three seconds on an idle machine.
const READY: Duration = Duration::from_secs(120);
/// Played nodes renew their leases late on a busy machine; a node that is thought lost would evict its pods in the middle of a check.
const NODE_GRACE: &str = "--node-monitor-grace-period=5m0s";
/// Controllers and scheduler ask as fast as they can: there is one small server and nobody else.
const QUICK: [&str; 2] = ["--kube-api-qps=300", "--kube-api-burst=600"];

/// A control plane that runs; it is stopped when this goes.
#[derive(Debug)]
pub struct ControlPlane {
    pub kubectl: Kubectl,
    layout: Layout,
}

/// Everything that a start needs.
struct Start<'a> {
    layout: &'a Layout,
    ports: Ports,
    tools: &'a Tools,
    account: Option<Account>,
    folder: PathBuf,
}

impl ControlPlane {
    /// Starts one from nothing, with its nodes, and waits until pods could be placed.
    ///
    /// # Errors
    /// When a program is missing or a server does not become ready; what was started is stopped.
    pub fn start(layout: &Layout, ports: Ports, tools: &Tools, building: Building) -> Result<ControlPlane> {
        stop(layout);
        let kwok = tools::kwok(layout, building)?;
        let account = layout::service_account()?;
        let data = layout.state.join("data");
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", data.display()));
            }
            _ => {}
        }
        let folder = layout.data("cluster", account.as_ref())?;
        let calls = layout.state.join("run").join("kubectl");
        fs::create_dir_all(&calls).with_context(|| format!("make {}", calls.display()))?;
        let config = layout.state.join("config").join("kubeconfig.yaml");
        let kubectl = Kubectl {
            kubectl: tools.kubectl.clone(),
            helm: tools.helm.clone(),
            config,
            folder: calls,
            way: Vec::new(),
        };
        // from here on an error stops what runs
        let plane = ControlPlane { kubectl, layout: layout.clone() };
        Start { layout, ports, tools, account, folder }.all(&plane.kubectl, kwok)?;
        Ok(plane)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        stop(&self.layout);
        let _ = fs::remove_dir_all(self.layout.state.join("data"));
    }
}

/// In the order of starting.
const PROCESSES: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"];

/// Stops what runs of a control plane, in the reverse order of starting.
pub fn stop(layout: &Layout) {
    for name in PROCESSES.iter().rev() {
        if let Some(record) = process::running(layout, name) {
            process::stop(layout, &record);
        }
    }
}

impl Start<'_> {
    fn all(&self, kubectl: &Kubectl, kwok: PathBuf) -> Result<()> {
        let account = self.account.as_ref();
        let token = token()?;
        let tokens =
            self.layout.write_config("tokens.csv", &format!("{token},admin,admin,system:masters\n"), account)?;
        self.layout.write_config("kubeconfig.yaml", &self.kubeconfig(&token), account)?;
        let stages = self.layout.write_config("stages.yaml", played::STAGES, account)?;
        let key = self.key()?;
        self.run(self.etcd())?;
        self.run(self.apiserver(&tokens.to_string_lossy(), &key.to_string_lossy()))?;
        until("the API server", READY, || kubectl.run(&["get", "--raw", "/readyz"]))?;
        let config = kubectl.config.to_string_lossy();
        let specs = [
            self.controllers(&config, &key.to_string_lossy()),
            self.scheduler(&config),
            self.kwok(kwok, &config, &stages.to_string_lossy()),
        ];
        for spec in &specs {
            spec.start(self.layout)?;
        }
        for spec in &specs {
            spec.wait_ready(self.layout)?;
        }
        kubectl.fed(&["create"], "nodes", &played::nodes())?;
        until("the nodes", READY, || played::all_ready(kubectl))
    }

    fn run(&self, spec: Spec) -> Result<()> {
        spec.start(self.layout)?;
        spec.wait_ready(self.layout)
    }

    fn spec(&self, name: &str, program: PathBuf, args: Vec<String>, ports: &[Port], health: Health) -> Spec {
        Spec {
            name: name.to_owned(),
            role: if name == "etcd" { "server" } else { "tool" },
            program,
            args,
            env: vec![("HOME".to_owned(), self.folder.display().to_string())],
            folder: self.folder.clone(),
            account: self.account.clone(),
            ports: ports.iter().map(|port| self.ports.of(*port)).collect(),
            health,
            stop: libc::SIGTERM,
            stop_within: Duration::from_secs(8),
            ready_within: READY,
            ours: false,
            depends_on: String::new(),
        }
    }

    fn etcd(&self) -> Spec {
        let (client, peer) = (self.ports.url(Port::Etcd), self.ports.url(Port::EtcdPeer));
        let args = vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".to_owned(),
            // all of it is thrown away
            "--unsafe-no-fsync".to_owned(),
        ];
        let health = Health::Http(vec![(self.ports.of(Port::Etcd), "/health".to_owned())]);
        self.spec("etcd", self.tools.etcd.clone(), args, &[Port::Etcd, Port::EtcdPeer], health)
    }

    fn apiserver(&self, tokens: &str, key: &str) -> Spec {
        let port = self.ports.of(Port::KubeApiserver);
        let mut args = vec![
            format!("--etcd-servers={}", self.ports.url(Port::Etcd)),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", self.certificates()),
            format!("--token-auth-file={tokens}"),
            format!("--service-account-key-file={key}.pub"),
            format!("--service-account-signing-key-file={key}"),
            format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
        ];
        args.extend(
            [
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                // a loopback address may be no endpoint of a service
                "--endpoint-reconciler-type=none",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--enable-priority-and-fairness=false",
                // as clusters are made: what refuses a pod that may become root is the policy of its namespace
                "--allow-privileged=true",
                "--profiling=false",
            ]
            .map(str::to_owned),
        );
        self.spec("kube-apiserver", self.tools.apiserver.clone(), args, &[Port::KubeApiserver], Health::Tcp(port))
    }

    fn controllers(&self, config: &str, key: &str) -> Spec {
        let mut args = self.client(config, Port::KubeControllerManager);
        args.extend([
            "--use-service-account-credentials=false".to_owned(),
            format!("--service-account-private-key-file={key}"),
            format!("--root-ca-file={}/apiserver.crt", self.certificates()),
            "--controllers=*,-bootstrap-signer-controller,-token-cleaner-controller".to_owned(),
            NODE_GRACE.to_owned(),
        ]);
        let health = Health::Tcp(self.ports.of(Port::KubeControllerManager));
        self.spec(
            "kube-controller-manager",
            self.tools.controllers.clone(),
            args,
            &[Port::KubeControllerManager],
            health,
        )
    }

    fn scheduler(&self, config: &str) -> Spec {
        let args = self.client(config, Port::KubeScheduler);
        let health = Health::Tcp(self.ports.of(Port::KubeScheduler));
        self.spec("kube-scheduler", self.tools.scheduler.clone(), args, &[Port::KubeScheduler], health)
    }

    /// What controllers and scheduler have in common.
    fn client(&self, config: &str, port: Port) -> Vec<String> {
        let mut args = vec![
            format!("--kubeconfig={config}"),
            format!("--authentication-kubeconfig={config}"),
            format!("--authorization-kubeconfig={config}"),
            format!("--secure-port={}", self.ports.of(port)),
            format!("--cert-dir={}", self.certificates()),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ];
        args.extend(QUICK.map(str::to_owned));
        args
    }

    fn kwok(&self, program: PathBuf, config: &str, stages: &str) -> Spec {
        let args = vec![
            format!("--kubeconfig={config}"),
            format!("--config={stages}"),
            format!("--cidr={}", played::POD_NETWORK),
            format!("--node-ip={}", played::NODE_ADDRESS),
            format!("--server-address={}", self.ports.address(Port::Kwok)),
            "--manage-all-nodes=false".to_owned(),
            // without a lease a node is thought lost as soon as its first word is too old, and its pods are never called ready again
            "--node-lease-duration-seconds=40".to_owned(),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
        ];
        let health = Health::Http(vec![(self.ports.of(Port::Kwok), "/healthz".to_owned())]);
        self.spec("kwok", program, args, &[Port::Kwok], health)
    }

    /// Self-signed ones, which the servers write by themselves.
    fn certificates(&self) -> String {
        self.folder.join("certificates").display().to_string()
    }

    fn kubeconfig(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: played, cluster: {{server: \"https://{}\", \
             insecure-skip-tls-verify: true}}}}]\nusers: [{{name: admin, user: {{token: {token}}}}}]\ncontexts: [{{name: \
             played, context: {{cluster: played, user: admin}}}}]\ncurrent-context: played\n",
            self.ports.address(Port::KubeApiserver)
        )
    }

    /// What tokens of service accounts are signed with.
    fn key(&self) -> Result<PathBuf> {
        let path = self.folder.join("service-accounts.key");
        if os::which("openssl").is_none() {
            debian::install(&["openssl"])?;
        }
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
        os::output(openssl.arg(&path))?;
        // The API server knows no public key in a private one of this form.
        let public = self.folder.join("service-accounts.key.pub");
        os::output(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&path).arg("-out").arg(&public))?;
        own(&public, self.account.as_ref(), 0o644)?;
        own(&path, self.account.as_ref(), 0o600)?;
        Ok(path)
    }
}

/// 128 bits from the system.
fn token() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
