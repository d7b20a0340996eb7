//! A region in the cluster: our services as pods from our charts, its stores running natively beside it. Decided here: what stands for the
//! operators that are not there (services without pods, secrets with the local passwords) and which settings differ from production for
//! it. The charts are the same, with the values of the environment `local` and of the region's primary site.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::machine::{ADDRESS, FIRST, SECOND};
use super::node::Nodes;
use super::{crds, images, played};
use crate::deploy::{Layer, SERVING, helm, objects};
use crate::layout::own;
use crate::ports::Port;
use crate::stack::services::{self, GATEWAY_KEY, SERVICES, Service, WEBHOOK_SECRET};
use crate::stack::{Stack, keycloak};

const ENVIRONMENT: &str = "local";
const DATA: &str = "shopsphere-data";
/// The namespace of the services, and the name of their release.
pub const APPS: &str = "shopsphere";
/// Scalers of Kubernetes' own; by this name in full, or another API group might be meant.
pub const SCALERS: &str = "horizontalpodautoscalers.v2.autoscaling";
/// Thousandths of a processor that each pod asks for.
pub const CPU_M: u32 = 20;
/// Migrations, and sixteen pods on two cores that the stores need too.
const RELEASE: Duration = Duration::from_secs(420);
/// A release that may be bad: for each migration, for its pods and for those of the roll-back. Pods that are not ready by then are not coming.
const TRIED: Duration = Duration::from_secs(150);
/// Four migrations, the wait and the roll-back.
const TRIED_PARTS: u32 = 6;

/// Pods of each Deployment: one for each node.
const REPLICAS: &str = "--replicas=2";

/// A store as pods know it: name in the namespace of the stores, port there, and the listener here.
pub const STORES: &[(&str, u16, Port)] = &[
    ("postgres", 5432, Port::Postgres),
    ("redis", 6379, Port::Redis),
    ("kafka-kafka-bootstrap", 9093, Port::KafkaElsewhere),
    ("search-es-http", 9200, Port::Elasticsearch),
    ("keycloak-service", 8080, Port::Keycloak),
    ("catalog-rs0", 27017, Port::Ferretdb),
    ("payment-simulator", 8140, Port::PaymentSimulator),
];

/// What Kafka tells pods about where it is.
pub fn kafka_for_pods() -> String {
    format!("kafka-kafka-bootstrap.{DATA}.svc:9093")
}

/// A region on its nodes.
pub struct Region<'a> {
    pub stack: &'a Stack,
    pub nodes: &'a Nodes<'a>,
    /// Where what is made for it lies.
    pub folder: PathBuf,
}

