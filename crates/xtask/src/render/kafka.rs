//! Topics, rights and mirrors for the data chart, from the topic table. Decided here: a service may write what the table says it
//! writes and read what the table says it reads; a standby mirrors every topic of its region under its own name; headquarters may
//! take the one topic of aggregates and nothing else, whatever the table will say.

use std::fmt::Write;

use super::services::SERVICES;
use super::text::{header, list};
use super::{Output, Sources};

pub fn outputs(sources: &Sources) -> [Output; 1] {
    let mut text = header(super::topics::SOURCE);
    text.push_str("topics:\n");
    for topic in &sources.topics {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "  - {{ kind: {}, partitions: {}, retentionMs: \"{}\", cleanup: {}, class: {} }}",
            topic.kind, topic.partitions, topic.retention_ms, topic.cleanup, topic.class
        );
    }
    text.push_str("# what each service may write and read; its groups begin with its name\nrights:\n");
    for service in SERVICES {
        let writes = sources.topics.iter().filter(|topic| topic.writer == service).map(|topic| &topic.kind);
        let reads = sources
            .topics
            .iter()
            .filter(|topic| topic.readers.iter().any(|reader| reader == service))
            .map(|topic| &topic.kind);
        let _ = writeln!(text, "  - {{ service: {service}, writes: {}, reads: {} }}", list(writes), list(reads));
    }
    let _ = writeln!(
        text,
        "# the only topic that leaves a region\naggregates: {}",
        sources.topology.headquarters.aggregates
    );
    [Output::new("deploy/helm/shopsphere-data/files/topics.yaml", text)]
}
