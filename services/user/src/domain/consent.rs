//! What a person agreed to. Absent means no: nothing is ever presumed.

/// Consents as they stand at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consents {
    /// Clicks may shape what this person is shown.
    pub personalisation: bool,
    /// We may write to this person about offers.
    pub marketing: bool,
}