impl Region<'_> {
    /// Makes images, namespaces and what stands for operators, and installs or upgrades the services. Waits until pods are ready.
    ///
    /// # Errors
    /// When a program is not built, the server or helm refuses something, or a pod does not become ready.
    pub fn install(&self) -> Result<()> {
        let tags = self.images()?;
        let checkout = &self.stack.layout.checkout;
        let sites = objects::read(checkout)?;
        let kinds = crds::definitions(&checkout.join("../shared/schemas/crds"), &crds::kinds(&sites))?;
        self.apply("definitions", &kinds.objects)?;
        self.helm(layer("cluster")?, &json!({"balloon": {"replicas": 0, "standbyReplicas": 0}}))?;
        self.apply("stores", &stores())?;
        self.apply("secrets", &self.secrets()?)?;
        let own_site = sites.iter().find(|rendered| rendered.site == self.stack.region.site);
        let shared = self.shared()?;
        let volumes = own_site.map(|rendered| played::volumes(rendered, &shared.to_string_lossy())).unwrap_or_default();
        self.apply("volumes", &volumes)?;
        self.helm(layer("shopsphere")?, &self.values(&tags)?)?;
        self.scale()
    }

    /// Plays the scaler, whose operator is not there: so many of each that one can go while another serves.
    fn scale(&self) -> Result<()> {
        let kubectl = &self.nodes.kubectl;
        // what a drill or a step of load has left that was interrupted
        kubectl.run(&["uncordon", FIRST.node, SECOND.node])?;
        kubectl.run(&["-n", APPS, "delete", SCALERS, "--all"])?;
        let roles =
            SERVICES.iter().flat_map(|service| ["serve", "work"].map(|role| format!("{}-{role}", service.name)));
        let names: Vec<_> = roles.map(|name| format!("deployment/{name}")).collect();
        let mut scale: Vec<&str> = vec!["-n", APPS, "scale", REPLICAS];
        scale.extend(names.iter().map(String::as_str));
        kubectl.run(&scale)?;
        let limit = format!("--timeout={}s", RELEASE.as_secs());
        for name in &names {
            let wait = ["-n", APPS, "rollout", "status", name, &limit];
            kubectl.run_within(&wait, RELEASE).with_context(|| format!("pods of {name}"))?;
        }
        Ok(())
    }

    /// Addresses of a service in the cluster: HTTP and admin.
    ///
    /// # Errors
    /// When the service is not there.
    pub fn addresses(&self, service: &Service) -> Result<(String, String)> {
        let found = self.nodes.kubectl.json(&["-n", APPS, "get", "service", service.name])?;
        let address = found["spec"]["clusterIP"].as_str().context("a service has an address")?.to_owned();
        let port = |name: &str| {
            let ports = found["spec"]["ports"].as_array().into_iter().flatten();
            ports.clone().find(|port| port["name"] == name).and_then(|port| port["port"].as_u64())
        };
        let (http, admin) = (port("http").context("no port http")?, port("admin").context("no port admin")?);
        Ok((format!("{address}:{http}"), format!("{address}:{admin}")))
    }

    fn images(&self) -> Result<BTreeMap<&'static str, String>> {
        let mut tags = BTreeMap::new();
        let mut files = Vec::new();
        for service in SERVICES {
            let program = self.stack.layout.binaries(true).join(service.name);
            let made = images::of_program(&program, &format!("localhost/shopsphere/{}", service.name), &self.folder)?;
            files.push(made.file);
            tags.insert(service.name, made.tag);
        }
        self.nodes.import(&files)?;
        Ok(tags)
    }

    fn apply(&self, name: &str, objects: &[Value]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let apply = ["apply", "--server-side", "--force-conflicts"];
        self.nodes.kubectl.fed(&apply, name, objects).map(|_| ()).with_context(|| format!("apply {name}"))
    }

    fn helm(&self, layer: &Layer, values: &Value) -> Result<()> {
        write(&self.values_of(layer), values)?;
        let mut command = self.upgrade(layer);
        command.args(["--install", "--wait"]);
        self.nodes.kubectl.helm(&command, RELEASE).map(|_| ()).with_context(|| format!("install {}", layer.name))
    }

    /// The services as they were installed last, with `changed` laid over their values. Helm takes it back by itself when it fails.
    ///
    /// # Errors
    /// What helm says when it has failed, also when it could not take it back.
    pub fn try_release(&self, changed: &Value) -> Result<()> {
        let layer = layer("shopsphere")?;
        let file = self.folder.join("tried-values.yaml");
        write(&file, changed)?;
        let mut command = self.upgrade(layer);
        command.arg("--values").arg(&file).arg("--atomic");
        self.nodes.kubectl.helm_in_parts(&command, TRIED, TRIED * TRIED_PARTS).map(|_| ())
    }

    /// An upgrade to the charts and to what was written down as their values.
    fn upgrade(&self, layer: &Layer) -> Command {
        let mut command = Command::new("helm");
        command.args(["upgrade", layer.name]);
        helm::arguments_in(&mut command, &self.stack.layout.checkout, ENVIRONMENT, &self.stack.region.site, layer);
        command.arg("--values").arg(self.values_of(layer));
        command
    }

    fn values_of(&self, layer: &Layer) -> PathBuf {
        self.folder.join(format!("{}-values.yaml", layer.name))
    }

    /// The folder that pods of the catalog share.
    fn shared(&self) -> Result<PathBuf> {
        let folder = self.nodes.machine.folder.join("shared");
        fs::create_dir_all(&folder)?;
        // the account of the pods is none of this machine
        own(&folder, None, 0o777)?;
        Ok(folder)
    }

    /// What the operator of External Secrets would make: for each service the settings that its chart calls secret.
    fn secrets(&self) -> Result<Vec<Value>> {
        let mut secrets = vec![secret("kafka-ca", &[("ca.crt", String::new())])];
        for service in SERVICES {
            let chart = self.stack.layout.checkout.join("deploy/helm/services").join(service.name);
            let values = yaml(&chart.join("values.yaml"))?;
            for (list, ending) in [("secretSettings", "secrets"), ("migrateSecretSettings", "owner")] {
                let keys = values[list].as_array().into_iter().flatten().filter_map(Value::as_str);
                let rows: Vec<_> = keys.map(|key| (variable(key), self.secret_setting(service, key))).collect();
                let rows: Vec<_> = rows.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
                secrets.push(secret(&format!("{}-{ending}", service.name), &rows));
            }
            let certificate = [("user.crt", String::new()), ("user.key", String::new())];
            secrets.push(secret(&format!("{}-kafka", service.name), &certificate));
        }
        Ok(secrets)
    }

    /// The value of a secret setting; empty for those that a local region does without.
    fn secret_setting(&self, service: &Service, key: &str) -> String {
        let database = |role: &str| {
            let name = service.database.unwrap_or_default();
            format!("postgres://{name}_{role}:{name}_{role}@postgres.{DATA}.svc:5432/{name}")
        };
        let region = &self.stack.region.code;
        match key {
            "database.url" => database("app"),
            "database.owner_url" => database("owner"),
            "mongo.url" => format!("mongodb://catalog-rs0.{DATA}.svc:27017/?directConnection=true"),
            "mongo.ferretdb_postgres_url" => {
                format!("postgres://ferretdb_owner:ferretdb_owner@postgres.{DATA}.svc:5432/ferretdb")
            }
            "elasticsearch.url" => format!("http://search-es-http.{DATA}.svc:9200"),
            "pseudonym.key" => format!("local-pseudonym-key-{region}"),
            "prices.lock_key" => format!("local-price-lock-key-{region}"),
            "keycloak.client_secret" => keycloak::LOGIN_CLIENT_SECRET.to_owned(),
            "keycloak.admin_client_secret" => keycloak::ADMIN_CLIENT_SECRET.to_owned(),
            "gateway.api_key" => GATEWAY_KEY.to_owned(),
            "gateway.webhook_secret" => WEBHOOK_SECRET.to_owned(),
            _ => String::new(),
        }
    }

    /// What differs from a region of production besides the environment: one small machine, stores without certificates, an issuer and a
    /// gateway of our own.
    fn values(&self, tags: &BTreeMap<&'static str, String>) -> Result<Value> {
        let ports = self.stack.ports;
        let issuer = format!("{}/realms/{}", ports.url(Port::Keycloak), self.stack.realm());
        let gateway = format!("http://payment-simulator.{DATA}.svc:8140");
        let mut settings = vec![
            ("site.public_url", json!(ports.url(Port::Edge))),
            ("auth.issuer", json!(issuer)),
            ("kafka.replication", json!(1)),
            ("kafka.tls.ca_file", json!("")),
            ("kafka.tls.certificate_file", json!("")),
            ("kafka.tls.key_file", json!("")),
            ("gateway.base_url", json!(gateway)),
            ("gateway.settlement_url", json!(format!("{gateway}/settlements"))),
            // nobody outside keeps copies of it
            ("cdn.purge_url", json!("")),
            // it would wait for a second data centre
            ("gate.slot", json!("")),
            ("telemetry.otlp_endpoint", json!("")),
            // cores that everybody shares, pods that start among them: a cold search server, and stores behind two passages
            ("mongo.read_deadline_ms", json!(2_500)),
            ("elasticsearch.search_deadline_ms", json!(3_000)),
            ("auth.session_deadline_ms", json!(2_000)),
        ];
        settings.extend(self.stack.most_declined.map(|most| ("card_testing.most_declined", json!(most))));
        let mut values = Map::new();
        for service in SERVICES {
            let chart = self.stack.layout.checkout.join("deploy/helm/services").join(service.name);
            let known = yaml(&chart.join("files/settings.yaml"))?;
            let own = settings.iter().filter(|(key, _)| known.get(key).is_some());
            let small = json!({"resources": {"requests": {"cpu": format!("{CPU_M}m")}}});
            values.insert(
                service.name.to_owned(),
                json!({
                    "image": {"tag": tags.get(service.name)},
                    "settings": nested(own),
                    "serve": small, "work": small, "migrate": small,
                }),
            );
        }
        Ok(Value::Object(values))
    }
}

