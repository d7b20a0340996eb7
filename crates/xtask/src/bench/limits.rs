//! What this machine can do at best, so that a ratio can be placed.

use anyhow::Result;

use super::results::{self, Limits};
use super::rig::Rig;
use super::{Options, orders};
use crate::layout;

const CLIENTS: [usize; 3] = [1, 8, 32];

/// Measures, prints and, unless programs are unoptimised, writes it down.
///
/// # Errors
/// A server that does not start.
pub fn run(options: &Options) -> Result<()> {
    let mut limits =
        Limits { machine: results::machine(), date: results::date(), commit: String::new(), rows: Vec::new() };
    println!("{}", limits.machine);
    for fsync in &options.fsync {
        let rig = Rig::servers(options, *fsync)?;
        rig.sql(orders::INSERT_TABLE)?;
        let mut row = |what: String, value: String| {
            println!("{}: {what}: {value}", fsync.name());
            limits.rows.push((fsync.name().to_owned(), what, value));
        };
        row("fdatasync of 8 kB".to_owned(), format!("{:.0} µs", rig.fdatasync_us));
        for clients in CLIENTS {
            let selects = rig.pgbench("SELECT 1;\n", clients, options.side_s)?;
            row(format!("SELECT 1, {clients} clients"), format!("{selects:.0} per second"));
            let inserts = rig.pgbench(orders::INSERT, clients, options.side_s)?;
            row(format!("one-row INSERT transaction, {clients} clients"), format!("{inserts:.0} per second"));
        }
    }
    let checkout = layout::checkout();
    if !options.debug {
        limits.commit = results::commit(&checkout);
        limits.write(&checkout)?;
    }
    Ok(())
}
