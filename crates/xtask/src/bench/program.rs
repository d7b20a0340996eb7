//! A program of a bench that runs beside others: started on its processors, ready when it says so, asked by lines, ended with its owner.
//!
//! Not decided here: what is asked. What a program says besides is its log and nobody's business; it is read all the same, because a
//! program whose lines nobody reads stands still.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Invalid, cpu};
use crate::os;

/// The processor of what is tested.
pub const TESTED: &str = "0";
/// A JVM takes seconds to start on a busy machine, and a topic of a million records to fill.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// Between two looks whether somebody has interrupted us.
const LOOK: Duration = Duration::from_millis(200);

/// A running program; it ends with this.
pub struct Program {
    pub name: &'static str,
    child: Child,
    input: RefCell<Option<ChildStdin>>,
    said: Receiver<String>,
    /// What it said before it was ready, without its log.
    told: Vec<String>,
}

impl Program {
    /// Starts it on `processors` with `words` (the first is the program) and waits for the line `ready`. Its errors go to a log in
    /// `folder`.
    ///
    /// # Errors
    /// When it does not start, ends, or is not ready within three minutes.
    pub fn start(name: &'static str, processors: &str, words: &[String], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let mut child = Command::new("taskset")
            .args(["-c", processors])
            .args(words)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let (output, input) = (child.stdout.take().context("its output")?, child.stdin.take());
        let (sender, said) = channel();
        std::thread::spawn(move || {
            // Ends with the program. Lines of its log begin with a brace; nobody waits for those.
            for line in BufReader::new(output).lines().map_while(Result::ok).filter(|line| !line.starts_with('{')) {
                // When nobody listens any more, reading on keeps the program from standing still.
                let _ = sender.send(line);
            }
        });
        let mut program = Self { name, child, input: RefCell::new(input), said, told: Vec::new() };
        loop {
            let line =
                program.hear(READY_WITHIN).with_context(|| format!("{name} is not ready; see {}", log.display()))?;
            if line.trim() == "ready" {
                return Ok(program);
            }
            program.told.push(line);
        }
    }

    /// Seconds of processor time so far.
    pub fn cpu(&self) -> f64 {
        cpu::of_tree(self.pid())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// What it told before it was ready, after `word`.
    ///
    /// # Errors
    /// When it did not.
    pub fn told(&self, word: &str) -> Result<String> {
        let rest = self.told.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        rest.map(|rest| rest.trim().to_owned()).with_context(|| format!("{} does not say its {word}", self.name))
    }

    /// Asks one line and gives the numbers after `done`.
    ///
    /// # Errors
    /// [`Invalid`] when it ended or took longer than `within`; an interrupt.
    pub fn ask(&self, line: &str, within: Duration) -> Result<Vec<u64>> {
        let mut input = self.input.borrow_mut();
        writeln!(input.as_mut().context("its input")?, "{line}").with_context(|| format!("ask {}", self.name))?;
        loop {
            let said = self.hear(within).map_err(|error| Invalid(format!("{}: {error:#}", self.name)))?;
            if let Some(numbers) = done(&said) {
                return Ok(numbers);
            }
        }
    }

    fn hear(&self, within: Duration) -> Result<String> {
        let began = Instant::now();
        loop {
            os::check_interrupted()?;
            match self.said.recv_timeout(LOOK) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended"),
                Err(RecvTimeoutError::Timeout) if began.elapsed() > within => {
                    bail!("it said nothing for {} s", within.as_secs())
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The numbers of `done 1 2 3`.
fn done(line: &str) -> Option<Vec<u64>> {
    line.strip_prefix("done")?.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// What every program and every server used so far, for `cpu::watched`.
pub fn parties(servers: Vec<(String, f64)>, programs: &[&Program]) -> Vec<(String, f64)> {
    servers.into_iter().chain(programs.iter().map(|program| (program.name.to_owned(), program.cpu()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Program> {
        Program::start("shell", TESTED, &["sh", "-c", script].map(str::to_owned), &std::env::temp_dir())
    }

    #[test]
    fn a_program_is_ready_when_it_says_so_and_answers_with_numbers() {
        let program =
            shell("echo topic t; echo '{\"a\":1}'; echo ready; read line; echo noise; echo done 3 4").unwrap();
        assert_eq!(program.told("topic").unwrap(), "t");
        assert!(program.told("other").is_err());
        assert_eq!(program.ask("go", Duration::from_secs(10)).unwrap(), [3, 4]);
    }

    #[test]
    fn a_program_that_ended_gives_no_numbers() {
        assert!(shell("echo topic t").is_err(), "it was never ready");
        let program = shell("echo ready; read line").unwrap();
        let error = program.ask("go", Duration::from_secs(10)).unwrap_err();
        assert!(error.is::<Invalid>(), "{error}");
    }

    #[test]
    fn only_whole_numbers_are_an_answer() {
        assert_eq!(done("done 1 20"), Some(vec![1, 20]));
        for line in ["done 1 x", "don 1", "ready"] {
            assert_eq!(done(line), None, "{line}");
        }
    }
}
