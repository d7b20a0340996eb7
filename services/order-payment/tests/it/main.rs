//! Stories of orders and payments. Those that need servers use the test stack.

mod carts;
mod crashes;
mod events;
mod gateway;
mod gateway_conformance;
mod gateway_settlement;
mod http;
mod http_money;
mod intake;
mod ledger;
mod live;
mod operators;
mod order_states;
mod orphans;
mod place_order;
mod price_locks;
mod reconcile;
mod refunds;
mod reigns;
mod schema;
mod store_credit;
mod store_suite;
mod stripe_mock;
mod traces;
mod webhooks;
mod world;
