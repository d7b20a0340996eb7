//! What clicks mean. Pure: no async, no I/O, no clock, no wire formats.
//!
//! A batch of reports is gathered per person ([`batch`]), folded into each person's profile ([`interest`]), counted for the
//! shop as a whole ([`popularity`]), told to the index of visits without their person ([`visit`]), and later turned into lists
//! ([`suggest`], [`recommend`]), each of which holds for a while ([`session`]). Who sees which of two ways, and what that showed, is [`experiment`].

pub mod batch;
pub mod click;
pub mod experiment;
pub mod interest;
pub mod popularity;
pub mod recent;
pub mod recommend;
pub mod seen;
pub mod session;
pub mod suggest;
pub mod visit;

pub use batch::{Batch, Marks, Outcome, Person, PersonChange, Span, Stored};
pub use click::{Click, ClickKind, Feature, Position, Pseudonym, Report, Window};
pub use interest::{Profile, Rating};
pub use popularity::{Gain, Pair, PairKind};
pub use recent::Recent;
pub use seen::Seen;
pub use visit::VisitStep;
