//! What people can do here: one file per verb. Guard, gather, decide, commit.
//!
//! Not decided here: how requests look (`inbound`), where things are kept (`outbound`), and the rules (`domain`).

pub mod error;
pub mod ports;

mod change_addresses;
mod change_consents;
mod change_profile;
mod complete_sign_up;
mod log_in;
mod log_out;
mod reconcile_sign_ups;
mod refresh_session;
mod report_clicks;
mod settle_session;
mod sign_up;
mod view_me;

use std::sync::Arc;

use common::{Region, SharedClock, UserId, VisitorId};

pub use change_addresses::change_addresses;
pub use change_consents::change_consents;
pub use change_profile::change_profile;
pub use error::{Result, UserError};
pub use log_in::{LogInForm, log_in};
pub use log_out::{log_out, log_out_everywhere};
pub use reconcile_sign_ups::{Reconciled, reconcile_sign_ups};
pub use refresh_session::refresh_session;
pub use report_clicks::{ClickReport, Reported, Reporter, Signals, report_clicks};
pub use sign_up::{SignedUp, sign_up};
pub use view_me::{view_addresses, view_consents, view_me};

use ports::{ClickLog, Identities, Limits, People, Sessions, Tokens};

/// What every use case works with.
#[derive(Clone)]
pub struct App {
    /// The one region whose people this process knows.
    pub region: Region,
    pub people: Arc<dyn People>,
    pub identities: Arc<dyn Identities>,
    pub tokens: Arc<dyn Tokens>,
    pub sessions: Arc<dyn Sessions>,
    pub clicks: Arc<dyn ClickLog>,
    pub limits: Arc<dyn Limits>,
    pub clock: SharedClock,
    pub pseudonyms: Pseudonyms,
}

/// Turns people into pseudonyms with the region's key.
#[derive(Clone)]
pub struct Pseudonyms(Arc<[u8]>);

impl Pseudonyms {
    pub fn new(key: &[u8]) -> Self {
        Self(key.into())
    }

    pub fn of_user(&self, user: UserId) -> String {
        contracts::interest::pseudonym(&self.0, user)
    }

    pub fn of_visitor(&self, visitor: VisitorId) -> String {
        contracts::interest::pseudonym(&self.0, visitor)
    }
}
