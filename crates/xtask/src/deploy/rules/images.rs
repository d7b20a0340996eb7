//! Images of ours: what a site runs is what the Dockerfile builds and what the build script weighs and lists.

use std::fs;

use super::{Case, Refusal};

const DOCKERFILE: &str = "Dockerfile";
const SCRIPT: &str = "deploy/images/build";

/// Every program that an object names is built, and is among those that get a bill of materials.
pub fn built(case: &Case<'_>) -> Vec<Refusal> {
    let read = |path: &str| fs::read_to_string(case.root.join(path)).unwrap_or_default();
    let (dockerfile, script) = (read(DOCKERFILE), read(SCRIPT));
    let of_clusters = script.lines().find_map(|line| line.strip_prefix("services=(")?.strip_suffix(')'));
    let registry = format!("registry.{}/core/", case.topology().domain);
    let mut refused = Vec::new();
    for object in case.objects() {
        let images = object.texts().into_iter().filter(|(path, _)| path.ends_with(".image"));
        for name in images.filter_map(|(_, image)| image.strip_prefix(registry.as_str())?.split([':', '@']).next()) {
            if !dockerfile.split_whitespace().any(|word| word == name) {
                refused.push(case.refuse("images-built", object, format!("{DOCKERFILE} builds no {name}")));
            }
            if !of_clusters.is_some_and(|names| names.split(' ').any(|one| one == name)) {
                refused.push(case.refuse("images-built", object, format!("{SCRIPT} neither weighs nor lists {name}")));
            }
        }
    }
    refused
}
