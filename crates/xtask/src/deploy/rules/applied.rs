//! Without helm a site is one folder and `kubectl apply -k`: its kustomization lists every file that lies there, and none that does not. A file
//! that nobody lists would be read in reviews and never applied.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::reach::list;
use super::{Case, Refusal};

const KUSTOMIZATION: &str = "kustomization.yaml";

pub fn applied(case: &Case<'_>) -> Vec<Refusal> {
    let folder = case.root.join("deploy/k8s/rendered").join(&case.rendered.site);
    let wrong = apart(&folder).unwrap_or_else(|error| vec![format!("{error:#}")]);
    wrong.into_iter().map(|why| case.lacks("applied", why)).collect()
}

/// In what the list of a folder and the folder differ.
fn apart(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join(KUSTOMIZATION);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let said: Value = serde_yaml_ng::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?;
    let listed: BTreeSet<String> = list(&said["resources"]).filter_map(Value::as_str).map(str::to_owned).collect();
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        there.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    there.remove(KUSTOMIZATION);
    let missing = listed.difference(&there).map(|name| format!("{KUSTOMIZATION} lists {name}, which is not there"));
    let left_out = there.difference(&listed).map(|name| format!("{KUSTOMIZATION} leaves out {name}"));
    Ok(missing.chain(left_out).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nobody_lists_and_one_that_is_not_there_are_refused() {
        let folder = std::env::temp_dir().join(format!("shopsphere-applied-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        assert!(apart(&folder).is_err(), "a folder that cannot be applied");
        fs::write(folder.join(KUSTOMIZATION), "kind: Kustomization\nresources:\n  - cluster.yaml\n  - edge.yaml\n")
            .unwrap();
        for file in ["cluster.yaml", "edge.yaml"] {
            fs::write(folder.join(file), "").unwrap();
        }
        assert_eq!(apart(&folder).unwrap(), Vec::<String>::new());
        fs::rename(folder.join("edge.yaml"), folder.join("old.yaml")).unwrap();
        let expected = ["lists edge.yaml, which is not there", "leaves out old.yaml"];
        assert_eq!(apart(&folder).unwrap(), expected.map(|why| format!("{KUSTOMIZATION} {why}")));
        fs::remove_dir_all(&folder).unwrap();
    }
}
