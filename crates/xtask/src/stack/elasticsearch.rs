//! Elasticsearch of the region: one node for the search read model. It refuses to run as root and writes into its own folders only;
//! the program folder in the cache is shared and read-only.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::{Health, Spec};
use super::{Stack, java};
use crate::layout::own;
use crate::ports::Port;

/// The server's process. `home` is the folder `provision::maven::elasticsearch` gave.
///
/// # Errors
/// When configuration cannot be written.
pub fn spec(stack: &Stack, home: &Path) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("elasticsearch", account.as_ref())?;
    let port = stack.ports.of(Port::Elasticsearch);
    let settings = write_configuration(stack, home, &folder)?;
    let java = java::program()?;
    let (home_text, config) = (home.display().to_string(), folder.join("config").display().to_string());
    // The zip holds no start script, so this is the command of the script written out.
    let args = [
        "-Xms4m".to_owned(),
        "-Xmx64m".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-Dcli.name=server".to_owned(),
        format!("-Dcli.script={home_text}/bin/elasticsearch"),
        "-Dcli.libs=lib/tools/server-cli".to_owned(),
        format!("-Des.path.home={home_text}"),
        format!("-Des.path.conf={config}"),
        "-Des.distribution.type=tar".to_owned(),
        "-Des.java.type=JAVA_HOME".to_owned(),
        "-cp".to_owned(),
        format!("{home_text}/lib/*:{home_text}/lib/cli-launcher/*"),
        "org.elasticsearch.launcher.CliToolLauncher".to_owned(),
    ];
    let env = [
        ("ES_HOME", home_text),
        ("ES_PATH_CONF", config),
        ("ES_TMPDIR", folder.join("tmp").display().to_string()),
        ("LIBFFI_TMPDIR", folder.join("tmp").display().to_string()),
        ("ES_DISTRIBUTION_TYPE", "tar".to_owned()),
        ("JAVA_TYPE", "JAVA_HOME".to_owned()),
        ("JAVA_HOME", java::home()?.display().to_string()),
        ("HOME", folder.display().to_string()),
    ];
    Ok(Spec {
        name: "elasticsearch".to_owned(),
        role: "server",
        program: java,
        args: args.to_vec(),
        env: env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        // relative library paths of the launcher start at the program folder
        folder: home.to_owned(),
        account,
        ports: vec![port, stack.ports.of(Port::ElasticsearchTransport)],
        health: Health::Http(vec![(port, "/_cluster/health?wait_for_status=yellow&timeout=1s".to_owned())]),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(20),
        ready_within: Duration::from_secs(420),
        ours: false,
        depends_on: settings,
    })
}

fn write_configuration(stack: &Stack, home: &Path, folder: &Path) -> Result<String> {
    let account = stack.accounts.service.as_ref();
    let config = folder.join("config");
    for path in
        [folder.join("data"), folder.join("logs"), folder.join("tmp"), config.clone(), config.join("jvm.options.d")]
    {
        fs::create_dir_all(&path)?;
        own(&path, account, 0o700)?;
    }
    let write = |name: &str, text: &str| -> Result<()> {
        let path = config.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        own(&path, account, 0o600)
    };
    let read = |name: &str| {
        fs::read_to_string(home.join("config").join(name)).with_context(|| format!("read {name} of elasticsearch"))
    };
    let logs = folder.join("logs").display().to_string();
    let options = read("jvm.options")?
        .replace("logs/", &format!("{logs}/"))
        .replace("=data\n", &format!("={}\n", folder.join("data").display()));
    write("jvm.options", &options)?;
    write("log4j2.properties", &read("log4j2.properties")?)?;
    write("jvm.options.d/heap.options", "-Xms512m\n-Xmx512m\n")?;
    let settings = format!(
        "cluster.name: shopsphere-{offset}
node.name: local
path.data: {data}
path.logs: {logs}
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
discovery.type: single-node
# a local node speaks to us only, on the loopback address
xpack.security.enabled: false
# a full disk of a developer must not turn the shop read-only
cluster.routing.allocation.disk.threshold_enabled: false
# a misspelt index is an error, not a new index
action.auto_create_index: false
",
        offset = stack.ports.offset(),
        data = folder.join("data").display(),
        http = stack.ports.of(Port::Elasticsearch),
        transport = stack.ports.of(Port::ElasticsearchTransport),
    );
    write("elasticsearch.yml", &settings)?;
    Ok(settings)
}
