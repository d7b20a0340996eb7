//! Where recordings lie, how one is read, and how a missing one is written. A recording that is there is never written again:
//! it says what was sent once, and that cannot change.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A record as it is sent, and what is meant by it.
pub struct Recording {
    /// The folder it lies in: the version of the topics, or `newer` for what nobody has written yet.
    pub folder: String,
    /// Kind of its topic.
    pub kind: String,
    /// Which shape of the message it has, from 1.
    pub shape: u32,
    pub case: String,
    pub key: String,
    pub payload: Vec<u8>,
    /// Null: it cannot be read, and has to be parked.
    pub means: Value,
}

impl Recording {
    /// `v1/order.created/2-full`
    pub fn name(&self) -> String {
        format!("{}/{}/{}-{}", self.folder, self.kind, self.shape, self.case)
    }
}

pub fn shelf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

/// All recordings of a folder, in the order of their names.
pub fn recordings(folder: &str) -> Vec<Recording> {
    let mut found = Vec::new();
    for kind in entries(&shelf().join(folder)) {
        for file in entries(&kind) {
            match file.extension().and_then(OsStr::to_str) {
                Some("hex") => found.push(read(folder, &kind, &file)),
                Some("json") => assert!(file.with_extension("hex").exists(), "{} has no bytes", file.display()),
                _ => panic!("{} is no recording", file.display()),
            }
        }
    }
    found
}

fn read(folder: &str, kind: &Path, file: &Path) -> Recording {
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digits: String = text(file).split_whitespace().collect();
    let payload = hex::decode(digits).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let beside = file.with_extension("json");
    let mut told: Value =
        serde_json::from_str(&text(&beside)).unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
    let name = file.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.split_once('-'));
    let Some((shape, case)) = name.and_then(|(shape, case)| Some((shape.parse::<u32>().ok()?, case.to_owned()))) else {
        panic!("{} is not named <shape>-<case>", file.display());
    };
    Recording {
        folder: folder.to_owned(),
        kind: kind.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned(),
        shape,
        case,
        key: told["key"].as_str().unwrap_or_default().to_owned(),
        payload,
        means: told["means"].take(),
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> =
        found.map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path()).collect();
    paths.sort();
    paths
}

/// Writes what is not there yet and says whether that was anything.
pub fn write_missing(recording: &Recording) -> io::Result<bool> {
    let path = shelf().join(recording.name());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let told = json!({ "key": recording.key, "means": recording.means });
    let mut written = false;
    for (ending, text) in [("hex", wrapped(&recording.payload)), ("json", format!("{told:#}\n"))] {
        match File::create_new(path.with_extension(ending)) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                written = true;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Hexadecimal, 48 bytes a line.
fn wrapped(payload: &[u8]) -> String {
    let mut lines: Vec<String> = payload.chunks(48).map(hex::encode).collect();
    lines.push(String::new());
    lines.join("\n")
}
