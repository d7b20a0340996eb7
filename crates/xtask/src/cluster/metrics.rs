//! What pods take: metrics-server in the first of the throw-away machines, for the horizontal autoscaler and for us. Decided here: it
//! has a certificate and rights of its own and no others, and everybody on the way to it and from it is checked by the cluster's authority.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::kubectl::{Kubectl, until};
use super::machine::ADDRESS;
use super::node::{FRONT, Nodes, server};
use super::pki::Authority;
use crate::layout::Layout;
use crate::os;
use crate::provision::gomod;

const NAME: &str = "metrics-server";
const OBJECTS: &str = include_str!("machine/metrics-server.yaml");
/// The name that the API server asks its certificate for.
const SERVED: &str = "DNS:metrics-server.kube-system.svc";
/// The kubelet has the usual one.
const PORT: u16 = 4443;
/// Seconds between two looks at the kubelet: what its own manifests ask for, and clusters have.
pub const RESOLUTION: u32 = 15;
/// Seconds between two looks of the kubelet at a container.
pub const HOUSEKEEPING: u32 = 10;
/// Two looks, and the API server's at what it serves.
const READY: Duration = Duration::from_secs(180);
const USAGE: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/shopsphere/pods";

/// Starts it, unless it runs, and waits until it tells about the pods of these Deployments.
///
/// # Errors
/// When the region was started without a place for it, it cannot be built, or it does not tell.
pub fn start(layout: &Layout, nodes: &Nodes<'_>, deployments: &[&str]) -> Result<()> {
    let pki = Authority { folder: nodes.machine.folder.join("pki") };
    ensure!(
        pki.folder.join(FRONT).is_dir(),
        "this region was started by an older program; ./dev cluster down and up again"
    );
    let program = gomod::metrics_server(layout)?;
    let config = nodes.machine.folder.join(format!("{NAME}.kubeconfig"));
    if !config.is_file() {
        pki.sign(NAME, &format!("/CN={NAME}"), &[SERVED])?;
        fs::write(&config, pki.kubeconfig(NAME, &server())).with_context(|| format!("write {}", config.display()))?;
    }
    nodes.machine.start(NAME, &program, &arguments(&pki, &config), &[])?;
    let bundle = os::output(Command::new("openssl").args(["base64", "-A", "-in", &pki.path("ca.crt")]))?;
    let file = nodes.machine.folder.join(format!("{NAME}.yaml"));
    fs::write(&file, objects(bundle.trim())).with_context(|| format!("write {}", file.display()))?;
    nodes.kubectl.run(&["apply", "-f", &file.to_string_lossy()])?;
    until("what pods take", READY, || {
        for deployment in deployments {
            let found = usage(&nodes.kubectl, deployment)?;
            ensure!(!found.is_empty(), "nothing is told about {deployment}");
        }
        Ok(())
    })
}

fn arguments(pki: &Authority, config: &Path) -> Vec<String> {
    let config = config.display();
    vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        format!("--tls-cert-file={}", pki.path(&format!("{NAME}.crt"))),
        format!("--tls-private-key-file={}", pki.path(&format!("{NAME}.key"))),
        format!("--bind-address={ADDRESS}"),
        format!("--secure-port={PORT}"),
        format!("--kubelet-certificate-authority={}", pki.path("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--metric-resolution={RESOLUTION}s"),
    ]
}

fn objects(bundle: &str) -> String {
    OBJECTS.replace("@ADDRESS@", ADDRESS).replace("@PORT@", &PORT.to_string()).replace("@AUTHORITY@", bundle)
}

/// Thousandths of a processor that each pod of a Deployment takes; pods that are too young are not told.
///
/// # Errors
/// When the server does not answer, or in a way we do not know.
pub fn usage(kubectl: &Kubectl, deployment: &str) -> Result<Vec<f64>> {
    let text = kubectl.run(&["get", "--raw", USAGE])?;
    of_pods(&serde_json::from_str(&text).context("what pods take is no JSON")?, deployment)
}

