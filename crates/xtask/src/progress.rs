//! What the person in front of the terminal sees while things start: one line when a step is done or has failed, with its time; on
//! a terminal also one line that says what is still running. Into a file or a pipe only whole lines are written.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Names the file in which [`skipped`] leaves what was left out, for whoever counts the tests.
pub const SKIPPED_FILE: &str = "SHOPSPHERE_SKIPPED_FILE";

/// Says that a check is left out, and why. Also from within a test: what `println!` writes there nobody sees while the test passes,
/// and a test that passes without having tried anything would be counted as one that has.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    let Some(file) = std::env::var_os(SKIPPED_FILE) else { return };
    // The thread of a test has the test's name.
    let (thread, program) = (std::thread::current(), std::env::args().next().unwrap_or_default());
    let line = format!("{program} {}: {why}\n", thread.name().unwrap_or("unnamed"));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// The display of one command.
pub struct Progress {
    started: Instant,
    terminal: bool,
    running: Mutex<Vec<(String, Instant)>>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Progress {
    /// A display that writes to standard error, so that standard output stays for results.
    pub fn new() -> Progress {
        Progress { started: Instant::now(), terminal: std::io::stderr().is_terminal(), running: Mutex::default() }
    }

    /// Time since the command began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Runs a step and reports its end: `verb` is what is said when it went well ("ready", "built").
    ///
    /// # Errors
    /// Those of the step.
    pub fn step<T>(&self, name: &str, verb: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        self.with(|running| running.push((name.to_owned(), began)));
        let result = work();
        self.with(|running| running.retain(|(other, _)| other != name));
        let seconds = began.elapsed().as_secs_f64();
        match &result {
            Ok(_) => self.line(&format!("{name:<26} {verb:<9} {seconds:>6.1} s")),
            Err(error) if error.to_string() == "interrupted" => {}
            Err(_) => self.line(&format!("{name:<26} FAILED    {seconds:>6.1} s")),
        }
        result
    }

    /// Writes a whole line.
    pub fn line(&self, text: &str) {
        self.with(|_| {
            let clear = if self.terminal { "\r\x1b[2K" } else { "" };
            let mut out = std::io::stderr().lock();
            // A display that cannot be written to is no reason to stop the work.
            let _ = writeln!(out, "{clear}[{:>6.1} s] {text}", self.started.elapsed().as_secs_f64());
        });
    }

    /// Redraws the line of what is running; does nothing when we do not write to a terminal.
    pub fn draw(&self) {
        if !self.terminal {
            return;
        }
        self.with(|running| {
            let parts: Vec<String> =
                running.iter().map(|(name, since)| format!("{name} {:.0} s", since.elapsed().as_secs_f64())).collect();
            let text: String = parts.join(" · ").chars().take(110).collect();
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K  … {text}");
            let _ = out.flush();
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<(String, Instant)>) -> T) -> T {
        // The list is plain data: a panic elsewhere cannot leave it half-written.
        act(&mut self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
