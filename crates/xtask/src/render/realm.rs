//! The realm of a region in a cluster, from the template of the local one. Decided here: what is only right on a laptop is taken out
//! (people with passwords, plain HTTP), and secrets become placeholders that Keycloak's operator fills from Secrets.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Output;
use super::text::json as pretty;

const TEMPLATE: &str = "deploy/keycloak/realm.template.json";

pub fn output(root: &Path) -> Result<Output> {
    let path = root.join(TEMPLATE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let text = text.replace("@LOGIN_SECRET@", "${LOGIN_SECRET}").replace("@ADMIN_SECRET@", "${ADMIN_SECRET}");
    let mut realm: Value = serde_json::from_str(&text).with_context(|| format!("{TEMPLATE} is not JSON"))?;
    realm["sslRequired"] = json!("external");
    if let Some(users) = realm["users"].as_array_mut() {
        users.retain(|user| user.get("serviceAccountClientId").is_some());
    }
    Ok(Output::new("deploy/helm/shopsphere-data/files/realm.json", pretty(&realm)))
}
