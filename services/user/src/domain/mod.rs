//! The rules about people and clicks: which names, e-mails, passwords and addresses are possible, when a sign-up is over,
//! which clicks count and what must never leave in them. Pure: no async, no I/O, no clock, no wire formats.

pub mod address;
pub mod bot;
pub mod click;
pub mod consent;
pub mod person;
pub mod profile;
pub mod redact;
pub mod sign_up;

pub use address::{Address, AddressForm};
pub use click::{Click, ClickForm, ClickType, Event, RefusedClick};
pub use consent::Consents;
pub use person::{Email, Language, Password, PersonName};
pub use profile::{Profile, ProfileChange, ProfileForm};
pub use sign_up::{NextStep, Registration, SignUp, SignUpForm, SignUpId};
