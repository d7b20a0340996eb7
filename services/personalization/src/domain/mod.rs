//! What clicks mean. Pure: no async, no I/O, no clock, no wire formats.
//!
//! A batch of reports is gathered per person ([`batch`]), folded into each person's profile ([`interest`]), counted for the
//! shop as a whole ([`popularity`]), and later turned into lists ([`recommend`]).

pub mod batch;
pub mod click;
pub mod interest;
pub mod popularity;
pub mod recent;
pub mod recommend;

pub use batch::{Batch, Outcome, Person, PersonChange, Stored};
pub use click::{Click, ClickKind, Feature, Position, Pseudonym, Report};
pub use interest::{Profile, Rating};
pub use popularity::{Gain, Pair, PairKind};
pub use recent::Recent;
