//! What would be deployed: rendered files follow their sources, the committed objects of the seven sites keep every rule, and a mistake
//! of each kind is refused by the rule that is named for it.

mod borders;
mod checkers;
mod coming_up;
mod decisions;
mod edge;
mod outward;
mod planted;
mod planted_edge;
mod planted_settings;
mod received;
mod renders;
mod scale;
mod sources;
mod with_helm;

use std::sync::LazyLock;

use xtask::deploy::objects::{self, Rendered};
use xtask::layout::checkout;

/// The committed objects, read once.
static SITES: LazyLock<Vec<Rendered>> =
    LazyLock::new(|| objects::read(&checkout()).unwrap_or_else(|error| panic!("{error:#}")));
