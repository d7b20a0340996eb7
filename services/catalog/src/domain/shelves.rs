//! The rows of some SKUs as they stand under their locks, and what is done to them. Decided here: from which centre an order
//! is served, who waits for goods, whom incoming goods go to first. Pure: a store loads the rows, lets this decide, and writes
//! what changed, so that many orders are decided in one transaction and every store decides alike.
//!
//! *From which centre.* The first centre, in order of preference, that has every line in full serves the whole order: one
//! parcel. If there is none, each line takes what there is from centre to centre in the same order. What is missing then is
//! back-ordered in the first centre whose limit has room for all of it; if there is none, nothing is held at all.
//!
//! *Who waits.* Units promised before they came in belong to an order, and goods go to the oldest promise of their row. Goods
//! that come into one centre while another owes are booked where they are owed. So a row never has goods for sale and debts.

use std::collections::BTreeMap;

use common::{OrderId, Sku};

use super::centre::{Centre, Centres};
use super::correction::Change;
use super::inventory::{Availability, LevelError, MovementKind, StockLevel, SupplyKind};
use super::lines::Lines;

/// A row of the stock: a SKU in a centre. In the order in which rows are locked.
pub type Place = (Sku, Centre);

/// Units of one line of an order, in the centre they were taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub sku: Sku,
    pub centre: Centre,
    pub quantity: u32,
    /// Of these, still waited for.
    pub waiting: u32,
    /// Of these, given back after the sale.
    pub returned: u32,
    /// It is out of the house, with the parcel of its centre.
    pub left: bool,
}

/// A promise that waits for goods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub order: OrderId,
    pub place: Place,
    pub units: u32,
    /// Some of it was covered since it was loaded.
    pub changed: bool,
}

/// Units that moved in a row. What they moved for is known to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub order: Option<OrderId>,
    pub place: Place,
    pub kind: MovementKind,
    pub units: u32,
}

/// A line cannot be held; nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short(pub Sku);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    #[error("{0} cannot count that many units")]
    Full(Sku),
    /// Never happens unless a row was changed by hand.
    #[error("{} in {}: {error}", place.0, place.1)]
    Broken { place: Place, error: LevelError },
}

/// A correction that the rows contradict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCorrect {
    #[error("{0} never came in there")]
    Unknown(Sku),
    #[error("{0} is not counted")]
    NotCounted(Sku),
    /// Fewer are for sale than were missed; the others belong to somebody.
    #[error("fewer units of {0} are for sale there")]
    NotForSale(Sku),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// Nothing can be promised of a SKU before it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPromises {
    /// It was never declared here.
    Unknown(Sku),
    /// It cannot run out.
    NotCounted(Sku),
}

#[derive(Clone, Debug, Default)]
pub struct Shelves {
    rows: BTreeMap<Place, StockLevel>,
    /// Version of each row that changed, from before its first change.
    changed: BTreeMap<Place, i64>,
    /// Oldest promise first.
    waiting: Vec<Waiting>,
    moves: Vec<Move>,
}

impl Shelves {
    /// `waiting` is needed by what frees or brings units, oldest first; holding does not look at it.
    pub fn new(rows: BTreeMap<Place, StockLevel>, waiting: Vec<Waiting>) -> Self {
        Self { rows, changed: BTreeMap::new(), waiting, moves: Vec::new() }
    }