fn layer(name: &str) -> Result<&'static Layer> {
    SERVING.iter().find(|layer| layer.name == name).context("there is no such layer")
}

fn write(file: &Path, values: &Value) -> Result<()> {
    fs::write(file, values.to_string()).with_context(|| format!("write {}", file.display()))
}

/// `a.b.c` stands as `c` in `b` in `a`.
fn nested<'s>(settings: impl Iterator<Item = &'s (&'s str, Value)>) -> Value {
    let mut root = json!({});
    for (key, value) in settings {
        let place = key.split('.').fold(&mut root, |place, part| &mut place[part]);
        *place = value.clone();
    }
    root
}

fn yaml(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_yaml_ng::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))
}

/// `http.port` is `SHOPSPHERE__HTTP__PORT`, as the charts have it.
fn variable(key: &str) -> String {
    format!("SHOPSPHERE__{}", key.to_uppercase().replace('.', "__"))
}

fn secret(name: &str, rows: &[(&str, String)]) -> Value {
    let data: Map<String, Value> = rows.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": APPS}, "stringData": data})
}

/// Services without pods: their endpoint is the node, where a passage leads to the listener of the store.
fn stores() -> Vec<Value> {
    let each = |(name, port, _): &(&str, u16, Port)| {
        let ports = json!([{"name": "store", "port": port, "protocol": "TCP"}]);
        [
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": DATA},
                "spec": {"ports": ports},
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": format!("{name}-native"), "namespace": DATA, "labels": {"kubernetes.io/service-name": name}},
                "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": true}}],
                "ports": ports,
            }),
        ]
    };
    STORES.iter().flat_map(each).collect()
}

