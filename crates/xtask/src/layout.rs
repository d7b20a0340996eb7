//! Where things lie and who owns them. Decided here: the state folder, the cache of downloads, the accounts servers run as, and
//! that a folder nobody else may enter (a root home) is never used for files another account must read.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::os;

/// The account our servers and services run as when we are root.
pub const ACCOUNT: &str = "shopsphere";

/// An account of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Where one stack keeps its files.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The repository.
    pub checkout: PathBuf,
    /// All state of this stack; `data`, `logs`, `run` and `config` lie in it.
    pub state: PathBuf,
    /// Downloads and built tools, shared by all checkouts.
    pub cache: PathBuf,
}

impl Layout {
    /// The layout of a stack whose state is `state` (relative to the checkout, or absolute), creating its folders.
    ///
    /// # Errors
    /// When folders cannot be made.
    pub fn open(checkout: &Path, state: &Path) -> Result<Layout> {
        let wanted = checkout.join(state);
        if let Ok(inside) = wanted.strip_prefix(checkout.join(".dev")) {
            let top = reachable_top(checkout)?;
            return Layout::prepare(checkout, &top.join(inside));
        }
        Layout::prepare(checkout, &wanted)
    }

    fn prepare(checkout: &Path, state: &Path) -> Result<Layout> {
        for folder in ["run", "logs", "config", "data"] {
            let path = state.join(folder);
            fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        }
        Ok(Layout { checkout: checkout.to_owned(), state: state.to_owned(), cache: cache_folder() })
    }

    /// The stack the tests run against: `SHOPSPHERE_STATE_DIR`, else `.dev/test` of the checkout.
    ///
    /// # Errors
    /// When folders cannot be made.
    pub fn from_env(checkout: &Path) -> Result<Layout> {
        match std::env::var_os("SHOPSPHERE_STATE_DIR") {
            Some(state) => Layout::prepare(checkout, Path::new(&state)),
            None => Layout::open(checkout, Path::new(".dev/test")),
        }
    }

    /// Where a process writes its output.
    pub fn log(&self, name: &str) -> PathBuf {
        self.state.join("logs").join(format!("{name}.log"))
    }

    /// A folder of a server's own, readable by its account only.
    ///
    /// # Errors
    /// When it cannot be made or handed over.
    pub fn data(&self, name: &str, owner: Option<&Account>) -> Result<PathBuf> {
        let path = self.state.join("data").join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        own(&path, owner, 0o700)?;
        Ok(path)
    }

    /// Writes a configuration file that only the account which reads it can read.
    ///
    /// # Errors
    /// When it cannot be written or handed over.
    pub fn write_config(&self, name: &str, text: &str, owner: Option<&Account>) -> Result<PathBuf> {
        let path = self.state.join("config").join(name);
        if fs::read_to_string(&path).is_ok_and(|now| now == text) {
            return Ok(path);
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        own(&path, owner, 0o600)?;
        Ok(path)
    }

    /// Where cargo puts the programs of one profile.
    pub fn binaries(&self, release: bool) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.checkout.join("target"), PathBuf::from);
        target.join(if release { "release" } else { "debug" })
    }
}

/// The repository we were called in: the nearest folder upwards that holds this crate. Elsewhere, the one it was compiled in; that
/// alone would be wrong for two checkouts that share a target folder, because they share this program too.
pub fn checkout() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    if let Some(found) = here.ancestors().find(|folder| folder.join("crates/xtask/Cargo.toml").is_file()) {
        return found.to_owned();
    }
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    compiled.canonicalize().unwrap_or(here)
}

/// Sets mode and, when we are root, the owner of a path.
///
/// # Errors
/// When the system refuses.
pub fn own(path: &Path, owner: Option<&Account>, mode: u32) -> Result<()> {
    if let Some(account) = owner {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("chown {}", path.display()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| format!("chmod {}", path.display()))
}

/// `.dev` of the checkout. When we are root and the checkout lies below a folder that others may not enter, `.dev` is a link to a
/// folder in /var/lib instead: PostgreSQL and Elasticsearch refuse to run as root and must reach their files.
fn reachable_top(checkout: &Path) -> Result<PathBuf> {
    let top = checkout.join(".dev");
    if let Ok(target) = fs::read_link(&top) {
        fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
        return Ok(target);
    }
    if !os::is_root() || reachable(checkout) {
        return Ok(top);
    }
    let mut hasher = DefaultHasher::new();
    checkout.hash(&mut hasher);
    let elsewhere = PathBuf::from(format!("/var/lib/shopsphere/{:016x}", hasher.finish()));
    fs::create_dir_all(&elsewhere).with_context(|| format!("make {}", elsewhere.display()))?;
    symlink(&elsewhere, &top).with_context(|| format!("link {}", top.display()))?;
    Ok(elsewhere)
}

/// Downloads stay in the user's cache; for root, whose home others may not enter, in /var/cache.
fn cache_folder() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let users =
        std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from).join("shopsphere");
    if os::is_root() && !reachable(&users) { PathBuf::from("/var/cache/shopsphere") } else { users }
}

/// May every account pass through all folders down to `path`? Folders that do not exist yet do not count.
pub fn reachable(path: &Path) -> bool {
    path.ancestors().all(|folder| fs::metadata(folder).map_or(true, |facts| facts.mode() & 0o001 != 0))
}

/// The account for our servers and services: `shopsphere`, created as a system account without home or shell, when we are root;
/// ourselves (`None`) otherwise.
///
/// # Errors
/// When the account cannot be created.
pub fn service_account() -> Result<Option<Account>> {
    if !os::is_root() {
        return Ok(None);
    }
    if account(ACCOUNT).is_none() {
        let made = os::output(Command::new(os::which("useradd").unwrap_or_else(|| "useradd".into())).args([
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            ACCOUNT,
        ]));
        // Another checkout may have created it between our two looks.
        if let (Err(error), None) = (made, account(ACCOUNT)) {
            return Err(error.context(format!("create the system account {ACCOUNT}")));
        }
    }
    match account(ACCOUNT) {
        Some(found) => Ok(Some(found)),
        None => bail!("the account {ACCOUNT} is missing from /etc/passwd; create it with useradd --system {ACCOUNT}"),
    }
}

/// PostgreSQL's own account when we are root (it comes with the Debian package), ourselves otherwise.
///
/// # Errors
/// When we are root and the package is missing.
pub fn postgres_account() -> Result<Option<Account>> {
    if !os::is_root() {
        return Ok(None);
    }
    match account("postgres") {
        Some(found) => Ok(Some(found)),
        None => bail!("the account postgres is missing; it comes with the Debian package postgresql-15"),
    }
}

fn account(name: &str) -> Option<Account> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&name)).then_some(())?;
        Some(Account { name: name.to_owned(), uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
    })
}
