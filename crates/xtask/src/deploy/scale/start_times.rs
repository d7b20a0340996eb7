//! How long our programs take from their start until they are ready: a small file that is committed, read by the simulation and written by
//! `cargo xtask scale --measure`. Decided here: a program that the file does not name has no time, rather than a guess.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// Relative to the repository.
pub const FILE: &str = "deploy/start-times.toml";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartTimes {
    /// Whence the times are, for people.
    pub told: String,
    /// Service and role to milliseconds that 95 of 100 starts did not exceed.
    pub p95_ms: BTreeMap<String, u32>,
}

impl StartTimes {
    /// # Errors
    /// When the file is missing or says something else.
    pub fn read(root: &Path) -> Result<StartTimes> {
        let text = fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
        toml::from_str(&text).context(FILE)
    }

    /// Whole seconds, rounded up.
    ///
    /// # Errors
    /// When the file does not name the program.
    pub fn seconds(&self, program: &str) -> Result<u32> {
        let ms = self.p95_ms.get(program).with_context(|| format!("{FILE} does not say how long {program} starts"))?;
        Ok(ms.div_ceil(1_000))
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, root: &Path) -> Result<()> {
        fs::write(root.join(FILE), self.text()).with_context(|| format!("write {FILE}"))
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# From the start of a program of ours until /readyz says yes; 95 of 100 starts were not slower. Written by\n\
             # `cargo xtask scale --release --measure` beside a running region, read by the simulation of autoscaling.\n\
             told = \"{}\"\n\n[p95_ms]\n",
            self.told
        );
        for (program, ms) in &self.p95_ms {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{program} = {ms}");
        }
        text
    }
}

/// The time that 95 of 100 did not exceed; of few starts the slowest.
pub fn p95(mut times: Vec<u32>) -> Option<u32> {
    times.sort_unstable();
    let rank = (times.len() * 95).div_ceil(100);
    times.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::checkout;

    #[test]
    fn what_is_written_is_read_and_the_committed_file_is_such_a_text() {
        let times = StartTimes::read(&checkout()).unwrap();
        assert_eq!(toml::from_str::<StartTimes>(&times.text()).unwrap(), times);
        assert_eq!(fs::read_to_string(checkout().join(FILE)).unwrap(), times.text());
        assert!(times.seconds("order-payment-serve").is_ok());
        // Planted: a program that nobody has measured.
        assert!(times.seconds("weather-serve").is_err());
        let slow = StartTimes { p95_ms: BTreeMap::from([("a".to_owned(), 1_001)]), ..times };
        assert_eq!(slow.seconds("a").unwrap(), 2);
    }

    #[test]
    fn of_twenty_starts_the_second_slowest_counts_and_of_few_the_slowest() {
        assert_eq!(p95((1..=20).rev().collect()), Some(19));
        assert_eq!(p95(vec![7, 9, 8]), Some(9));
        assert_eq!(p95(Vec::new()), None);
    }
}
