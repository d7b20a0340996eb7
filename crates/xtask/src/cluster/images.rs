//! Images of our programs, from the programs that are built already. Decided here: a dynamic program takes the libraries with it that the
//! machine's own loader names, and nothing else; the tag is the digest of the program, so that a changed program is another release.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::{self, Entry, Image};
use crate::{os, provision};

/// Whom a program trusts that speaks TLS: a client without such a list refuses to be made. The base of the Dockerfile has one too.
const TRUSTED: &str = "etc/ssl/certs/ca-certificates.crt";
/// Where the Dockerfile puts the program too.
const PROGRAM: &str = "usr/local/bin/program";
/// Letters of a digest that make a tag.
const TAG: usize = 12;

/// The image of a program in a file, and the tag that it has.
#[derive(Debug, Clone)]
pub struct Made {
    pub file: PathBuf,
    pub tag: String,
}

/// Makes the image `<repository>:<digest>` in `folder`, unless it is there. What only a debugger reads is left out.
///
/// # Errors
/// When the program is not built or its libraries are not found.
pub fn of_program(program: &Path, repository: &str, folder: &Path) -> Result<Made> {
    ensure!(program.is_file(), "{} is not built; run cargo build --release", program.display());
    let tag: String = provision::sha256(program)?.chars().take(TAG).collect();
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = folder.join(format!("{name}-{tag}.tar"));
    if !file.is_file() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let slim = folder.join(format!("{name}.slim"));
        os::output(Command::new("strip").args(["--strip-debug", "-o"]).arg(&slim).arg(program))?;
        let mut entries = base();
        let libraries = libraries(&os::output(Command::new("ldd").arg(program))?);
        let taken = || libraries.iter().map(|library| (library.as_str(), 0o755)).chain([(TRUSTED, 0o644)]);
        entries.extend(folders(taken().map(|(name, _)| name).chain([PROGRAM])));
        for (name, mode) in taken() {
            let bytes = fs::read(Path::new("/").join(name)).with_context(|| format!("read /{name}"))?;
            entries.push(Entry { name: name.to_owned(), mode, bytes });
        }
        entries.push(Entry { name: PROGRAM.to_owned(), mode: 0o755, bytes: fs::read(&slim)? });
        let image = Image { name: format!("{repository}:{tag}"), entries, entrypoint: vec![format!("/{PROGRAM}")] };
        write(&image, &file)?;
        let _ = fs::remove_file(&slim);
    }
    Ok(Made { file, tag })
}

/// The image of a program that needs no libraries, under a name of its own.
///
/// # Errors
/// When the program cannot be read.
pub fn of_static(program: &Path, name: &str, folder: &Path) -> Result<PathBuf> {
    let mut entries = base();
    entries.extend(folders([PROGRAM].into_iter()));
    entries.push(Entry { name: PROGRAM.to_owned(), mode: 0o755, bytes: fs::read(program)? });
    let file = folder.join(format!("{}.tar", name.replace(['/', ':'], "-")));
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    write(&Image { name: name.to_owned(), entries, entrypoint: vec![format!("/{PROGRAM}")] }, &file)?;
    Ok(file)
}

/// Whole or not at all: a file that is there is taken for an image.
fn write(image: &Image, file: &Path) -> Result<()> {
    let fresh = file.with_extension("new");
    archive::write(image, &fresh)?;
    fs::rename(&fresh, file).with_context(|| format!("write {}", file.display()))
}

fn base() -> Vec<Entry> {
    let accounts = b"root:x:0:0::/:/nonexistent\nshopsphere:x:10001:10001::/:/nonexistent\n".to_vec();
    let folder = |name: &str, mode: u32| Entry { name: name.to_owned(), mode, bytes: Vec::new() };
    vec![
        folder("etc/", 0o755),
        Entry { name: "etc/passwd".to_owned(), mode: 0o644, bytes: accounts },
        folder("tmp/", 0o1777),
    ]
}

/// Every folder on the way to these files, outer ones first.
fn folders<'a>(files: impl Iterator<Item = &'a str>) -> Vec<Entry> {
    let mut names = BTreeSet::new();
    for file in files {
        names.extend(file.char_indices().filter(|(_, letter)| *letter == '/').map(|(at, _)| file[..=at].to_owned()));
    }
    names.into_iter().map(|name| Entry { name, mode: 0o755, bytes: Vec::new() }).collect()
}

/// The files that `ldd` names, without the slash at their beginning. What the kernel brings itself has no file.
fn libraries(said: &str) -> Vec<String> {
    let file = |line: &str| {
        let path = line.split_whitespace().find(|word| word.starts_with('/'))?;
        Some(path.trim_start_matches('/').to_owned())
    };
    said.lines().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_and_every_library_are_taken_and_what_the_kernel_brings_is_not() {
        let said = "\tlinux-vdso.so.1 (0x00007fed38aee000)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007fed38abe000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007fed38af0000)\n";
        assert_eq!(libraries(said), ["lib/x86_64-linux-gnu/libz.so.1", "lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(libraries("\tstatically linked\n"), [""; 0]);
        let names: Vec<_> =
            folders(["lib/a/b.so", "lib64/c.so"].into_iter()).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["lib/", "lib/a/", "lib64/"]);
    }
}