fn of_pods(list: &Value, deployment: &str) -> Result<Vec<f64>> {
    let ours = format!("{deployment}-");
    let pods = list["items"].as_array().into_iter().flatten();
    let pods = pods.filter(|pod| pod["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(&ours)));
    pods.map(|pod| {
        let containers = pod["containers"].as_array().into_iter().flatten();
        let taken = containers.map(|container| {
            let said = container["usage"]["cpu"].as_str().unwrap_or_default();
            thousandths(said).with_context(|| format!("{said:?} is no part of a processor"))
        });
        taken.sum::<Result<f64>>()
    })
    .collect()
}

/// `1234567n`, `1234u`, `2m` and `1` as Kubernetes writes them.
fn thousandths(cpu: &str) -> Option<f64> {
    let (number, factor) = match cpu.chars().last()? {
        'n' => (cpu.trim_end_matches('n'), 1e-6),
        'u' => (cpu.trim_end_matches('u'), 1e-3),
        'm' => (cpu.trim_end_matches('m'), 1.0),
        _ => (cpu, 1e3),
    };
    Some(number.parse::<u64>().ok()? as f64 * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deploy::objects as rendered;

    #[test]
    fn what_pods_of_one_deployment_take_is_told_and_of_no_other() {
        let pod = |name: &str, cpu: &str| json!({"metadata": {"name": name}, "containers": [{"usage": {"cpu": cpu}}]});
        let list = json!({"items": [
            pod("catalog-serve-7d-a", "4000000n"), pod("catalog-serve-7d-b", "5000u"), pod("catalog-work-7d-a", "90m"),
        ]});
        let whole = |deployment: &str| -> Vec<String> {
            of_pods(&list, deployment).unwrap().iter().map(|taken| format!("{taken:.1}")).collect()
        };
        assert_eq!(whole("catalog-serve"), ["4.0", "5.0"]);
        assert_eq!(whole("catalog-work"), ["90.0"]);
        assert_eq!(whole("user-serve"), [""; 0]);
        // Planted: an answer of another form.
        assert!(of_pods(&json!({"items": [pod("user-serve-1", "a lot")]}), "user-serve").is_err());
    }

    #[test]
    fn it_is_believed_by_certificate_and_may_read_what_it_tells_and_change_nothing() {
        let arguments = arguments(&Authority { folder: "/pki".into() }, Path::new("/config"));
        assert!(arguments.iter().any(|argument| argument == "--kubelet-certificate-authority=/pki/ca.crt"));
        assert!(!arguments.iter().any(|argument| argument.contains("insecure")), "{arguments:?}");
        let objects = rendered::parse("metrics", &objects("QQ==")).unwrap();
        let of = |kind: &str| objects.iter().find(|object| object.kind() == kind).unwrap();
        let service = &of("APIService").value["spec"];
        assert_eq!(service["caBundle"], "QQ==");
        assert!(service["insecureSkipTLSVerify"].is_null());
        assert_eq!(of("EndpointSlice").value["ports"][0]["port"], PORT);
        assert_eq!(of("EndpointSlice").value["ports"][0]["name"], of("Service").value["spec"]["ports"][0]["name"]);
        assert_eq!(of("EndpointSlice").value["endpoints"][0]["addresses"][0], ADDRESS);
        let rules = of("ClusterRole").value["rules"].as_array().unwrap();
        let mut verbs = rules.iter().flat_map(|rule| rule["verbs"].as_array().unwrap());
        assert!(verbs.all(|verb| ["get", "list", "watch"].contains(&verb.as_str().unwrap())));
        let subjects: Vec<_> = objects
            .iter()
            .filter(|object| object.kind().ends_with("Binding"))
            .map(|one| &one.value["subjects"])
            .collect();
        let alone = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": NAME}]);
        assert!(subjects.len() == 3 && subjects.iter().all(|subject| **subject == alone), "{subjects:?}");
    }
}
