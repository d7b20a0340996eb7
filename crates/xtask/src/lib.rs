//! What `./dev` does: puts real servers on this machine, starts and stops a whole region, runs all checks, holds the architecture
//! rules. Tests use `ports` and `stack` to reach, kill and restart single processes. Nothing here is part of a running region.

pub mod bench;
pub mod campaign;
pub mod cluster;
pub mod compose_check;
pub mod crash_points;
pub mod deploy;
pub mod doctor;
pub mod drill;
pub mod layout;
pub mod net;
pub mod os;
pub mod planted;
pub mod ports;
pub mod progress;
pub mod provision;
pub mod render;
pub mod stack;
pub mod status;
pub mod test_run;
pub mod tidy;
