//! What the answer to an import says, line by line.

use axum::body::Bytes;
use common::FieldProblem;
use serde::Serialize;
use tokio::sync::mpsc::Sender;

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Told {
    /// The whole file is here.
    Received { bytes: u64 },
    /// A line that is not acceptable.
    Fault { line: u64, errors: Vec<FaultView> },
    /// `checked` lines were looked through; of those `written` were stored.
    Progress { checked: u64, written: u64 },
    /// The end: this is what was stored, or with `dry_run` would be.
    Done { dry_run: bool, lines: u64, created: u64, changed: u64, unchanged: u64, faulty: u64 },
    /// The end: `written` lines were stored, in a file with faults none.
    Refused { code: &'static str, detail: String, written: u64, faulty: u64 },
}

#[derive(Debug, Serialize)]
pub(super) struct FaultView {
    pointer: String,
    code: &'static str,
    message: String,
}

impl From<FieldProblem> for FaultView {
    fn from(FieldProblem { pointer, code, message }: FieldProblem) -> Self {
        Self { pointer, code, message }
    }
}

/// Nobody listens any more: the connection is gone, and the work ends with it.
#[derive(Debug)]
pub(super) struct HungUp;

pub(super) async fn tell(events: &Sender<Bytes>, told: &Told) -> Result<(), HungUp> {
    // A struct of texts and numbers always becomes JSON.
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    events.send(line.into()).await.map_err(|_| HungUp)
}