    /// Holds all lines of an order, or none and names the first line that is short.
    ///
    /// # Errors
    /// [`Short`]; nothing was changed.
    pub fn hold(&mut self, order: OrderId, lines: &Lines, centres: &Centres) -> Result<Vec<Piece>, Short> {
        let pieces = self.allocate(lines, centres)?;
        // Applied to copies first: a row that cannot count more leaves the others as they were.
        let mut rows = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            let short = || Short(piece.sku.clone());
            let mut row = self.row(piece).cloned().ok_or_else(short)?;
            if piece.waiting > 0 {
                row = row.apply(MovementKind::BackOrdered, piece.waiting).map_err(|_| short())?;
            }
            rows.push(row.apply(MovementKind::Held, piece.quantity).map_err(|_| short())?);
        }
        for (piece, row) in pieces.iter().zip(rows) {
            let place = piece.place();
            if piece.waiting > 0 {
                self.note(order, &place, MovementKind::BackOrdered, piece.waiting);
                self.waiting.push(Waiting { order, place: place.clone(), units: piece.waiting, changed: false });
            }
            self.note(order, &place, MovementKind::Held, piece.quantity);
            self.put(place, row);
        }
        Ok(pieces)
    }

    /// Gives back what an order held: to those who wait, then to the shelf.
    ///
    /// # Errors
    /// [`ShelfError`] when less is held; then these shelves must not be written.
    pub fn release(&mut self, order: OrderId, pieces: &[Piece]) -> Result<(), ShelfError> {
        for piece in pieces {
            self.apply(Some(order), &piece.place(), MovementKind::Released, piece.quantity)?;
            self.settle_debts(order, piece, piece.quantity)?;
        }
        Ok(())
    }

    /// What is held is gone for good. Returns the numbers of serialised units, one run per piece: they follow the order of
    /// sale over all centres without gaps, so a sale can never run out of them.
    ///
    /// # Errors
    /// As [`Shelves::release`].
    pub fn sell(&mut self, order: OrderId, pieces: &[Piece]) -> Result<Vec<(Sku, i64)>, ShelfError> {
        let mut serials = Vec::new();
        for piece in pieces {
            self.apply(Some(order), &piece.place(), MovementKind::Sold, piece.quantity)?;
            if self.kind(&piece.sku) == Some(SupplyKind::Serialised) {
                let sold: i64 = self.rows_of(&piece.sku).map(|(_, row)| row.sold).sum();
                let first = sold - i64::from(piece.quantity) + 1;
                serials.extend((first..=sold).map(|number| (piece.sku.clone(), number)));
            }
        }
        Ok(serials)
    }

    /// Units come back after a sale; `quantity` of each piece says how many.
    ///
    /// # Errors
    /// As [`Shelves::release`].
    pub fn take_back(&mut self, order: OrderId, pieces: &[Piece]) -> Result<(), ShelfError> {
        for piece in pieces {
            self.apply(Some(order), &piece.place(), MovementKind::Returned, piece.quantity)?;
            self.settle_debts(order, piece, piece.quantity)?;
        }
        Ok(())
    }

    /// Units come in at `centre`; what is owed is covered first, there and then elsewhere.
    ///
    /// # Errors
    /// [`ShelfError::Full`]
    pub fn receive(&mut self, sku: &Sku, centre: &Centre, units: u32) -> Result<(), ShelfError> {
        self.bring(sku, centre, MovementKind::Received, units)
    }

    /// A count said something else than the row of `centre`: what was found goes where what comes in goes, what was missed was for
    /// sale there.
    ///
    /// # Errors
    /// [`CannotCorrect`]; then these shelves must not be written.
    pub fn correct(&mut self, sku: &Sku, centre: &Centre, change: Change) -> Result<(), CannotCorrect> {
        let place = (sku.clone(), centre.clone());
        let row = self.rows.get(&place).ok_or_else(|| CannotCorrect::Unknown(sku.clone()))?;
        if !row.kind.is_counted() {
            return Err(CannotCorrect::NotCounted(sku.clone()));
        }
        match change {
            Change::Found(units) => Ok(self.bring(sku, centre, MovementKind::Found, units)?),
            Change::Lost(units) if row.available < i64::from(units) => Err(CannotCorrect::NotForSale(sku.clone())),
            Change::Lost(units) => Ok(self.apply(None, &place, MovementKind::Lost, units)?),
        }
    }

    fn bring(&mut self, sku: &Sku, centre: &Centre, kind: MovementKind, units: u32) -> Result<(), ShelfError> {
        let here = (sku.clone(), centre.clone());
        let owed_here = self.rows.get(&here).map_or(0, |row| row.back_ordered);
        let mut left = units.saturating_sub(u32::try_from(owed_here).unwrap_or(u32::MAX));
        let elsewhere: Vec<(Place, u32)> = self
            .rows_of(sku)
            .filter(|(place, row)| **place != here && row.back_ordered > 0)
            .map(|(place, row)| (place.clone(), u32::try_from(row.back_ordered).unwrap_or(u32::MAX)))
            .collect();
        let mut bookings = Vec::new();
        for (place, owed) in elsewhere {
            let given = owed.min(left);
            left -= given;
            bookings.push((place, given));
        }
        let sent_on: u32 = bookings.iter().map(|(_, given)| given).sum();
        bookings.push((here, units - sent_on));
        for (place, given) in bookings.into_iter().filter(|(_, given)| *given > 0) {
            self.apply(None, &place, kind, given)?;
            self.cover_oldest(None, &place, given)?;
        }
        Ok(())
    }

    /// The row in which units of `sku` are promised before they come in: its first, in order of preference.
    ///
    /// # Errors
    /// [`NoPromises`]
    pub fn promising(&self, sku: &Sku, centres: &Centres) -> Result<Place, NoPromises> {
        let places = centres.iter().map(|centre| (sku.clone(), centre.clone()));
        let mut places = places.filter_map(|place| Some((self.rows.get(&place)?, place)));
        match places.next() {
            Some((row, place)) if row.kind.is_counted() => Ok(place),
            Some(_) => Err(NoPromises::NotCounted(sku.clone())),
            None => Err(NoPromises::Unknown(sku.clone())),
        }
    }

    /// Sets how much may be promised in all, as a store without SQL does it.
    ///
    /// # Errors
    /// [`NoPromises`]
    pub fn limit_promises(&mut self, sku: &Sku, limit: u32, centres: &Centres) -> Result<(), NoPromises> {
        let promising = self.promising(sku, centres)?;
        for (place, row) in self.rows.iter_mut().filter(|((of, _), _)| of == sku) {
            let limit = if *place == promising { i64::from(limit) } else { 0 };
            if row.back_order_limit != limit {
                row.back_order_limit = limit;
                row.version += 1;
            }
        }
        Ok(())
    }

    pub fn rows(&self) -> &BTreeMap<Place, StockLevel> {
        &self.rows
    }

    /// How the SKU is supplied; `None` for one that was never declared.
    pub fn kind(&self, sku: &Sku) -> Option<SupplyKind> {
        self.rows_of(sku).next().map(|(_, row)| row.kind)
    }

    /// Rows that changed, with the version each had before, in the order of their locks.
    pub fn changes(&self) -> impl Iterator<Item = (&Place, i64, &StockLevel)> {
        self.changed.iter().filter_map(|(place, before)| Some((place, *before, self.rows.get(place)?)))
    }

    /// What moved, in the order it happened.
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// Promises as they stand now, oldest first; one without units is over.
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    fn allocate(&self, lines: &Lines, centres: &Centres) -> Result<Vec<Piece>, Short> {
        for centre in centres.iter() {
            if let Some(pieces) = self.all_from(lines, centre, centres) {
                return Ok(pieces);
            }
        }
        let mut pieces = Vec::with_capacity(lines.len());
        for line in lines.iter() {
            pieces.extend(self.split(&line.sku, line.quantity, centres).ok_or_else(|| Short(line.sku.clone()))?);
        }
        Ok(pieces)
    }

    /// The whole order from one centre. What is not counted comes from any: it is never the reason to split an order.
    fn all_from(&self, lines: &Lines, centre: &Centre, centres: &Centres) -> Option<Vec<Piece>> {
        let whole = |sku: &Sku, quantity: u32| {
            let place = (sku.clone(), centre.clone());
            match self.rows.get(&place) {
                Some(row) if !row.kind.is_counted() => Some(Piece::of(place, quantity, 0)),
                Some(row) if row.available >= i64::from(quantity) => Some(Piece::of(place, quantity, 0)),
                Some(_) => None,
                None => self.uncounted(sku, quantity, centres),
            }
        };
        lines.iter().map(|line| whole(&line.sku, line.quantity)).collect()
    }

    fn uncounted(&self, sku: &Sku, quantity: u32, centres: &Centres) -> Option<Piece> {
        let places = centres.iter().map(|centre| (sku.clone(), centre.clone()));
        let mut places = places.filter(|place| self.rows.get(place).is_some_and(|row| !row.kind.is_counted()));
        places.next().map(|place| Piece::of(place, quantity, 0))
    }

    fn split(&self, sku: &Sku, quantity: u32, centres: &Centres) -> Option<Vec<Piece>> {
        if let Some(piece) = self.uncounted(sku, quantity, centres) {
            return Some(vec![piece]);
        }
        let rows: Vec<(Place, &StockLevel)> = centres
            .iter()
            .map(|centre| (sku.clone(), centre.clone()))
            .filter_map(|place| self.rows.get(&place).map(|row| (place, row)))
            .collect();
        let mut missing = quantity;
        let mut taken: Vec<(Place, u32)> = Vec::new();
        for (place, row) in &rows {
            let units = u32::try_from(row.available).unwrap_or(u32::MAX).min(missing);
            missing -= units;
            if units > 0 {
                taken.push((place.clone(), units));
            }
        }
        let mut pieces: Vec<Piece> = taken.into_iter().map(|(place, units)| Piece::of(place, units, 0)).collect();
        if missing > 0 {
            let room = |row: &StockLevel| row.back_order_limit - row.back_ordered >= i64::from(missing);
            let (place, _) = rows.iter().find(|(_, row)| room(row))?;
            match pieces.iter_mut().find(|piece| piece.centre == place.1) {
                Some(piece) => {
                    piece.quantity += missing;
                    piece.waiting = missing;
                }
                None => pieces.push(Piece::of(place.clone(), missing, missing)),
            }
        }
        Some(pieces)
    }

    /// Units of `piece` became free: its own promise ends first, because nobody waits for it any more.
    fn settle_debts(&mut self, order: OrderId, piece: &Piece, freed: u32) -> Result<(), ShelfError> {
        let place = piece.place();
        let mut own = 0;
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.order == order && waiting.place == place) {
            let ended = waiting.units.min(freed - own);
            waiting.end(ended);
            own += ended;
        }
        self.apply_some(Some(order), &place, MovementKind::Covered, own)?;
        self.cover_oldest(Some(order), &place, freed - own)
    }

    fn cover_oldest(&mut self, cause: Option<OrderId>, place: &Place, units: u32) -> Result<(), ShelfError> {
        let mut left = units;
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.place == *place) {
            let covered = waiting.units.min(left);
            waiting.end(covered);
            left -= covered;
        }
        self.apply_some(cause, place, MovementKind::Covered, units - left)
    }

    fn apply_some(
        &mut self,
        cause: Option<OrderId>,
        place: &Place,
        kind: MovementKind,
        units: u32,
    ) -> Result<(), ShelfError> {
        if units == 0 { Ok(()) } else { self.apply(cause, place, kind, units) }
    }

    fn apply(
        &mut self,
        cause: Option<OrderId>,
        place: &Place,
        kind: MovementKind,
        units: u32,
    ) -> Result<(), ShelfError> {
        let broken = |error| ShelfError::Broken { place: place.clone(), error };
        let row = self.rows.get(place).cloned().ok_or_else(|| broken(LevelError::NotHeld))?;
        let row = row.apply(kind, units).map_err(|error| match error {
            LevelError::TooMany => ShelfError::Full(place.0.clone()),
            error => broken(error),
        })?;
        match self.moves.last_mut() {
            // Its own promise and those of others are one movement of the same row for the same reason.
            Some(last)
                if kind == MovementKind::Covered
                    && last.kind == kind
                    && last.order == cause
                    && last.place == *place =>
            {
                last.units += units;
            }
            _ => self.moves.push(Move { order: cause, place: place.clone(), kind, units }),
        }
        self.put(place.clone(), row);
        Ok(())
    }

    fn note(&mut self, order: OrderId, place: &Place, kind: MovementKind, units: u32) {
        self.moves.push(Move { order: Some(order), place: place.clone(), kind, units });
    }

    fn put(&mut self, place: Place, row: StockLevel) {
        if let Some(before) = self.rows.insert(place.clone(), row) {
            self.changed.entry(place).or_insert(before.version);
        }
    }

    fn row(&self, piece: &Piece) -> Option<&StockLevel> {
        self.rows.get(&piece.place())
    }

    fn rows_of(&self, sku: &Sku) -> impl Iterator<Item = (&Place, &StockLevel)> {
        self.rows.iter().filter(move |((of, _), _)| of == sku)
    }
}

