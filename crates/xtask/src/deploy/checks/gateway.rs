//! HAProxy's configuration, read by HAProxy: the one that `./dev up` fills, and the one that docker-compose.yml fills from the same
//! template by its own script, which fills the realm too. Decided here: a warning is a mistake, and so is a mark that nobody filled.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{ask, work_in};
use crate::os;
use crate::stack::{Stack, haproxy, keycloak};

/// Both configurations.
///
/// # Errors
/// With HAProxy's own words, which name the line.
pub fn check(stack: &Stack) -> Result<String> {
    work_in(&stack.layout, "gateway", |folder| {
        parsed(&folder.join("local.cfg"), &haproxy::configuration(stack, 1)?)?;
        parsed(&folder.join("compose.cfg"), &composed(&stack.layout.checkout, folder)?)?;
        Ok("2 configurations from one template".to_owned())
    })
}

/// Shows a configuration to HAProxy.
///
/// # Errors
/// When it has a mistake, a warning, or a mark.
pub fn parsed(file: &Path, text: &str) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(mark) = unfilled(text) {
        bail!("{name}: nobody filled @{mark}@");
    }
    let program = os::which("haproxy").context("haproxy is missing; it is a Debian package of that name")?;
    fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    // -dW: a warning ends it as an error does
    ask(Command::new(program).args(["-c", "-dW", "-f"]).arg(file)).with_context(|| format!("{name} is refused"))?;
    Ok(())
}

/// A name in capitals between two at-signs.
fn unfilled(text: &str) -> Option<&str> {
    let name = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .find_map(|line| line.split('@').skip(1).step_by(2).find(name))
}

/// A key to check with: HAProxy reads the files of keys with its configuration. Nobody has the other half of it.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEnks4yQHDih+7YriPxbhm37+gOdS7\nG9QXLk8M5dWbXrAfl14/Eg81PPWLLR4pTRgc5nItsaC4B9ynk8nkYBI37Q==\n-----END PUBLIC KEY-----\n";

/// What the scripts of docker-compose.yml make of the template, with every server on this machine: names are resolved when HAProxy reads
/// them, and a network of containers there is not.
fn composed(root: &Path, folder: &Path) -> Result<String> {
    let file = root.join("docker-compose.yml");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let compose: Value = serde_yaml_ng::from_str(&text).context("docker-compose.yml is not YAML")?;
    let content = |name: &str| {
        compose["configs"][name]["content"].as_str().with_context(|| format!("docker-compose.yml has no config {name}"))
    };
    let mut backends = content("backends")?.to_owned();
    for (service, _, _, _) in haproxy::BACKENDS {
        backends = backends.replace(&format!(" {service}:"), " 127.0.0.1:");
    }
    fs::write(folder.join("backends"), backends)?;
    let here = folder.display();
    let run = |name: &str| -> Result<()> {
        let script = content(name)?
            .replace("${EDGE_PORT}", "8080")
            .replace("$$", "$")
            .replace("/deploy/", &format!("{}/deploy/", root.display()))
            .replace("/rendered", &format!("{here}/rendered"))
            .replace("/backends", &format!("{here}/backends"));
        // the program of the second has put its keys there
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).env("PROGRAM", "true").env("KEYS", "");
        ask(&mut shell).with_context(|| format!("the script {name} of docker-compose.yml")).map(|_| ())
    };
    let keys = folder.join("rendered/edge/keys");
    fs::create_dir_all(&keys)?;
    // ids are base64url: one may begin as an option does
    for id in ["one", "two-2_B", "-3"] {
        fs::write(keys.join(format!("{id}.pem")), KEY)?;
    }
    run("render")?;
    let realm = folder.join("rendered/shopsphere-eu.json");
    let realm = fs::read_to_string(&realm).with_context(|| format!("read {}", realm.display()))?;
    let same = realm == keycloak::render_realm("eu", "http://127.0.0.1:8080");
    ensure!(same, "the realm that docker-compose.yml makes is not that of `./dev up`");
    run("edge_keys")?;
    let filled = folder.join("rendered/edge/haproxy.cfg");
    let text = fs::read_to_string(&filled).with_context(|| format!("read {}", filled.display()))?;
    ensure!(text.matches("jwt_verify(").count() == 3, "docker-compose.yml makes no line of each key");
    Ok(text.replace("edge-tracer:", "127.0.0.1:"))
}
