//! The desks of the back office and the realm roles that open them. `staff` opens every desk; the others open one each, so
//! that whoever sets prices need not be able to change products.

use chassis::Problem;
use chassis::extract::Caller;
use operations::STAFF;

/// For acts that may be done without saying why: what is written down then.
const NO_REASON: &str = "none given";

/// The reason somebody gave, or that there was none.
///
/// # Errors
/// As [`operations::reason`].
pub(super) fn reason(given: Option<&str>) -> Result<String, Problem> {
    given.map_or_else(|| Ok(NO_REASON.to_owned()), operations::reason)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Desk {
    /// Products, schemas, pictures, imports and exports.
    Products,
    Prices,
    Stock,
}

impl Desk {
    /// The realm role for this desk alone.
    fn role(self) -> &'static str {
        match self {
            Self::Products => "merchandiser",
            Self::Prices => "pricing",
            Self::Stock => "warehouse",
        }
    }

    /// # Errors
    /// 403 `forbidden` for everybody who has neither role.
    pub fn open_to(self, caller: &Caller) -> Result<(), Problem> {
        caller.require_role(self.role()).or_else(|_| caller.require_role(STAFF))
    }
}
