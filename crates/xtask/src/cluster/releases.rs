//! A site under helm's hands: each layer installed, changed, taken back and removed, and what must be so after each. Decided here: an
//! upgrade of our services is a new tag of their images and changes no number of replicas, because that is the scaler's.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::kubectl::{Kubectl, until};
use super::played;
use crate::deploy::objects::Rendered;
use crate::deploy::{Layer, helm};

/// Pods of a site on two busy cores, all at once.
pub const PODS: Duration = Duration::from_secs(180);
/// One layer, its jobs and its pods; a rolling update replaces pods one after the other.
const LAYER: Duration = Duration::from_secs(240);
/// The last old pods after helm is done.
const OLD_PODS: Duration = Duration::from_secs(60);
/// The release after the one that is installed; the tag of no image, which played nodes do not mind.
pub const NEXT: &str = "0.0.0-next";

/// One site, its charts, and the cluster it goes to.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub kubectl: &'a Kubectl,
    pub root: &'a Path,
    pub rendered: &'a Rendered,
    pub layers: &'static [Layer],
}

impl Place<'_> {
    pub fn site(&self) -> &str {
        &self.rendered.site
    }

    /// Installs one layer and waits for it.
    ///
    /// # Errors
    /// What helm says.
    pub fn install(&self, layer: &Layer) -> Result<()> {
        let mut command = Command::new("helm");
        command.args(["install", layer.name, "--wait"]);
        self.helm(helm::arguments(&mut command, self.root, self.site(), layer))
            .with_context(|| format!("install {}", layer.name))
    }

    /// The same charts and values again; our services with new images.
    ///
    /// # Errors
    /// What helm says.
    pub fn upgrade(&self, layer: &Layer) -> Result<()> {
        let mut command = Command::new("helm");
        command.args(["upgrade", layer.name, "--wait"]);
        if has_services(layer) {
            command.args(["--set-string", &format!("global.image.tag={NEXT}")]);
        }
        self.helm(helm::arguments(&mut command, self.root, self.site(), layer))
            .with_context(|| format!("upgrade {}", layer.name))
    }

    /// Back to what was installed first.
    ///
    /// # Errors
    /// What helm says.
    pub fn rollback(&self, layer: &Layer) -> Result<()> {
        let mut command = Command::new("helm");
        command.args(["rollback", layer.name, "1", "--wait", "--namespace", layer.namespace()]);
        self.helm(&command).with_context(|| format!("roll back {}", layer.name))
    }

    /// Removes one layer and waits until its objects are gone.
    ///
    /// # Errors
    /// What helm says.
    pub fn uninstall(&self, layer: &Layer) -> Result<()> {
        let mut command = Command::new("helm");
        command.args(["uninstall", layer.name, "--wait", "--namespace", layer.namespace()]);
        self.helm(&command).with_context(|| format!("uninstall {}", layer.name))
    }

    /// Removes whatever is there, after something went wrong. Says nothing: what could not be removed is seen by who looks for leftovers.
    pub fn sweep(&self) {
        for layer in self.layers.iter().rev() {
            let _ = self.uninstall(layer);
        }
        let namespaces = ["delete", "namespace", "-l", "app.kubernetes.io/part-of=shopsphere", "--ignore-not-found"];
        let _ = self.kubectl.run_within(&[&namespaces[..], &["--timeout=60s"]].concat(), LAYER);
    }

    fn helm(&self, command: &Command) -> Result<()> {
        self.kubectl.helm(command, LAYER).map(|_| ())
    }

    /// Our Deployments come to run what `tag` names (`None`: what is rendered), as many of each as the scaler wants, and nothing else: helm
    /// is content as soon as the new pods are there, while an old one may still be on its way out.
    ///
    /// # Errors
    /// Naming the first Deployment that does not.
    pub fn comes_to_run(&self, tag: Option<&str>) -> Result<usize> {
        until("Deployments that run what was asked for", OLD_PODS, || self.runs(tag))
    }

    /// As [`Self::comes_to_run`], at this moment.
    ///
    /// # Errors
    /// Naming the first Deployment that does not.
    pub fn runs(&self, tag: Option<&str>) -> Result<usize> {
        let wanted = played::replicas(self.rendered);
        let deployments = self.rendered.objects.iter().filter(|object| object.kind() == "Deployment");
        let mut count = 0;
        for object in deployments.filter(|object| object.layer == "shopsphere") {
            let found = self.kubectl.json(&["-n", object.namespace(), "get", "deployment", object.name()])?;
            let rendered = object.containers().next().and_then(|container| container["image"].as_str());
            let rendered = rendered.with_context(|| format!("{} has no image", object.name()))?;
            let image = match (tag, rendered.rsplit_once(':')) {
                (Some(tag), Some((name, _))) => format!("{name}:{tag}"),
                _ => rendered.to_owned(),
            };
            let replicas = wanted.iter().find(|(_, name, _)| name == object.name()).map(|(_, _, replicas)| *replicas);
            complete(&found, &image, replicas)?;
            count += 1;
        }
        Ok(count)
    }
}

/// The layer that has our own programs.
pub fn has_services(layer: &Layer) -> bool {
    layer.name == "shopsphere"
}

/// A Deployment has `image`, as many replicas as were wanted, and all of them are the new ones.
fn complete(found: &Value, image: &str, replicas: Option<u64>) -> Result<()> {
    let name = found["metadata"]["name"].as_str().unwrap_or_default();
    let runs = found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    ensure!(runs == image, "{name} runs {runs}, not {image}");
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let wants = number(&found["spec"]["replicas"]);
    if let Some(replicas) = replicas
        && wants != replicas
    {
        bail!("{name} was given {wants} replicas by its chart; the scaler had said {replicas}");
    }
    let status = &found["status"];
    ensure!(status["observedGeneration"] == found["metadata"]["generation"], "{name} was not looked at");
    let (updated, available) = (number(&status["updatedReplicas"]), number(&status["availableReplicas"]));
    ensure!(updated == wants && available == wants, "{name}: {updated} new and {available} available of {wants}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> Value {
        json!({
            "metadata": {"name": "user-serve", "generation": 3},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": "r/user:2"}]}}},
            "status": {"observedGeneration": 3, "updatedReplicas": 3, "availableReplicas": 3},
        })
    }

    #[test]
    fn an_upgrade_that_is_not_there_or_takes_the_scalers_number_is_seen() {
        assert!(complete(&deployment(), "r/user:2", Some(3)).is_ok());
        let refused = |change: fn(&mut Value), image: &str, words: &str| {
            let mut found = deployment();
            change(&mut found);
            let error = complete(&found, image, Some(3)).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(|_| {}, "r/user:1", "user-serve runs r/user:2, not r/user:1");
        refused(|found| found["spec"]["replicas"] = json!(1), "r/user:2", "given 1 replicas by its chart");
        refused(|found| found["status"]["updatedReplicas"] = json!(2), "r/user:2", "2 new");
        refused(|found| found["metadata"]["generation"] = json!(4), "r/user:2", "not looked at");
    }
}
