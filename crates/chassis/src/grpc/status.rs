//! An error of ours as a gRPC status, and back. The status code is for anybody; our kind and problem code travel in metadata,
//! so that the next service can tell its caller exactly what the first one said.

use std::time::Duration;

use common::{ErrorKind, Explain};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::problem::{chain, codes};

const KIND: &str = "shopsphere-kind";
const CODE: &str = "shopsphere-code";
const RETRY_AFTER: &str = "shopsphere-retry-after-ms";

/// The kinds that cross, by their HTTP status, which is unique for each.
const KINDS: [ErrorKind; 16] = [
    ErrorKind::Invalid,
    ErrorKind::Unauthenticated,
    ErrorKind::Forbidden,
    ErrorKind::NotFound,
    ErrorKind::MethodNotAllowed,
    ErrorKind::Conflict,
    ErrorKind::PreconditionFailed,
    ErrorKind::TooLarge,
    ErrorKind::UnsupportedMedia,
    ErrorKind::Misdirected,
    ErrorKind::Unprocessable,
    ErrorKind::PreconditionRequired,
    ErrorKind::TooMany,
    ErrorKind::HeadersTooLarge,
    ErrorKind::Internal,
    ErrorKind::Unavailable,
];

/// `error` as the answer of a gRPC method. Internal and dependency failures are logged here, once; their text stays inside.
pub fn status<E: Explain + 'static>(error: &E) -> Status {
    let (kind, code) = (error.kind(), error.code());
    let message = match kind {
        ErrorKind::Internal => {
            tracing::error!(problem.code = code, reason = chain(error), "call failed");
            codes::title(code).to_owned()
        }
        ErrorKind::Unavailable => {
            tracing::warn!(problem.code = code, reason = chain(error), "call could not be served");
            codes::title(code).to_owned()
        }
        _ => error.detail(),
    };
    let mut metadata = MetadataMap::new();
    metadata.insert(KIND, MetadataValue::from(kind.status()));
    if let Ok(value) = MetadataValue::try_from(code) {
        metadata.insert(CODE, value);
    }
    if let Some(after) = error.retry_after() {
        metadata.insert(RETRY_AFTER, MetadataValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
    }
    Status::with_metadata(Code::from_i32(kind.grpc_code()), message, metadata)
}

/// Whether a status means that the callee is in trouble, rather than that it answered no.
pub fn is_fault(status: &Status) -> bool {
    match status.metadata().get(CODE).and_then(|value| value.to_str().ok()) {
        // The callee told us that it is alive and turned us away; only the following are trouble of its own.
        Some(code) => {
            matches!(code, codes::OVERLOADED | codes::DEPENDENCY_DOWN | codes::INTERNAL | codes::NOT_WRITABLE)
        }
        None => matches!(
            status.code(),
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Unknown
                | Code::Internal
                | Code::ResourceExhausted
                | Code::Cancelled
                | Code::DataLoss
        ),
    }
}

/// What another service of ours answered, in our own words again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct RemoteError {
    kind: ErrorKind,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
}

impl From<Status> for RemoteError {
    fn from(status: Status) -> Self {
        let text = |key: &str| status.metadata().get(key).and_then(|value| value.to_str().ok());
        let kind = text(KIND).and_then(|number| KINDS.into_iter().find(|kind| kind.status().to_string() == number));
        let code = text(CODE).and_then(codes::known);
        let retry_after = text(RETRY_AFTER).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        match (kind, code) {
            (Some(kind), Some(code)) => Self { kind, code, detail: status.message().to_owned(), retry_after },
            // Not one of our answers: the transport's own, or a peer we do not understand. Either way we cannot go on.
            _ => Self {
                kind: ErrorKind::Unavailable,
                code: codes::DEPENDENCY_DOWN,
                detail: format!("{:?}: {}", status.code(), status.message()),
                retry_after,
            },
        }
    }
}

impl RemoteError {
    /// Whether the callee is in trouble; for the breaker when the status is already converted.
    pub fn is_fault(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Internal)
    }
}

impl Explain for RemoteError {
    /// A failure inside the callee is a dependency's failure to our own caller, not our own.
    fn kind(&self) -> ErrorKind {
        if self.kind == ErrorKind::Internal { ErrorKind::Unavailable } else { self.kind }
    }

    fn code(&self) -> &'static str {
        if self.kind == ErrorKind::Internal { codes::DEPENDENCY_DOWN } else { self.code }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("text of {kind:?}")]
    struct Said {
        kind: ErrorKind,
        code: &'static str,
    }

    impl Explain for Said {
        fn kind(&self) -> ErrorKind {
            self.kind
        }

        fn code(&self) -> &'static str {
            self.code
        }

        fn retry_after(&self) -> Option<Duration> {
            Some(Duration::from_millis(1500))
        }
    }

    #[test]
    fn what_one_service_says_the_next_can_repeat() {
        for kind in KINDS.into_iter().filter(|kind| *kind != ErrorKind::Internal) {
            let said = Said { kind, code: codes::OUT_OF_STOCK };
            let heard = RemoteError::from(status(&said));
            assert_eq!(
                (heard.kind(), heard.code(), heard.retry_after()),
                (kind, codes::OUT_OF_STOCK, said.retry_after())
            );
        }
    }

    #[test]
    fn the_text_of_an_internal_failure_does_not_cross() {
        let sent = status(&Said { kind: ErrorKind::Internal, code: codes::INTERNAL });
        assert!(!sent.message().contains("text of"), "{sent:?}");
        let heard = RemoteError::from(sent);
        assert_eq!((heard.kind(), heard.code()), (ErrorKind::Unavailable, codes::DEPENDENCY_DOWN));
    }

    #[test]
    fn a_status_that_is_not_ours_is_a_dependency_that_is_down() {
        let heard = RemoteError::from(Status::unavailable("tcp connect error"));
        assert_eq!((heard.kind(), heard.code()), (ErrorKind::Unavailable, codes::DEPENDENCY_DOWN));
        assert!(is_fault(&Status::unavailable("")) && is_fault(&Status::deadline_exceeded("")));
        assert!(!is_fault(&Status::not_found("")) && !is_fault(&Status::invalid_argument("")));
        assert!(!is_fault(&status(&Said { kind: ErrorKind::Conflict, code: codes::OUT_OF_STOCK })));
        assert!(is_fault(&status(&Said { kind: ErrorKind::Unavailable, code: codes::NOT_WRITABLE })));
    }
}
