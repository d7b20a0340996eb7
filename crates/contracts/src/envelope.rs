//! What travels beside the payload: CloudEvents attributes in binary mode (`ce_*` headers), the epoch under which the
//! event was written, the class of its data and the trace it belongs to.

use ::common::{MessageId, Region};

use crate::topics::VERSION;

/// Facts about one event, carried in Kafka headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Outbox row id; consumers apply an id once.
    pub id: MessageId,
    pub region: Region,
    /// Reign under which the event was committed.
    pub epoch: i64,
    /// Version of the aggregate that this event brought about, from 1.
    pub version: i64,
    /// Milliseconds since 1970-01-01 UTC.
    pub occurred_at_ms: i64,
    /// Position in the writer's log at or after the commit; 0 when unknown.
    pub source_lsn: u64,
    pub traceparent: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header {header} is missing or malformed")]
pub struct EnvelopeError {
    pub header: &'static str,
}

pub mod headers {
    //! Names of the Kafka headers.
    pub const ID: &str = "ce_id";
    pub const SPEC_VERSION: &str = "ce_specversion";
    pub const TYPE: &str = "ce_type";
    pub const SOURCE: &str = "ce_source";
    pub const TIME_MS: &str = "ce_time_ms";
    pub const VERSION: &str = "aggregate_version";
    pub const EPOCH: &str = "epoch";
    pub const SOURCE_LSN: &str = "source_lsn";
    pub const DATA_CLASS: &str = "dataclass";
    pub const TRACEPARENT: &str = crate::trace::TRACEPARENT;
}

impl Envelope {
    /// Header names and values, ready to send. `kind` is the event's topic kind.
    pub fn to_headers(&self, kind: &str, data_class: &str) -> Vec<(&'static str, String)> {
        let mut list = vec![
            (headers::ID, self.id.to_string()),
            (headers::SPEC_VERSION, "1.0".to_owned()),
            (headers::TYPE, format!("{kind}.{VERSION}")),
            (headers::SOURCE, format!("/regions/{}", self.region.code())),
            (headers::TIME_MS, self.occurred_at_ms.to_string()),
            (headers::VERSION, self.version.to_string()),
            (headers::EPOCH, self.epoch.to_string()),
            (headers::SOURCE_LSN, self.source_lsn.to_string()),
            (headers::DATA_CLASS, data_class.to_owned()),
        ];
        list.extend(self.traceparent.clone().map(|traceparent| (headers::TRACEPARENT, traceparent)));
        list
    }

    /// Reads the headers through `find` (first value of a name).
    ///
    /// # Errors
    /// [`EnvelopeError`] names the first header that is missing or malformed.
    pub fn from_headers<'a>(find: impl Fn(&str) -> Option<&'a str>) -> Result<Self, EnvelopeError> {
        fn parsed<T: std::str::FromStr>(text: Option<&str>, header: &'static str) -> Result<T, EnvelopeError> {
            text.and_then(|text| text.parse().ok()).ok_or(EnvelopeError { header })
        }
        let version: i64 = parsed(find(headers::VERSION), headers::VERSION)?;
        if version < 1 {
            return Err(EnvelopeError { header: headers::VERSION });
        }
        Ok(Self {
            id: parsed(find(headers::ID), headers::ID)?,
            region: parsed(find(headers::SOURCE).and_then(|source| source.strip_prefix("/regions/")), headers::SOURCE)?,
            epoch: parsed(find(headers::EPOCH), headers::EPOCH)?,
            version,
            occurred_at_ms: parsed(find(headers::TIME_MS), headers::TIME_MS)?,
            source_lsn: parsed(find(headers::SOURCE_LSN), headers::SOURCE_LSN)?,
            traceparent: find(headers::TRACEPARENT).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            id: MessageId::derive("o1", 1, "order.created"),
            region: Region::ALL[0],
            epoch: 3,
            version: 1,
            occurred_at_ms: 1_700_000_000_000,
            source_lsn: 42,
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        }
    }

    fn read(list: &[(&'static str, String)]) -> Result<Envelope, EnvelopeError> {
        Envelope::from_headers(|name| list.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str()))
    }

    #[test]
    fn an_envelope_survives_its_headers() {
        assert_eq!(read(&envelope().to_headers("order.created", "pii")), Ok(envelope()));
    }

    #[test]
    fn a_missing_or_malformed_header_is_named() {
        for header in
            [headers::ID, headers::SOURCE, headers::EPOCH, headers::VERSION, headers::TIME_MS, headers::SOURCE_LSN]
        {
            let mut list = envelope().to_headers("order.created", "pii");
            list.retain(|(name, _)| *name != header);
            assert_eq!(read(&list), Err(EnvelopeError { header }));
            list.push((header, "x-9".to_owned()));
            assert_eq!(read(&list), Err(EnvelopeError { header }));
        }
    }

    #[test]
    fn a_version_begins_at_one() {
        let list = Envelope { version: 0, ..envelope() }.to_headers("order.created", "pii");
        assert_eq!(read(&list), Err(EnvelopeError { header: headers::VERSION }));
    }
}
