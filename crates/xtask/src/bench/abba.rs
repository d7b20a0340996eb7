//! Two sides measured in turns: A B B A …, so that a drift of the machine meets both.
//!
//! Decided here: the order, and which way round a ratio is: higher is always better. Not decided here: what a turn does.

use anyhow::{Result, bail};

use super::results::{Pair, Side};
use crate::os;

/// What one side did in its turn, and the share of the machine that others used meanwhile.
pub struct Turn {
    pub side: Side,
    pub foreign: f64,
}

/// Which values are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// Tries of a turn whose generator ran late: it shares its processor with a broker, and one stall in a turn is no fault of either
/// side. More than so many in a row say that the machine cannot do it.
const TRIES: usize = 4;

/// Does a turn again when its generator ran late; `turn` gives nothing then.
///
/// # Errors
/// Those of the turn; [`Invalid`](super::Invalid) when it was late each time.
pub fn in_time<T>(mut turn: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..TRIES {
        os::check_interrupted()?;
        match turn()? {
            Some(done) => return Ok(done),
            None => println!("the generator sent too late; that turn again"),
        }
    }
    bail!(super::Invalid(format!("the generator sent too late in {TRIES} turns")))
}

/// `count` pairs; values are told with their unit.
///
/// # Errors
/// Those of a turn, an interrupt, a value of nothing.
pub fn pairs(
    count: usize,
    (unit, better): (&str, Better),
    ours: &mut dyn FnMut() -> Result<Turn>,
    theirs: &mut dyn FnMut() -> Result<Turn>,
) -> Result<Vec<Pair>> {
    let mut pairs = Vec::with_capacity(count);
    for number in 0..count {
        os::check_interrupted()?;
        let (ours, theirs) = if number % 2 == 0 {
            let ours = ours()?;
            (ours, theirs()?)
        } else {
            let theirs = theirs()?;
            (ours()?, theirs)
        };
        let foreign = ours.foreign.max(theirs.foreign);
        let (a, b) = (ours.side.per_second, theirs.side.per_second);
        if a <= 0.0 || b <= 0.0 {
            bail!(super::Invalid(format!("a side did nothing: {a} against {b} {unit}")));
        }
        let ratio = if better == Better::More { a / b } else { b / a };
        println!(
            "pair {}: {a:.2} against {b:.2} {unit}, ratio {ratio:.2}, others had {:.0} % of the machine",
            number + 1,
            foreign * 100.0
        );
        pairs.push(Pair { ratio, foreign, ours: ours.side, theirs: theirs.side });
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn sides_take_turns_and_a_lower_latency_is_a_higher_ratio() {
        let turns = RefCell::new(String::new());
        let turn = |name, value| {
            turns.borrow_mut().push(name);
            Ok(Turn { side: Side { per_second: value, cpu: Vec::new(), per_cpu_second: 0.0 }, foreign: 0.0 })
        };
        let measured = pairs(3, ("ms", Better::Less), &mut || turn('a', 2.0), &mut || turn('b', 3.0)).unwrap();
        assert_eq!(*turns.borrow(), "abbaab");
        assert!(measured.iter().all(|pair| (pair.ratio - 1.5).abs() < 1e-9));
        let measured = pairs(1, ("/s", Better::More), &mut || turn('a', 3.0), &mut || turn('b', 2.0)).unwrap();
        assert!((measured[0].ratio - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_side_that_did_nothing_makes_the_run_say_nothing() {
        let turn =
            |value| Ok(Turn { side: Side { per_second: value, cpu: Vec::new(), per_cpu_second: 0.0 }, foreign: 0.0 });
        let error = pairs(1, ("/s", Better::More), &mut || turn(1.0), &mut || turn(0.0)).unwrap_err();
        assert!(error.is::<super::super::Invalid>(), "{error}");
    }
}
