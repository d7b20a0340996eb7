//! Records that some reader could not read, over all services. Decided here: where they can be. The consumers of the saga park them in
//! their database, the consumer of clicks puts them into a topic; readers that only count them, and an earlier release, say so in their
//! logs. Only what a step adds is its own: a region, its topic and its logs have a past.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::drill::rolling::topic;
use crate::ports::Port;
use crate::stack::Stack;
use crate::stack::postgres::psql;

/// Databases of services whose consumers park.
const DATABASES: [&str; 3] = ["user_profile", "inventory", "order_payment"];
/// The broker's tool that tells how many records a topic has had.
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
/// What services say of a record that they leave out, and which of them.
const SAID: [(&str, &str); 4] = [
    ("catalog", "a product change is left behind"),
    ("personalization", "product record refused"),
    ("personalization", "order record refused"),
    ("personalization", EARLIER),
];
/// Before there was a topic for them.
const EARLIER: &str = "click record refused";

/// Place to number of records that could not be read so far.
pub type Unreadable = BTreeMap<String, u64>;

/// Looks at every place.
///
/// # Errors
/// When a database or the broker does not answer, or a log cannot be read.
pub fn count(stack: &Stack) -> Result<Unreadable> {
    let mut found = Unreadable::new();
    for database in DATABASES {
        let answer = psql(
            stack.ports.of(Port::Postgres),
            &format!("{database}_owner"),
            database,
            "SELECT count(*) FROM parked_messages;",
        )?;
        let parked = answer.trim().parse().with_context(|| format!("read the count of {database}: {answer}"))?;
        found.insert(format!("parked in {database}"), parked);
    }
    let name = format!("{}.clickstream.parked.v1", stack.region.code);
    found.insert(format!("in {name}"), records(&offsets(stack)?, &name));
    found.extend(left_out(&stack.layout.state.join("logs"))?);
    Ok(found)
}

/// `topic:partition:offset` of every partition there is; an earlier release may not have made the topic yet.
fn offsets(stack: &Stack) -> Result<String> {
    let mut tool = topic::tool(stack, OFFSETS)?;
    let output = tool.output().context("run Kafka's tool for offsets")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // A region without a single topic has not been migrated.
    if !output.status.success() || !said.contains(".v1:") {
        bail!("Kafka's tool told no offsets ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(said)
}

/// Records that a topic has had, over its partitions.
fn records(offsets: &str, topic: &str) -> u64 {
    let of_topic = offsets.lines().filter_map(|line| line.strip_prefix(topic)?.strip_prefix(':'));
    of_topic.filter_map(|line| line.rsplit(':').next()?.trim().parse::<u64>().ok()).sum()
}

/// What the logs of all processes say, those that were moved aside too.
fn left_out(folder: &Path) -> Result<Unreadable> {
    let mut found = Unreadable::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for (service, message) in SAID {
            if !name.starts_with(&format!("{service}-")) || !name.contains(".log") {
                continue;
            }
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let lines = String::from_utf8_lossy(&text).lines().filter(|line| line.contains(message)).count();
            *found.entry(format!("{service} says \"{message}\"")).or_default() += u64::try_from(lines)?;
        }
    }
    Ok(found)
}

/// Places with more than before, and how many more.
pub fn grown(before: &Unreadable, after: &Unreadable) -> Unreadable {
    let more = |(place, count): (&String, &u64)| {
        let grown = count.saturating_sub(before.get(place).copied().unwrap_or_default());
        (grown > 0).then(|| (place.clone(), grown))
    };
    after.iter().filter_map(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::checkout;

    #[test]
    fn a_record_that_was_put_aside_anywhere_during_a_step_is_counted() {
        let offsets = "eu.clickstream.parked.v1:0:2\neu.clickstream.parked.v1:11:3\neu.clickstream.parked.v1-copy:0:7\n\
                       eu.clickstream.raw.v1:0:900\n";
        assert_eq!(records(offsets, "eu.clickstream.parked.v1"), 5);
        assert_eq!(records(offsets, "us.clickstream.parked.v1"), 0);

        let folder = std::env::temp_dir().join(format!("shopsphere-unreadable-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let line = |message: &str| format!("{{\"level\":\"WARN\",\"message\":\"{message}\"}}\n");
        let before = left_out(&folder).unwrap();
        // Planted: one in the log of a process, one in a log that was moved aside; another service's words count for nobody.
        fs::write(folder.join("personalization-work-1.log"), line("product record refused") + &line("ready")).unwrap();
        fs::write(folder.join("personalization-work-3.log.1"), line("product record refused")).unwrap();
        fs::write(folder.join("user-work-1.log"), line("product record refused")).unwrap();
        let after = left_out(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let place = "personalization says \"product record refused\"".to_owned();
        assert_eq!(grown(&before, &after), Unreadable::from([(place.clone(), 2)]));
        assert_eq!(grown(&after, &after), Unreadable::new());
        let (one, two) = (Unreadable::from([(place.clone(), 1)]), Unreadable::from([(place.clone(), 3)]));
        assert_eq!(grown(&one, &two), Unreadable::from([(place, 2)]));
    }

    #[test]
    fn what_is_looked_for_in_logs_is_what_the_services_say() {
        let mut texts: Vec<(String, String)> = Vec::new();
        for (service, _) in SAID {
            let folder = checkout().join("services").join(service).join("src/inbound");
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    texts.push((service.to_owned(), fs::read_to_string(path).unwrap()));
                }
            }
        }
        for (service, message) in SAID.into_iter().filter(|(_, message)| *message != EARLIER) {
            let quoted = format!("\"{message}\"");
            assert!(texts.iter().any(|(of, text)| of == service && text.contains(&quoted)), "{service}: {message}");
        }
    }
}