/// Brings keys to the edge and fills the shop, once pods answer.
///
/// # Errors
/// When the edge does not start or the demo program fails.
pub fn open(stack: &Stack) -> Result<()> {
    services::edge_keys(stack)?;
    stack.start("haproxy")?;
    if services::is_seeded(stack) { Ok(()) } else { services::seed(stack) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::checkout;

    #[test]
    fn settings_stand_where_the_charts_look_for_them() {
        let settings = [("kafka.replication", json!(1)), ("kafka.tls.ca_file", json!("")), ("gate.slot", json!(""))];
        assert_eq!(
            nested(settings.iter()),
            json!({"kafka": {"replication": 1, "tls": {"ca_file": ""}}, "gate": {"slot": ""}})
        );
    }

    #[test]
    fn a_store_is_a_service_whose_only_endpoint_is_the_node() {
        let objects = stores();
        assert_eq!(objects.len(), 2 * STORES.len());
        for pair in objects.chunks(2) {
            assert_eq!(pair[0]["metadata"]["name"], pair[1]["metadata"]["labels"]["kubernetes.io/service-name"]);
            assert!(pair[0]["spec"]["selector"].is_null());
            assert_eq!(pair[1]["endpoints"][0]["addresses"][0], ADDRESS);
        }
    }

    /// The data chart's names, so that a service that is renamed there is missed here.
    #[test]
    fn stores_are_called_as_the_charts_call_them() {
        let library =
            fs::read_to_string(checkout().join("deploy/helm/shopsphere-lib/templates/_settings.tpl")).unwrap();
        for name in ["kafka-kafka-bootstrap", "redis", "keycloak-service"] {
            assert!(
                STORES.iter().any(|(store, ..)| *store == name) && library.contains(&format!("{name}.%s.svc")),
                "{name}"
            );
        }
    }
}
