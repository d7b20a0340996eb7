//! All kinds of identifier, one list. A typed id cannot be handed in where another kind is expected. Only this file makes ids.
//!
//! Ids that a retry must find again are *derived* (UUID version 5) from what caused them: the same request key gives the
//! same order even after the row that remembered it is lost.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::region::Region;

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(out)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            /// Accepts the hyphenated lower-case form only, so that one id has one spelling in URLs and keys.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let uuid = Uuid::try_parse(text).map_err(|_| MalformedId)?;
                if uuid.as_hyphenated().to_string() == text { Ok(Self(uuid)) } else { Err(MalformedId) }
            }
        }
    )+};
}

uuid_ids! {
    /// A person with an account; equals the subject of that person's tokens.
    UserId,
    /// A browser without an account.
    VisitorId,
    /// An order; derived from the request key that placed it.
    OrderId,
    /// One try to move money for an order.
    AttemptId,
    /// One movement of money in the ledger.
    TransactionId,
    /// Money that goes back for an order; derived from the request key that asked for it.
    RefundId,
    /// Goods on their way.
    ShipmentId,
    /// An event; consumers remember it to apply an event once.
    MessageId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lower-case hyphenated UUID")]
pub struct MalformedId;

/// The identity provider's session identifier (`sid` claim): 1 to 128 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// # Errors
    /// [`MalformedId`] for a text that could not be part of a key.
    pub fn parse(text: &str) -> Result<Self, MalformedId> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedId)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OrderId {
    /// The order that `key` of `user` places in `region`, whenever and however often it is asked for.
    pub fn derive(region: Region, user: UserId, key: &str) -> Self {
        Self(derived("order", &[region.code(), &user.to_string(), key]))
    }
}

impl AttemptId {
    /// The `number`-th attempt (from 1) to pay `order`.
    pub fn derive(order: OrderId, number: u32) -> Self {
        Self(derived("attempt", &[&order.to_string(), &number.to_string()]))
    }
}

impl TransactionId {
    /// The one movement of `kind` for `subject`: asked for again, it is met and not made twice.
    pub fn derive(kind: &str, subject: &str) -> Self {
        Self(derived("transaction", &[kind, subject]))
    }
}

impl RefundId {
    /// The refund of `order` that `cause` asks for: a person's id and request key, or the name of a duty.
    pub fn derive(order: OrderId, cause: &str) -> Self {
        Self(derived("refund", &[&order.to_string(), cause]))
    }
}

impl ShipmentId {
    /// The one shipment of `order` that leaves from `fulfilment_centre`.
    pub fn derive(order: OrderId, fulfilment_centre: &str) -> Self {
        Self(derived("shipment", &[&order.to_string(), fulfilment_centre]))
    }
}

impl MessageId {
    /// The event `kind` that brought `aggregate` (its key) to `version`.
    pub fn derive(aggregate: &str, version: i64, kind: &str) -> Self {
        Self(derived("message", &[aggregate, &version.to_string(), kind]))
    }
}

/// A random id (version 4), for things that nobody needs to find again by their cause.
pub fn random() -> Uuid {
    Uuid::new_v4()
}

/// An id for what is only looked up in logs: unique, and not a secret. A request that is answered from memory would spend more on
/// asking the kernel for randomness than on its answer, so each thread asks once and counts on from there.
pub fn counted() -> Uuid {
    thread_local! {
        static NEXT: Cell<u128> = Cell::new(random().as_u128());
    }
    let number = NEXT.replace(NEXT.get().wrapping_add(1));
    uuid::Builder::from_random_bytes(number.to_be_bytes()).into_uuid()
}

/// A random id that sorts by the time of its making (version 7).
pub fn time_ordered() -> Uuid {
    Uuid::now_v7()
}

/// Parts are joined with a character that none of them contains, so that no two lists of parts give one name.
fn derived(kind: &str, parts: &[&str]) -> Uuid {
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("https://shopsphere.example/ids/{kind}").as_bytes());
    Uuid::new_v5(&namespace, parts.join("\u{1f}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_depends_on_every_part() {
        let user = UserId::from_uuid(random());
        let id = OrderId::derive(Region::ALL[0], user, "key-1");
        assert_eq!(id, OrderId::derive(Region::ALL[0], user, "key-1"));
        assert_ne!(id, OrderId::derive(Region::ALL[1], user, "key-1"));
        assert_ne!(id, OrderId::derive(Region::ALL[0], UserId::from_uuid(random()), "key-1"));
        assert_ne!(id, OrderId::derive(Region::ALL[0], user, "key-2"));
        assert_ne!(AttemptId::derive(id, 1), AttemptId::derive(id, 2));
        assert_ne!(MessageId::derive("a", 1, "x"), MessageId::derive("a", 2, "x"));
    }

    #[test]
    fn one_id_has_one_spelling() {
        let id = OrderId::from_uuid(random());
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [id.to_string().to_uppercase(), format!("{{{id}}}"), id.uuid().simple().to_string(), String::new()]
        {
            assert!(text.parse::<OrderId>().is_err() || text == id.to_string(), "{text:?}");
        }
    }
}
