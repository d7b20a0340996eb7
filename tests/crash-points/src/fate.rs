//! How a running program is told to die: a file in its folder names a crash point and the passage at which to stop there. It
//! is read at every point, so that a program need not be started again to be given an order.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The environment of a mortal program: its folder, its name in consumer groups, which service it is.
pub const FOLDER: &str = "CRASH_POINTS_FOLDER";
pub const MEMBER: &str = "CRASH_POINTS_MEMBER";
pub const SERVICE: &str = "CRASH_POINTS_SERVICE";

/// What happens at the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: goes on later, when others think it dead.
    Pause,
}

/// An order to die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    pub point: String,
    /// Counted from 1, from when the order was given.
    pub passage: u32,
    pub end: End,
}

impl Fate {
    fn encode(&self) -> String {
        let end = if self.end == End::Kill { "kill" } else { "pause" };
        format!("{}\t{}\t{end}", self.point, self.passage)
    }

    fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('\t');
        let (point, passage, end) = (parts.next()?, parts.next()?, parts.next()?);
        let end = if end == "kill" { End::Kill } else { End::Pause };
        Some(Self { point: point.to_owned(), passage: passage.parse().ok()?, end })
    }
}

/// The files of one program, as both sides see them.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn order(&self) -> PathBuf {
        self.0.join("fate")
    }

    fn died(&self) -> PathBuf {
        self.0.join("met")
    }

    fn passed(&self) -> PathBuf {
        self.0.join("passed")
    }

    /// Gives an order beside those that were not met yet. It is whole before it has its name.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn decree(&self, fate: &Fate) {
        let orders = fs::read_to_string(self.order()).unwrap_or_default();
        self.replace(&format!("{orders}{}\n", fate.encode())).expect("an order can be given");
    }

    fn replace(&self, orders: &str) -> std::io::Result<()> {
        let fresh = self.0.join("fate.new");
        fs::write(&fresh, orders)?;
        fs::rename(fresh, self.order())
    }

    /// A paused program stays so for as long as this file is there.
    pub fn hold(&self) -> PathBuf {
        self.0.join("hold")
    }

    /// Takes all orders back that were not met.
    pub fn forget(&self) {
        let _ = fs::remove_file(self.order());
    }

    /// The point at which the program met its fate, once.
    pub fn take_met(&self) -> Option<String> {
        let met = fs::read_to_string(self.died()).ok()?;
        let _ = fs::remove_file(self.died());
        Some(met)
    }

    /// How often each point was passed since the last look.
    pub fn take_passed(&self) -> HashMap<String, u32> {
        let text = fs::read_to_string(self.passed()).unwrap_or_default();
        // A line written between these two is lost; whoever counts does so when nothing runs.
        let _ = File::create(self.passed());
        let mut count = HashMap::new();
        for line in text.lines() {
            *count.entry(line.to_owned()).or_default() += 1;
        }
        count
    }
}

/// The program's side.
pub struct Mortal {
    folder: Folder,
    passed: Mutex<File>,
    /// Passages so far, by order.
    counted: Mutex<HashMap<String, u32>>,
}

impl Mortal {
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(folder: Folder) -> std::io::Result<Self> {
        let passed = OpenOptions::new().create(true).append(true).open(folder.passed())?;
        Ok(Self { folder, passed: Mutex::new(passed), counted: Mutex::default() })
    }

    /// Called at each crash point. Does not return from the one that was ordered, or only after a pause.
    pub fn pass(&self, point: &'static str) {
        let _ = self.passed.lock().unwrap_or_else(PoisonError::into_inner).write_all(format!("{point}\n").as_bytes());
        let Ok(orders) = fs::read_to_string(self.folder.order()) else { return };
        let mine = |line: &&str| Fate::decode(line).is_some_and(|fate| fate.point == point);
        let Some((line, fate)) = orders.lines().find(mine).and_then(|line| Some((line, Fate::decode(line)?))) else {
            return;
        };
        {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            let passages = counted.entry(line.to_owned()).or_default();
            *passages += 1;
            if *passages != fate.passage {
                return;
            }
            counted.remove(line);
        }
        let others: String = orders.lines().filter(|other| *other != line).map(|other| format!("{other}\n")).collect();
        if self.folder.replace(&others).is_err() {
            return;
        }
        // The harness believes a death only with this note of it.
        if fs::write(self.folder.died(), point).is_err() {
            return;
        }
        end(fate.end);
    }
}

#[allow(unsafe_code)]
fn end(end: End) {
    let signal = if end == End::Kill { libc::SIGKILL } else { libc::SIGSTOP };
    // SAFETY: two integers, the process's own id and a signal that it may send to itself; no memory of ours is touched.
    unsafe {
        libc::kill(libc::getpid(), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_given() {
        for fate in [
            Fate { point: "relay-claim (before)".to_owned(), passage: 1, end: End::Kill },
            Fate { point: "POST /v1/orders (after)".to_owned(), passage: 3, end: End::Pause },
        ] {
            assert_eq!(Fate::decode(&fate.encode()), Some(fate));
        }
        assert_eq!(Fate::decode("relay-claim (before)"), None);
    }
}
