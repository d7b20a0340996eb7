//! Stories of stock and reservations.
