//! The table of what was killed and what was left.

use std::fmt::Write as _;

use messaging::crash::Boundary;

use crate::fate::End;

/// One planned end and what came of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// `None` for a point inside a step.
    pub boundary: Option<Boundary>,
    pub point: String,
    pub program: &'static str,
    pub behaviour: &'static str,
    pub passage: u32,
    pub end: End,
    /// Did the program end there?
    pub met: bool,
    /// The statuses of the orders, or what is wrong.
    pub left: Result<String, String>,
}

impl Row {
    pub fn green(&self) -> bool {
        self.met && self.left.is_ok()
    }
}

/// The whole run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub rows: Vec<Row>,
    /// Boundaries whose step no run takes, and whatever else belongs to no row.
    pub faults: Vec<String>,
    pub seconds: f64,
    pub events: usize,
    pub events_again: usize,
}

impl Report {
    pub fn green(&self) -> bool {
        self.faults.is_empty() && !self.rows.is_empty() && self.rows.iter().all(Row::green)
    }

    /// What is red, a line each.
    pub fn complaints(&self) -> String {
        let mut text = self.faults.join("\n");
        for row in self.rows.iter().filter(|row| !row.green()) {
            let why = row.left.as_ref().err().map_or("", String::as_str);
            let met = if row.met { "" } else { "the program did not end there; " };
            let _ = write!(text, "\n{} in {} while {}: {met}{why}", row.point, row.program, row.behaviour);
        }
        text
    }

    /// As a page.
    pub fn markdown(&self, commit: &str, command: &str) -> String {
        let met = self.rows.iter().filter(|row| row.met).count();
        let green = self.rows.iter().filter(|row| row.green()).count();
        let mut page = format!(
            "# Crash points\n\nEach boundary of `crates/messaging/src/boundary.rs` with the kills before and after it: the real program \
             died by SIGKILL, was started again, and PostgreSQL, the gateway's books and Kafka agreed. Written by `{command}` at \
             commit {commit}; not edited by hand.\n\n\
             {boundaries} boundaries, {met} kills in {planned} planned, {green} green, {seconds:.0} s. {events} events in the topics, \
             {again} of them told again after a kill.\n\n\
             | # | Boundary | Around | Room | Side | Program | While | Killed | Left | |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
            boundaries = Boundary::ALL.len(),
            planned = self.rows.len(),
            seconds = self.seconds,
            events = self.events,
            again = self.events_again,
        );
        for row in &self.rows {
            let (number, name, around, room, side) = match row.boundary {
                Some(boundary) => (
                    (boundary as usize).to_string(),
                    boundary.name(),
                    boundary.surrounds().word(),
                    boundary.room(),
                    if row.point == boundary.before() { "before" } else { "after" },
                ),
                None => (String::new(), row.point.as_str(), "", "", "inside"),
            };
            let left = row.left.as_deref().unwrap_or_else(|wrong| wrong);
            let _ = writeln!(
                page,
                "| {number} | `{name}` | {around} | {room} | {side} | {} | {} | {} | {} | {} |",
                row.program,
                row.behaviour,
                if row.met { "yes" } else { "NO" },
                left.replace('|', "/"),
                if row.green() { "green" } else { "RED" },
            );
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(met: bool, left: Result<&str, &str>) -> Row {
        Row {
            boundary: Some(Boundary::PlaceOrder),
            point: Boundary::PlaceOrder.before().to_owned(),
            program: "order-payment-serve",
            behaviour: "approved",
            passage: 1,
            end: End::Kill,
            met,
            left: left.map(str::to_owned).map_err(str::to_owned),
        }
    }

    #[test]
    fn a_kill_that_did_not_happen_is_red_whatever_was_left() {
        let report = |rows| Report { rows, ..Report::default() };
        assert!(report(vec![row(true, Ok("COMPLETED"))]).green());
        assert!(!report(vec![row(false, Ok("COMPLETED"))]).green());
        assert!(!report(vec![row(true, Err("charged twice"))]).green());
        assert!(!report(vec![]).green(), "no kill proves nothing");
        let faulty = Report { faults: vec!["no run passes it".to_owned()], ..report(vec![row(true, Ok("COMPLETED"))]) };
        assert!(!faulty.green());
        assert!(report(vec![row(false, Ok("COMPLETED"))]).complaints().contains("did not end there"));
    }
}
