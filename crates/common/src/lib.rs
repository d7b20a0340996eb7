//! The vocabulary of ShopSphere Core: the words that every service means in the same way.
//!
//! Decided here: identifiers, money, regions, tax of one amount, what personal data may do, kinds of error, where time comes from. Pure:
//! nothing in this crate does I/O, spawns, or knows a wire format; its types derive neither `Serialize` nor `FromRow`.

pub mod clock;
pub mod error;
pub mod ids;
pub mod money;
pub mod privacy;
pub mod region;
pub mod sku;
pub mod tax;

pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use error::{ErrorKind, Explain, FieldProblem};
pub use ids::{AttemptId, MessageId, OrderId, RefundId, SessionId, ShipmentId, TransactionId, UserId, VisitorId};
pub use money::{Currency, Money, MoneyError};
pub use privacy::{Anonymous, Private, Regional, ReleaseRule, TooFewPeople, WrongRegion};
pub use region::{Region, UnknownRegion};
pub use sku::{InvalidSku, Sku};
pub use tax::{Prices, RoundTax, TaxClass, TaxPlace, TaxRate, Ties};
