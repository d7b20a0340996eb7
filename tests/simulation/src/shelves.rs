//! Where the goods of the simulated shop lie: in one place.

use catalog::domain::centre::{Centre, Centres};

/// The one place where goods lie.
pub fn only_centre() -> Centre {
    let Ok(only) = Centre::parse("rdc") else { unreachable!("a name of ours") };
    only
}

pub fn centres() -> Centres {
    Centres::new(only_centre(), [])
}
