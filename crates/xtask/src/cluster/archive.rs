//! Images without a registry and without an engine: a layer, a configuration and a list of both, put into one tar as `docker save` does.
//! Decided here: the format is written by hand, because the few fields of a tar header are less than a dependency; times and owners are
//! zero, so that the same files make the same image.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::provision;

/// Everything in a tar is counted in these.
const BLOCK: usize = 512;
/// The longest name that fits into a header without an extension; ours are half as long.
const LONGEST_NAME: usize = 100;

/// What a layer consists of.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Without a slash at its beginning; folders end with one.
    pub name: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
}

/// An image: its name with tag, what is in it, and what is started.
#[derive(Debug, Clone)]
pub struct Image {
    pub name: String,
    pub entries: Vec<Entry>,
    pub entrypoint: Vec<String>,
}

/// Writes the image as one file that `ctr images import` takes. The layer is put beside it for a moment.
///
/// # Errors
/// A name that is too long, a disk that is full.
pub fn write(image: &Image, to: &Path) -> Result<()> {
    let layer = to.with_extension("layer");
    let mut file = File::create(&layer).with_context(|| format!("write {}", layer.display()))?;
    for entry in &image.entries {
        append(&mut file, &entry.name, entry.mode, &entry.bytes)?;
    }
    finish(&mut file)?;
    drop(file);
    let digest = provision::sha256(&layer)?;
    let configuration = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": image.entrypoint, "WorkingDir": "/", "User": "10001:10001", "Env": ["PATH=/usr/local/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        "history": [{"created_by": "shopsphere cluster up"}],
    });
    let name = format!("{digest}.json");
    let inside = format!("{digest}/layer.tar");
    let list = json!([{"Config": name, "RepoTags": [image.name], "Layers": [inside]}]);
    let mut file = File::create(to).with_context(|| format!("write {}", to.display()))?;
    append(&mut file, &name, 0o644, configuration.to_string().as_bytes())?;
    append(&mut file, &inside, 0o644, &fs::read(&layer)?)?;
    append(&mut file, "manifest.json", 0o644, list.to_string().as_bytes())?;
    finish(&mut file)?;
    fs::remove_file(&layer).with_context(|| format!("remove {}", layer.display()))
}

/// One file or folder: its header, its bytes, and zeros up to the next block.
fn append(out: &mut impl Write, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    ensure!(name.len() < LONGEST_NAME, "the name {name} is too long for a header");
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", bytes.len()));
    put(136, "00000000000");
    // the sum counts itself as spaces
    put(148, "        ");
    put(156, if name.ends_with('/') { "5" } else { "0" });
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&header)?;
    out.write_all(bytes)?;
    let rest = (BLOCK - bytes.len() % BLOCK) % BLOCK;
    out.write_all(&[0_u8; BLOCK][..rest]).context("write an archive")
}

/// Two empty blocks are the end.
fn finish(out: &mut impl Write) -> Result<()> {
    out.write_all(&[0_u8; 2 * BLOCK]).context("end an archive")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::os;

    #[test]
    fn another_program_reads_what_is_in_an_image() {
        let folder = std::env::temp_dir().join(format!("shopsphere-archive-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let entry = |name: &str, mode: u32, bytes: &[u8]| Entry { name: name.to_owned(), mode, bytes: bytes.to_vec() };
        let image = Image {
            name: "localhost/shopsphere/user:1".to_owned(),
            entries: vec![
                entry("usr/", 0o755, b""),
                entry("usr/program", 0o755, &[7; 1_000]),
                entry("etc", 0o644, b""),
            ],
            entrypoint: vec!["/usr/program".to_owned()],
        };
        let file = folder.join("user.tar");
        write(&image, &file).unwrap();
        let tar = |arguments: &[&str], file: &Path| os::output(Command::new("tar").args(arguments).arg(file)).unwrap();
        let names = tar(&["-tf"], &file);
        assert!(names.ends_with("manifest.json\n"), "{names}");
        let list: serde_json::Value =
            serde_json::from_str(&os::output(Command::new("tar").arg("-xOf").arg(&file).arg("manifest.json")).unwrap())
                .unwrap();
        assert_eq!(list[0]["RepoTags"][0], "localhost/shopsphere/user:1");
        let layer = list[0]["Layers"][0].as_str().unwrap().to_owned();
        os::output(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&folder)).unwrap();
        let listing = tar(&["-tvf"], &folder.join(layer));
        assert!(
            listing.contains("drwxr-xr-x 0/0") && listing.contains("-rwxr-xr-x 0/0") && listing.contains("1000"),
            "{listing}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused_and_not_cut() {
        let error = append(&mut Vec::new(), &"long/".repeat(30), 0o755, b"").expect_err("150 letters").to_string();
        assert!(error.contains("too long"), "{error}");
    }
}
