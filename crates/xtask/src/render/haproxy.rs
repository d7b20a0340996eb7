//! The routes of the local edge: a block of `haproxy.cfg.template` between two marks. Decided here: the longest path decides, so lines stand
//! from general to special and the last that fits wins. Everything else in the template is written by hand.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Output;
use super::routes::Routes;

const TEMPLATE: &str = "deploy/edge/haproxy/haproxy.cfg.template";
const BEGIN: &str = "    # --- who answers: written by `cargo xtask render` from deploy/edge/routes.toml ---\n";
const END: &str = "    # --- end of who answers ---\n";

/// # Errors
/// When the template cannot be read or has lost its marks.
pub fn output(root: &Path, routes: &Routes) -> Result<Output> {
    let path = root.join(TEMPLATE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{TEMPLATE} has no line {BEGIN:?}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{TEMPLATE} has no line {END:?}"))?;
    Ok(Output::new(TEMPLATE, format!("{before}{BEGIN}{}{END}{after}", block(routes))))
}

fn block(routes: &Routes) -> String {
    let mut paths: Vec<(&str, &str)> = routes
        .routes
        .iter()
        .flat_map(|route| route.paths.iter().map(|path| (path.as_str(), route.service.as_str())))
        .collect();
    paths.sort_by_key(|(path, _)| (path.len(), *path));
    let mut text = String::new();
    for (path, service) in paths {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "    http-request set-var(txn.service) str({service}) if {{ path_reg ^{path}(/|$) }}");
    }
    text
}
