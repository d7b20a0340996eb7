//! What is in the topic of clicks, read with the broker's own tool. Decided here: a click is found by its name, so that it does not matter
//! how many of them stand in one record, and what other loads have left there is not counted.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::told::DIGITS;
use super::verdict::Recorded;
use crate::ports::Port;
use crate::provision::maven;
use crate::stack::{Stack, java};

const READER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// The reader ends when nothing came for so long; joining its group has to fit in.
const SILENCE_MS: &str = "20000";
/// Its last word, and so the sign that it has read.
const READ: &str = "Processed a total of";

/// The clicks whose names begin with `prefix`, by number.
///
/// # Errors
/// When the topic cannot be read.
pub fn recorded(stack: &Stack, prefix: &str) -> Result<Recorded> {
    let topic = format!("{}.clickstream.raw.v1", stack.region.code);
    let mut reader = tool(stack, READER)?;
    reader.args(["--topic", &topic, "--from-beginning", "--timeout-ms", SILENCE_MS]);
    let output = reader.output().context("run Kafka's console consumer")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !said.contains(READ) {
        bail!("Kafka's console consumer did not read {topic} ({}): {}", output.status, said.trim());
    }
    Ok(numbers(&output.stdout, prefix))
}

/// One of the broker's own tools, told where the broker is.
///
/// # Errors
/// When Java or the broker's programs are not there.
pub fn tool(stack: &Stack, class: &str) -> Result<Command> {
    let jars = maven::kafka(&stack.layout)?;
    let mut tool = Command::new(java::program()?);
    tool.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(format!("{}/*", jars.display()));
    tool.args([class, "--bootstrap-server", &stack.ports.address(Port::Kafka)]).stdin(Stdio::null());
    Ok(tool)
}

/// How often each number stands behind `prefix`.
fn numbers(bytes: &[u8], prefix: &str) -> Recorded {
    let mut found = BTreeMap::new();
    for window in bytes.windows(prefix.len() + DIGITS) {
        let digits = window.strip_prefix(prefix.as_bytes()).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        if let Some(number) = number {
            *found.entry(number).or_default() += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::told::{click, clicks_of};
    use super::*;

    #[test]
    fn clicks_are_found_in_records_of_any_shape_and_other_loads_are_not_counted() {
        let (ours, other) = (|number| click("one", number), click("two", 7));
        let mut bytes = vec![0xff, 0x0a, 0x16];
        for id in [ours(7), ours(123_456_789), other, ours(7), "rolling-one-00x".to_owned()] {
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&[0x10, 0x01, b'\n', 0xfe]);
        }
        assert_eq!(numbers(&bytes, &clicks_of("one")), BTreeMap::from([(7, 2), (123_456_789, 1)]));
        assert_eq!(numbers(&bytes, &clicks_of("three")), BTreeMap::new());
        assert_eq!(numbers(b"", &clicks_of("one")), BTreeMap::new());
    }
}
