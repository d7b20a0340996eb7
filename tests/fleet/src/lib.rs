//! What the fleet's stories share: a shopper who uses the public API through the edge, and an operator who looks at the
//! region's databases and the gateway's books.

pub mod operator;
pub mod shopper;
