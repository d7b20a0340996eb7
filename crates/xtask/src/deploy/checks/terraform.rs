//! Terraform files: parsed and formatted. Decided here: the machine's own `terraform` judges where there is one, else `hclfmt`, which has
//! the same parser. Providers are not asked: their schemas take a build of many minutes, and what we use of them is tested as text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Building, ask, tool};
use crate::layout::Layout;
use crate::os;
use crate::provision::{gomod, pins};

/// The program.
///
/// # Errors
/// When there is none and none may be built, or can be.
pub fn program(layout: &Layout, building: Building) -> Result<PathBuf> {
    match os::which("terraform") {
        Some(found) => Ok(found),
        None => tool(layout, building, ("hclfmt", pins::hclfmt::VERSION), gomod::hclfmt),
    }
}

/// Judges all files below a folder.
///
/// # Errors
/// Naming the file that does not parse, or is formatted otherwise.
pub fn check(program: &Path, folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    ensure!(!files.is_empty(), "{} has no Terraform", folder.display());
    for file in &files {
        let told = || format!("{}: not as terraform fmt writes it", file.display());
        if program.ends_with("terraform") {
            ask(Command::new(program).args(["fmt", "-check", "-diff", "-no-color"]).arg(file)).with_context(told)?;
        } else {
            ask(Command::new(program).arg("-check").arg(file))
                .with_context(|| format!("{}: does not parse", file.display()))?;
            // it prints the file as it should be, whether it parses or not
            let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            ensure!(ask(Command::new(program).arg(file)).with_context(told)? == text, told());
        }
    }
    Ok(format!("{} files, by {}", files.len(), program.file_name().unwrap_or_default().to_string_lossy()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "tf") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
