//! How a product stands in the shop, beside how well it fits some words: whether it can be had, and whether people want it. Decided
//! here: what that is worth in the order of a search. Each is a factor between bounds that are near each other, so that neither can
//! bring something before what fits clearly better: what is sold out counts as seven tenths, what everybody wants as twelve tenths.

use super::inventory::Level;

/// What is sold out can still be looked at, and may come back.
const SOLD_OUT: f64 = 0.7;
/// What one grade of popularity adds.
const GRADE: f64 = 0.05;
/// The highest grade of popularity.
pub const MOST_POPULAR: u8 = 4;
/// Places in the list of what is trending at which a grade ends, the highest first. Grades and not places, so that a list that moves
/// a little does not change a hundred documents.
const GRADES: [usize; MOST_POPULAR as usize] = [5, 20, 50, 100];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// `None`: not known, which counts as there.
    pub level: Option<Level>,
    /// 0 to [`MOST_POPULAR`].
    pub popularity: u8,
}

impl Standing {
    pub fn availability_factor(self) -> f64 {
        if self.level == Some(Level::Out) { SOLD_OUT } else { 1.0 }
    }

    pub fn popularity_factor(self) -> f64 {
        1.0 + GRADE * f64::from(self.popularity.min(MOST_POPULAR))
    }

    /// Both.
    pub fn factor(self) -> f64 {
        self.availability_factor() * self.popularity_factor()
    }
}

/// The grade of the product at that place, from 0, of what is trending.
pub fn grade_at(place: usize) -> u8 {
    (1..=MOST_POPULAR).rev().zip(GRADES).find(|(_, ends)| place < *ends).map_or(0, |(grade, _)| grade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_standing_brings_a_product_before_one_that_fits_twice_as_well() {
        let standings = [None, Some(Level::InStock), Some(Level::Out), Some(Level::BackOrder)];
        let factors = standings
            .into_iter()
            .flat_map(|level| (0..=u8::MAX).map(move |popularity| Standing { level, popularity }.factor()));
        let (least, most) = factors.fold((f64::MAX, f64::MIN), |(least, most), one| (least.min(one), most.max(one)));
        assert!((least, most) == (0.7, 1.2) && most / least < 2.0, "{least} {most}");
        assert!((Standing::default().factor() - 1.0).abs() < f64::EPSILON, "what is not known changes nothing");
    }

    #[test]
    fn places_fall_into_grades() {
        for (place, grade) in [(0, 4), (4, 4), (5, 3), (19, 3), (20, 2), (50, 1), (99, 1), (100, 0), (usize::MAX, 0)] {
            assert_eq!(grade_at(place), grade, "{place}");
        }
    }
}
