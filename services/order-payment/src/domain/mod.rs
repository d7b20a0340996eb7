//! The rules of orders and payments: types that cannot be wrong, transitions, arithmetic. Pure: no async, no I/O, no clock,
//! no wire formats. Time and ids come in as arguments; what happened comes out as values.

pub mod accounts;
pub mod address;
pub mod backoff;
pub mod basket;
pub mod card_data;
pub mod card_testing;
pub mod cart;
pub mod coupon;
pub mod gateway;
pub mod keys;
pub mod ledger;
pub mod ledger_seal;
pub mod order;
pub mod orphan;
pub mod payment;
pub mod price_lock;
pub mod quote;
pub mod refund;
pub mod settle;
pub mod settlement;
pub mod tax;

pub use address::ShippingAddress;
pub use basket::{BasketLine, PaymentToken, PlaceOrder};
pub use card_testing::{CardTesting, Refusal, Tried, Verdict};
pub use coupon::{CouponCode, CouponCount, CouponUse, Reduction};
pub use gateway::{Answer, Call, Flow, Intent, IntentStatus, Look, Via};
pub use ledger::{Account, Entry, LedgerKind, Transaction};
pub use order::{Order, OrderEvent, OrderStatus, OrderStep, Reason, WrongState};
pub use orphan::Orphan;
pub use payment::{Attempt, AttemptKind, AttemptState};
pub use quote::{ListedLine, Priced, PricedLine, QuoteProblem};
pub use refund::{Refund, RefundLine, RefundState, RefundTarget, Wish};
pub use tax::{LineTax, OrderTax, Parts};
