//! What can go wrong, what is said about it, and with which exit code the program ends.

use serde_json::{Value, json};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The region answered with a problem document, or at least with a status.
    #[error("{0}")]
    Refused(Refusal),
    #[error("{url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{0}")]
    NotLoggedIn(String),
    #[error("{0}")]
    Here(String),
    /// Looked, and found what should not be. It has been printed already.
    #[error("{0}")]
    Found(String),
}

/// What a problem document says.
#[derive(Debug, Default)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub detail: String,
    /// `pointer: message` of each field at fault.
    pub fields: Vec<String>,
    pub trace_id: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({})", self.detail, self.code)?;
        for field in &self.fields {
            write!(out, "\n  {field}")?;
        }
        match &self.trace_id {
            Some(trace) => write!(out, "\n  trace {trace}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    pub fn of(status: u16, body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let field = |error: &Value| {
            let part = |name: &str| error[name].as_str().unwrap_or_default();
            format!("{}: {}", part("pointer"), part("message"))
        };
        Self {
            status,
            code: text("code").unwrap_or_else(|| format!("status {status}")),
            detail: text("detail")
                .or_else(|| text("title"))
                .unwrap_or_else(|| "the region refused without a reason".to_owned()),
            fields: body["errors"].as_array().map(|errors| errors.iter().map(field).collect()).unwrap_or_default(),
            trace_id: text("trace_id"),
        }
    }
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(refusal) => match refusal.status {
                401 | 403 | 421 => 3,
                404 => 4,
                400..=499 if refusal.status != 429 => 5,
                429 | 502..=504 => 6,
                _ => 1,
            },
            Self::Unreachable { .. } => 6,
            Self::NotLoggedIn(_) => 3,
            Self::Here(_) => 1,
            Self::Found(_) => 7,
        }
    }

    /// What helps, if anything is known to.
    fn advice(&self) -> Option<String> {
        match self {
            Self::NotLoggedIn(_) => Some("log in with `login --email …`, or set SHOPSPHERE_TOKEN".to_owned()),
            Self::Unreachable { .. } => Some("check --url or SHOPSPHERE_URL, and that the region is up".to_owned()),
            Self::Refused(refusal) => Some(match refusal.code.as_str() {
                "unauthenticated" => "your session has ended: log in again".to_owned(),
                "forbidden" => "this needs an account with the role `staff`".to_owned(),
                "residency-mismatch" => "your account is of another region: use that region's --url".to_owned(),
                "not-found" => "check the id; ids are lower case with hyphens".to_owned(),
                "state-conflict" => "look at it again (`saga show`, `dlq list`); states only go forward".to_owned(),
                "dependency-down" | "overloaded" | "outcome-unknown" | "too-many-requests" => {
                    "the same command may be given again; it does nothing twice".to_owned()
                }
                "not-writable" => "this site is not the active one: use the region's --url".to_owned(),
                code => format!("docs/errors/{code}.md tells more"),
            }),
            Self::Here(_) | Self::Found(_) => None,
        }
    }

    /// To standard error: for people two lines, for programs one object.
    pub fn print(&self, name: &str, json: bool) {
        let advice = self.advice();
        if json {
            let (code, status) = match self {
                Self::Refused(refusal) => (Some(refusal.code.as_str()), Some(refusal.status)),
                _ => (None, None),
            };
            let error = json!({
                "error": self.to_string(), "code": code, "status": status, "advice": advice, "exit_code": self.exit_code(),
            });
            eprintln!("{error}");
            return;
        }
        eprintln!("{name}: {self}");
        if let Some(advice) = advice {
            eprintln!("what to do: {advice}");
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Here(error.to_string())
    }
}
