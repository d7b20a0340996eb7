//! The records of a file, read as what they want.

use std::path::PathBuf;

use chassis::Problem;
use common::{ErrorKind, FieldProblem};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::super::product_body::ProductBody;
use super::csv::{Header, is_complete};
use super::spool::{Lines, MOST_LINE, Numbered, Text};
use crate::usecases::import_products::{FaultyLine, Line, Wanted};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    JsonLines,
    Table,
}

impl Format {
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match said.split(';').next().unwrap_or_default().trim() {
            "application/x-ndjson" | "application/jsonl" => Ok(Self::JsonLines),
            "text/csv" => Ok(Self::Table),
            _ => Err(Problem::new(
                ErrorKind::UnsupportedMedia,
                "unsupported-media-type",
                "a file is application/x-ndjson or text/csv",
            )),
        }
    }
}

/// One record of a file, or what is wrong with it.
pub(super) type Record = Result<Line, FaultyLine>;

/// Reads a file from its beginning.
pub(super) struct Reader {
    lines: Lines,
    header: Option<Header>,
    format: Format,
}

impl Reader {
    pub async fn open(path: PathBuf, format: Format) -> Result<Self, std::io::Error> {
        Ok(Self { lines: Lines::open(path).await?, header: None, format })
    }

    /// The next record; `None` after the last. Empty lines are none.
    pub async fn next(&mut self) -> Result<Option<Record>, std::io::Error> {
        loop {
            let Some(Numbered { number, text, ended }) = self.lines.next().await? else { return Ok(None) };
            let text = match text {
                Text::Line(text) if text.trim().is_empty() => continue,
                Text::Line(text) => text,
                Text::TooLong => return Ok(Some(faulty(number, problem("the line is longer than 1 MiB")))),
                Text::NotUtf8 => return Ok(Some(faulty(number, problem("the line is not UTF-8")))),
            };
            match self.format {
                Format::JsonLines => return Ok(Some(json_line(number, &text))),
                Format::Table => {
                    if let Some(record) = self.table_line(number, text, ended).await? {
                        return Ok(Some(record));
                    }
                }
            }
        }
    }

    /// `None` for the line of columns.
    async fn table_line(
        &mut self,
        number: u64,
        mut text: String,
        mut ended: bool,
    ) -> Result<Option<Record>, std::io::Error> {
        // A cell may go over several lines.
        while !is_complete(&text) {
            match self.lines.next().await? {
                Some(Numbered { text: Text::Line(more), ended: and, .. }) if text.len() + more.len() < MOST_LINE => {
                    // Whatever ends the lines of the table, within a cell a line ends plainly.
                    text.truncate(text.trim_end_matches('\r').len());
                    text.push('\n');
                    text.push_str(&more);
                    ended = and;
                }
                _ => return Ok(Some(faulty(number, problem("the quotes of this line are not closed within 1 MiB")))),
            }
        }
        if !ended {
            // Half an amount is an amount too.
            return Ok(Some(faulty(
                number,
                problem("the last line of a table has a line end, else it may be cut off"),
            )));
        }
        let Some(header) = &self.header else {
            return match Header::read(&text) {
                Ok(header) => {
                    self.header = Some(header);
                    Ok(None)
                }
                Err(problem) => Ok(Some(faulty(number, problem))),
            };
        };
        Ok(Some(match header.patch(&text) {
            Ok(patch) => Ok(Line { number, wanted: Wanted::Some(patch) }),
            Err(problem) => faulty(number, problem),
        }))
    }
}

fn json_line(number: u64, text: &str) -> Record {
    match serde_json::from_str::<ProductBody>(text) {
        Ok(body) => Ok(Line { number, wanted: Wanted::Whole(body.into_draft(None)) }),
        Err(error) => {
            // The parser's own words would repeat what was sent.
            let what = match error.classify() {
                serde_json::error::Category::Data => "a field is unknown, missing, there twice, or of another type",
                serde_json::error::Category::Eof => "the line breaks off",
                serde_json::error::Category::Syntax | serde_json::error::Category::Io => "this is no JSON",
            };
            faulty(number, problem(&format!("{what} (at character {})", error.column())))
        }
    }
}

fn problem(message: &str) -> FieldProblem {
    FieldProblem::new("", "format", message)
}

fn faulty(number: u64, problem: FieldProblem) -> Record {
    Err(FaultyLine { number, problems: vec![problem] })
}