impl Waiting {
    fn end(&mut self, units: u32) {
        self.units -= units;
        self.changed |= units > 0;
    }
}

impl Piece {
    pub fn of((sku, centre): Place, quantity: u32, waiting: u32) -> Self {
        Self { sku, centre, quantity, waiting, returned: 0, left: false }
    }

    pub fn place(&self) -> Place {
        (self.sku.clone(), self.centre.clone())
    }

    /// Units that somebody still has or is to get.
    pub fn kept(&self) -> u32 {
        self.quantity.saturating_sub(self.returned)
    }

    /// Units that are still here, or are no goods at all. Nobody here knows whether goods that left come back: whoever has them in hand
    /// books them as found.
    pub fn can_come_back(&self) -> u32 {
        if self.left { 0 } else { self.kept() }
    }
}

/// What may be said about a SKU with these rows: the sum over the centres that orders are served from, and the room of the one
/// centre that has most, because what is missing of a line is promised by one centre.
pub fn availability<'a>(rows: impl Iterator<Item = (&'a Centre, &'a StockLevel)>, centres: &Centres) -> Availability {
    let rows: Vec<&StockLevel> = rows.filter(|(centre, _)| centres.contains(centre)).map(|(_, row)| row).collect();
    let Some(first) = rows.first() else { return Availability::NONE };
    let available = rows.iter().map(|row| row.available).sum();
    let room = rows.iter().map(|row| row.back_order_limit - row.back_ordered).max().unwrap_or(0);
    StockLevel::availability(first.kind, available, room)
}

#[cfg(test)]
#[path = "shelves_tests.rs"]
mod tests;
