//! Everything that a cluster holds, so that before and after can be compared. Decided here: what comes and goes by itself (events, leases)
//! does not count, everything else does, whatever its kind.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::kubectl::Kubectl;

/// Written by the cluster about itself.
const COME_AND_GO: &[&str] = &["events", "leases.coordination.k8s.io", "events.events.k8s.io", "componentstatuses"];
/// How many of those that are left are named.
const NAMED: usize = 12;

/// Kind, namespace and name of every object.
///
/// # Errors
/// When the server does not say.
pub fn everything(kubectl: &Kubectl) -> Result<BTreeSet<String>> {
    let kinds = kubectl.run(&["api-resources", "--verbs=list", "-o", "name"])?;
    let kinds: Vec<_> = kinds.lines().map(str::trim).filter(|kind| !COME_AND_GO.contains(kind)).collect();
    let each = r#"jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}"#;
    let list = kubectl.run(&["get", &kinds.join(","), "-A", "--ignore-not-found", "-o", each])?;
    Ok(list.lines().map(|line| line.replace(" /", " ")).filter(|line| !line.trim().is_empty()).collect())
}

/// What was not there before.
///
/// # Errors
/// When there is any, naming it.
pub fn nothing_left(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Result<()> {
    let left: Vec<_> = now.difference(before).collect();
    if left.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = left.iter().take(NAMED).map(|object| object.as_str()).collect();
    let more = left.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    bail!("left behind: {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_release_leaves_behind_is_named_and_what_was_there_before_is_not() {
        let before = BTreeSet::from(["Namespace default".to_owned(), "Secret default/old".to_owned()]);
        assert!(nothing_left(&before, &before).is_ok());
        let mut after = before.clone();
        after.remove("Secret default/old");
        after.insert("Job shopsphere/user-migrate".to_owned());
        let error = nothing_left(&before, &after).expect_err("a job was left").to_string();
        assert_eq!(error, "left behind: Job shopsphere/user-migrate");
    }
}
