//! Kafka of the region: one KRaft node that is broker and controller. Topics are made by the services that write them
//! (`<service> migrate`), never by accident.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::process::{Health, Spec};
use super::{Stack, java};
use crate::os;
use crate::ports::Port;

/// A fixed id: a local stack has exactly one cluster, and a node refuses the data of another id.
const CLUSTER_ID: &str = "ShopSphereLocalKafka1A";

/// The server's process. `jars` is the folder `provision::maven::kafka` gave.
///
/// # Errors
/// When configuration cannot be written.
pub fn spec(stack: &Stack, jars: &Path) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("kafka", account.as_ref())?;
    let port = stack.ports.of(Port::Kafka);
    let mut listens = vec![port, stack.ports.of(Port::KafkaController)];
    if stack.kafka_elsewhere.is_some() {
        listens.push(stack.ports.of(Port::KafkaElsewhere));
    }
    let properties = properties(stack, &folder);
    let file = stack.layout.write_config("kafka.properties", &properties, account.as_ref())?;
    let logging = stack.layout.write_config("kafka-log4j2.properties", LOGGING, account.as_ref())?;
    let mut args: Vec<String> =
        ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"]
            .map(str::to_owned)
            .to_vec();
    args.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
    args.extend([
        "-cp".to_owned(),
        format!("{}/*", jars.display()),
        "kafka.Kafka".to_owned(),
        file.to_string_lossy().into_owned(),
    ]);
    Ok(Spec {
        name: "kafka".to_owned(),
        role: "server",
        program: java::program()?,
        args,
        env: vec![("HOME".to_owned(), folder.to_string_lossy().into_owned())],
        folder,
        account,
        ports: listens,
        health: Health::Kafka(port),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(20),
        ready_within: Duration::from_secs(300),
        ours: false,
        depends_on: properties,
    })
}

/// Writes the identity of the node into its log folder unless it is there.
///
/// # Errors
/// When Kafka's own tool refuses.
pub fn format(stack: &Stack, jars: &Path) -> Result<()> {
    let spec = spec(stack, jars)?;
    if log_folder(&spec.folder).join("meta.properties").is_file() {
        return Ok(());
    }
    let mut format = Command::new(&spec.program);
    format
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
        .arg(format!("{}/*", jars.display()));
    format.args(["kafka.tools.StorageTool", "format", "--ignore-formatted", "--standalone", "-t", CLUSTER_ID, "-c"]);
    format.arg(stack.layout.state.join("config/kafka.properties")).current_dir(&spec.folder);
    if let Some(account) = &spec.account {
        use std::os::unix::process::CommandExt;
        format.uid(account.uid).gid(account.gid);
    }
    os::run("format kafka", &mut format, &stack.layout.log("setup-kafka"))
}

fn log_folder(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn properties(stack: &Stack, folder: &Path) -> String {
    let (broker, controller) = (stack.ports.address(Port::Kafka), stack.ports.address(Port::KafkaController));
    let listener = |address: &str| format!(",ELSEWHERE://{address}");
    let elsewhere = stack.kafka_elsewhere.as_deref().map(listener).unwrap_or_default();
    let (here, spoken) = match stack.kafka_elsewhere {
        Some(_) => (listener(&stack.ports.address(Port::KafkaElsewhere)), ",ELSEWHERE:PLAINTEXT"),
        None => (String::new(), ""),
    };
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={controller}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}{here}
advertised.listeners=PLAINTEXT://{broker},CONTROLLER://{controller}{elsewhere}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{spoken}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={log}
# a misspelt topic is an error, not a new topic
auto.create.topics.enable=false
# one node: internal topics cannot have replicas, and need few partitions
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
# a consumer that is alone need not wait for others
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# after kill -9 the controller waits for the old session to end before the restarted broker may serve
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
num.network.threads=2
num.io.threads=4
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=33554432
",
        log = log_folder(folder).display(),
    )
}

/// No Kafka artifact brings a logging configuration, and without one nothing is said at all.
const LOGGING: &str = "status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%n
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = OUT
";
