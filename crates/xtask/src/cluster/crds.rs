//! The definitions of the operators' kinds, made from schemas. Decided here: how a schema that stands alone becomes the structural schema
//! of a CustomResourceDefinition, so that a real API server judges our objects as it would with the operators there. A kind whose schema
//! is not at hand gets a definition that takes everything, and that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::deploy::checks::schemas::is_native;
use crate::deploy::objects::Rendered;

/// What our objects say of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    pub group: String,
    pub kind: String,
    pub namespaced: bool,
}

/// Definitions, and the kinds that have no schema.
#[derive(Debug, Default)]
pub struct Definitions {
    pub objects: Vec<Value>,
    pub open: Vec<String>,
}

/// The operators' kinds that our objects are of, each with its versions.
pub fn kinds(sites: &[Rendered]) -> BTreeMap<Kind, BTreeSet<String>> {
    let mut kinds: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    for object in sites.iter().flat_map(|rendered| &rendered.objects).filter(|object| !is_native(object)) {
        let api = object.value["apiVersion"].as_str().unwrap_or_default();
        let Some((group, version)) = api.split_once('/') else { continue };
        let kind = Kind {
            group: group.to_owned(),
            kind: object.kind().to_owned(),
            namespaced: !object.namespace().is_empty(),
        };
        kinds.entry(kind).or_default().insert(version.to_owned());
    }
    kinds
}

/// A definition for each kind, from the schemas of a folder: `<group>/<kind in lower case>_<version>.json`.
///
/// # Errors
/// When a schema that is there cannot be read.
pub fn definitions(folder: &Path, kinds: &BTreeMap<Kind, BTreeSet<String>>) -> Result<Definitions> {
    let mut made = Definitions::default();
    for (kind, versions) in kinds {
        let mut rows = Vec::new();
        for version in versions {
            let path = folder.join(&kind.group).join(format!("{}_{version}.json", kind.kind.to_lowercase()));
            let schema = if path.is_file() {
                let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                let found = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
                structural(found)
            } else {
                made.open.push(format!("{} {version}", kind.kind));
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
            };
            // the first is as good as any: objects of one version are all there ever are
            let storage = rows.is_empty();
            rows.push(
                json!({"name": version, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}}),
            );
        }
        made.objects.push(definition(kind, rows));
    }
    Ok(made)
}

fn definition(kind: &Kind, versions: Vec<Value>) -> Value {
    let singular = kind.kind.to_lowercase();
    let plural = plural(&singular);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{}", kind.group),
            // groups of Kubernetes' own community want a word about who approved them
            "annotations": {"api-approved.kubernetes.io": "unapproved, made from a schema to try charts"},
        },
        "spec": {
            "group": kind.group,
            "names": {"kind": kind.kind, "listKind": format!("{}List", kind.kind), "plural": plural, "singular": singular},
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    })
}

/// The word for several, as the operators form it.
fn plural(singular: &str) -> String {
    match singular {
        // the operator's word is the same for one
        "redis" => singular.to_owned(),
        _ if singular.ends_with(['s', 'x', 'h']) => format!("{singular}es"),
        _ if singular.ends_with("cy") => format!("{}ies", singular.trim_end_matches('y')),
        _ => format!("{singular}s"),
    }
}

/// What the API server takes as the schema of a kind. The schemas refuse what they do not name by `additionalProperties: false`; the
/// server does so by itself, and refuses a schema that says it.
pub fn structural(mut schema: Value) -> Value {
    bend(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.remove("$schema");
        root.insert("type".to_owned(), json!("object"));
        // checked by the server, whatever a schema says
        if let Some(metadata) = root.get_mut("properties").and_then(|named| named.get_mut("metadata")) {
            *metadata = json!({"type": "object"});
        }
    }
    schema
}

/// Keywords whose value is a list of schemas.
const LISTS: &[&str] = &["allOf", "anyOf", "oneOf"];

fn bend(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    match map.get("additionalProperties") {
        Some(Value::Bool(true)) => {
            map.remove("additionalProperties");
            map.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
        }
        Some(Value::Bool(false)) => {
            map.remove("additionalProperties");
        }
        _ => {}
    }
    if map.contains_key("x-kubernetes-int-or-string") {
        return;
    }
    if ["oneOf", "anyOf"].iter().any(|key| is_number_or_text(map.get(*key))) {
        *schema = json!({"x-kubernetes-int-or-string": true});
        return;
    }
    for key in ["items", "not", "additionalProperties"] {
        map.get_mut(key).into_iter().for_each(bend);
    }
    for key in LISTS {
        map.get_mut(*key).and_then(Value::as_array_mut).into_iter().flatten().for_each(bend);
    }
    // names of properties are no keywords
    map.get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|named| named.values_mut())
        .for_each(bend);
}

fn is_number_or_text(branches: Option<&Value>) -> bool {
    let Some(branches) = branches.and_then(Value::as_array) else { return false };
    let types: BTreeSet<&str> = branches.iter().filter_map(|branch| branch["type"].as_str()).collect();
    types == BTreeSet::from(["integer", "string"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_schema_that_stands_alone_may_say_is_taken_out_at_every_depth() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {
                "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
                "spec": {"type": "object", "additionalProperties": false, "properties": {
                    "port": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
                    "free": {"type": "object", "additionalProperties": true},
                    "list": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {}}},
                    // a field that is called like a keyword
                    "items": {"type": "string"},
                    "additionalProperties": {"type": "boolean"},
                }},
            },
        });
        let spec = json!({"type": "object", "properties": {
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "object", "properties": {}}},
            "items": {"type": "string"},
            "additionalProperties": {"type": "boolean"},
        }});
        assert_eq!(
            structural(schema),
            json!({"type": "object", "properties": {"metadata": {"type": "object"}, "spec": spec}})
        );
    }

    #[test]
    fn a_limit_of_a_field_stays() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["a"], "properties": {
            "a": {"type": "integer", "minimum": 1}, "b": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true}}}}});
        assert_eq!(structural(schema.clone()), schema);
    }

    #[test]
    fn a_definition_is_called_as_the_operators_call_theirs() {
        let words =
            ["postgresql", "kafka", "redis", "elasticsearch", "prometheus", "gatewayclass", "kongupstreampolicy"];
        let plurals: Vec<_> = words.iter().map(|word| plural(word)).collect();
        let expected = [
            "postgresqls",
            "kafkas",
            "redis",
            "elasticsearches",
            "prometheuses",
            "gatewayclasses",
            "kongupstreampolicies",
        ];
        assert_eq!(plurals, expected);
    }
}
