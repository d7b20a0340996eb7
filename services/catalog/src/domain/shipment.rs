//! Goods on their way. Decided here: which parcels an order needs, one from each centre it was served from. A parcel exists
//! only because an order was completed: the store ties it to the message that said so. One whose goods are still awaited
//! exists too and says so; it leaves when they are there, and never before.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use common::{OrderId, ShipmentId, Sku};

use super::centre::Centre;
use super::inventory::SupplyKind;
use super::shelves::Piece;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShipmentState {
    /// Some of its goods were promised before they came in.
    Waiting,
    Ready,
    /// Everything in it was given back before it left.
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a shipment")]
pub struct UnknownShipmentState;

impl ShipmentState {
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Ready, Self::Cancelled];

    pub fn code(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Ready => "READY",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl FromStr for ShipmentState {
    type Err = UnknownShipmentState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.code() == text).ok_or(UnknownShipmentState)
    }
}

/// What a shopper chose of a made-to-order product: sorted pairs of key and value.
pub type Options = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipmentLine {
    pub sku: Sku,
    pub quantity: u32,
    pub options: Options,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    pub id: ShipmentId,
    pub order: OrderId,
    pub centre: Centre,
    pub state: ShipmentState,
    pub lines: Vec<ShipmentLine>,
    pub created_at: DateTime<Utc>,
}

/// The parcels of `order`, by centre. Lines that nobody can carry are in none.
pub fn parcels(
    order: OrderId,
    pieces: &[Piece],
    kinds: &BTreeMap<Sku, SupplyKind>,
    options: &BTreeMap<Sku, Options>,
    now: DateTime<Utc>,
) -> Vec<Shipment> {
    let mut by_centre: BTreeMap<&Centre, Vec<&Piece>> = BTreeMap::new();
    for piece in pieces {
        if is_goods(piece, kinds) {
            by_centre.entry(&piece.centre).or_default().push(piece);
        }
    }
    let parcel = |(centre, pieces): (&Centre, Vec<&Piece>)| Shipment {
        id: ShipmentId::derive(order, centre.as_str()),
        order,
        centre: centre.clone(),
        state: state_of(&pieces),
        lines: pieces.into_iter().filter_map(|piece| ShipmentLine::of(piece, options)).collect(),
        created_at: now,
    };
    by_centre.into_iter().map(parcel).collect()
}

/// What goes out with `parcels` has left the house.
pub fn let_go(pieces: &mut [Piece], parcels: &[Shipment], kinds: &BTreeMap<Sku, SupplyKind>) {
    let leaves =
        |centre: &Centre| parcels.iter().any(|parcel| parcel.state == ShipmentState::Ready && parcel.centre == *centre);
    for piece in pieces {
        piece.left |= is_goods(piece, kinds) && leaves(&piece.centre);
    }
}

/// A kind that is not known is taken for goods: better an empty parcel than an order that never leaves.
fn is_goods(piece: &Piece, kinds: &BTreeMap<Sku, SupplyKind>) -> bool {
    kinds.get(&piece.sku).is_none_or(|kind| kind.is_physical())
}

fn state_of(pieces: &[&Piece]) -> ShipmentState {
    if pieces.iter().all(|piece| piece.kept() == 0) {
        ShipmentState::Cancelled
    } else if pieces.iter().any(|piece| piece.waiting > 0) {
        ShipmentState::Waiting
    } else {
        ShipmentState::Ready
    }
}

impl ShipmentLine {
    fn of(piece: &Piece, options: &BTreeMap<Sku, Options>) -> Option<Self> {
        let options = options.get(&piece.sku).cloned().unwrap_or_default();
        (piece.kept() > 0).then(|| Self { sku: piece.sku.clone(), quantity: piece.kept(), options })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, at: &str, waiting: u32, returned: u32) -> Piece {
        let place = (Sku::parse(text).unwrap(), Centre::parse(at).unwrap());
        Piece { returned, ..Piece::of(place, 2, waiting) }
    }

    #[test]
    fn each_centre_sends_one_parcel_of_what_can_be_carried() {
        use SupplyKind::{Counted, MadeToOrder, Serialised, Unlimited};
        let order = OrderId::from_uuid(common::ids::random());
        let kinds = [("A", Counted), ("D", Unlimited), ("M", MadeToOrder), ("S", Serialised)];
        let kinds: BTreeMap<Sku, SupplyKind> = kinds.map(|(text, kind)| (Sku::parse(text).unwrap(), kind)).into();
        let chosen = vec![("size".to_owned(), "m".to_owned())];
        let options = BTreeMap::from([(Sku::parse("M").unwrap(), chosen.clone())]);
        type Parcels = &'static [(&'static str, &'static str, &'static str)];
        let table: [(Vec<Piece>, Parcels); 6] = [
            (vec![piece("D", "near", 0, 0)], &[]),
            (vec![piece("A", "near", 0, 0), piece("D", "far", 0, 0)], &[("near", "READY", "A")]),
            (vec![piece("M", "far", 0, 0), piece("S", "near", 0, 0)], &[("far", "READY", "M"), ("near", "READY", "S")]),
            (vec![piece("A", "near", 1, 0), piece("S", "near", 0, 0)], &[("near", "WAITING", "A S")]),
            (vec![piece("A", "near", 1, 2)], &[("near", "CANCELLED", "")]),
            (vec![piece("A", "near", 0, 2), piece("S", "near", 0, 1)], &[("near", "READY", "S")]),
        ];
        for (pieces, expected) in table {
            let parcels = parcels(order, &pieces, &kinds, &options, DateTime::UNIX_EPOCH);
            let skus =
                |parcel: &Shipment| parcel.lines.iter().map(|line| line.sku.as_str()).collect::<Vec<_>>().join(" ");
            let found: Vec<_> =
                parcels.iter().map(|parcel| (parcel.centre.as_str(), parcel.state.code(), skus(parcel))).collect();
            let found: Vec<_> = found.iter().map(|(at, state, skus)| (*at, *state, skus.as_str())).collect();
            assert_eq!(found, expected);
            for line in parcels.iter().flat_map(|parcel| &parcel.lines) {
                assert_eq!(line.options, if line.sku.as_str() == "M" { chosen.clone() } else { Vec::new() });
            }
        }
        for state in ShipmentState::ALL {
            assert_eq!(state.code().parse(), Ok(state));
        }
    }
}
