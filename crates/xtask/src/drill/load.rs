//! The load of a drill: the demo program in a process of its own. It asks until its standard input is closed, or until it has made the
//! changes it was asked for; then it looks at what must be so, tells what it counted, and ends. Not decided here: what it asks
//! (`tools/demo/src/catalog_drill`, `tools/demo/src/rolling.rs`, `tools/demo/src/clicks`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;

use super::told::{BEGINS, ENDS};
use crate::os;
use crate::stack::Stack;

/// Longest wait for a load that writes its products and reads what there is before it asks; it has shorter limits of its own.
const PREPARING: Duration = Duration::from_secs(1_200);
/// Longest wait for what a load looks at afterwards; it has shorter limits of its own.
const TELLING: Duration = Duration::from_secs(1_800);
/// How often we look whether somebody wants us to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub struct Load {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Load {
    /// Starts a load, which is a command of the demo program, and waits until it asks.
    ///
    /// # Errors
    /// When the demo program does not run, or cannot begin.
    pub fn start(stack: &Stack, command: &str, arguments: &[String]) -> Result<Load> {
        let mut child = Command::new(stack.layout.binaries(stack.release).join("demo"))
            .args([command, "--offset", &stack.ports.offset().to_string(), "--region", &stack.region.code])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the demo program")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("the demo program has no output")?;
        let (told, lines) = channel();
        // It ends with the program's output, or with the first line that nobody wants.
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| told.send(line))
        });
        let mut load = Load { child, input, lines };
        load.wait_for(|line| line == BEGINS, PREPARING).context("the load did not begin")?;
        Ok(load)
    }

    /// A line for the load, for those that listen.
    ///
    /// # Errors
    /// When it has ended.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the load was told to end")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).context("the load does not listen any more")
    }

    /// Does it ask no more? Said once.
    pub fn has_ended(&self) -> bool {
        loop {
            match self.lines.try_recv() {
                Ok(line) if line == ENDS => return true,
                Ok(_) => {}
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// Ends the load, waits for what it looks at afterwards, and gives what it tells.
    ///
    /// # Errors
    /// When it ends without telling.
    pub fn finish<Told: DeserializeOwned>(mut self) -> Result<Told> {
        drop(self.input.take());
        let line = self.wait_for(|line| line.starts_with('{'), TELLING).context("the load told nothing")?;
        self.child.wait()?;
        serde_json::from_str(&line).with_context(|| format!("read what the load told: {line}"))
    }

    fn wait_for(&mut self, wanted: impl Fn(&str) -> bool, longest: Duration) -> Result<String> {
        let until = Instant::now() + longest;
        while Instant::now() < until {
            os::check_interrupted()?;
            match self.lines.recv_timeout(LOOK_EVERY) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the demo program ended ({})", self.child.wait()?),
            }
        }
        bail!("no answer in {} s", longest.as_secs())
    }
}

impl Drop for Load {
    /// Nobody is left who would end it; one that has ended is not touched.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
