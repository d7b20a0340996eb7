//! Card testing: somebody tries stolen cards in our shop until one is good.
//!
//! Decided here: how many cards of one person may be declined within a while, and what becomes of the next one. What is under way
//! counts as if it were going to be declined, so a hundred orders at once try no more cards than a hundred one after the other.
//! A refused try ends as a declined one, so it tells nothing about its card. Not decided here: how many orders a person may place (the
//! edge), and what else makes an order suspicious (the port `FraudCheck`).

use std::str::FromStr;

use chrono::Duration;

use super::order::UnknownName;

/// Why we did not even ask the gateway. For operators; the shopper sees a declined payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Too many of the person's cards were declined a short while ago.
    CardTesting,
    /// The shop's own fraud check said no.
    FraudCheck,
}

impl Refusal {
    pub const ALL: [Self; 2] = [Self::CardTesting, Self::FraudCheck];

    pub fn code(self) -> &'static str {
        match self {
            Self::CardTesting => "CARD_TESTING",
            Self::FraudCheck => "FRAUD_CHECK",
        }
    }
}

impl FromStr for Refusal {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == text).ok_or(UnknownName)
    }
}

/// What else a person tried lately, as seen by one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Charges that the gateway was asked for and that ended without money: declined, or cancelled and expired meanwhile. What we refused
    /// ourselves is none: whoever stops trying is free again after the while.
    pub declined: u32,
    /// Open charges that come first: all that the gateway has been asked for; of those that it has not, the ones another worker has at this
    /// moment, and the ones that this worker took with this one and that were begun earlier. Whatever is not counted will count this one.
    pub ahead: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It depends on those ahead.
    Wait,
    Refuse,
}

/// The limit; see `[card_testing]` of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardTesting {
    /// Charges of one person that came to nothing ([`Tried::declined`]), after which no more are tried; zero: there is no limit.
    pub most_declined: u32,
    /// How long such a charge counts, from when its order was placed.
    pub within: Duration,
}

impl CardTesting {
    pub const OFF: Self = Self { most_declined: 0, within: Duration::zero() };

    pub fn is_on(&self) -> bool {
        self.most_declined > 0
    }

    pub fn judge(&self, tried: Tried) -> Verdict {
        if !self.is_on() {
            Verdict::Pass
        } else if tried.declined >= self.most_declined {
            Verdict::Refuse
        } else if tried.declined.saturating_add(tried.ahead) >= self.most_declined {
            Verdict::Wait
        } else {
            Verdict::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIVE: CardTesting = CardTesting { most_declined: 5, within: Duration::hours(1) };

    #[test]
    fn what_becomes_of_the_next_card() {
        for (declined, ahead, verdict) in [
            (0, 0, Verdict::Pass),
            (4, 0, Verdict::Pass),
            (3, 1, Verdict::Pass),
            (0, 4, Verdict::Pass),
            (4, 1, Verdict::Wait),
            (0, 5, Verdict::Wait),
            (0, 900, Verdict::Wait),
            (5, 0, Verdict::Refuse),
            (5, 3, Verdict::Refuse),
            (u32::MAX, u32::MAX, Verdict::Refuse),
        ] {
            assert_eq!(FIVE.judge(Tried { declined, ahead }), verdict, "{declined} declined, {ahead} ahead");
        }
        assert_eq!(CardTesting::OFF.judge(Tried { declined: 900, ahead: 900 }), Verdict::Pass);
    }

    #[test]
    fn names_are_read_back() {
        for refusal in Refusal::ALL {
            assert_eq!(refusal.code().parse(), Ok(refusal));
        }
    }

    proptest! {
        /// However many are begun at once and in whatever order they are looked at and end: never more cards are declined than may be,
        /// and everything comes to an end.
        #[test]
        fn no_order_of_things_tries_more_cards(
            most_declined in 1_u32..7,
            cards in prop::collection::vec(any::<bool>(), 1..40),
            turns in prop::collection::vec(any::<prop::sample::Index>(), 400),
        ) {
            #[derive(Clone, Copy, PartialEq)]
            enum Card { Waiting, Asked, Declined, Approved, Refused }
            let rule = CardTesting { most_declined, within: Duration::hours(1) };
            let mut states = vec![Card::Waiting; cards.len()];
            for turn in &turns {
                let one = turn.index(cards.len());
                states[one] = match states[one] {
                    Card::Waiting => {
                        let count = |states: &[Card], wanted: &[Card]| {
                            u32::try_from(states.iter().filter(|state| wanted.contains(state)).count()).unwrap()
                        };
                        let declined = count(&states, &[Card::Declined]);
                        let ahead = count(&states, &[Card::Asked]);
                        match rule.judge(Tried { declined, ahead }) {
                            Verdict::Pass => Card::Asked,
                            Verdict::Wait => Card::Waiting,
                            Verdict::Refuse => Card::Refused,
                        }
                    }
                    Card::Asked if cards[one] => Card::Approved,
                    Card::Asked => Card::Declined,
                    ended => ended,
                };
                // Somebody can always go on: where nothing is under way, nobody waits.
                let declined = states.iter().filter(|state| **state == Card::Declined).count();
                let alone = Tried { declined: u32::try_from(declined).unwrap(), ahead: 0 };
                prop_assert!(rule.judge(alone) != Verdict::Wait);
            }
            let declined = states.iter().filter(|state| **state == Card::Declined).count();
            prop_assert!(declined <= usize::try_from(most_declined).unwrap(), "{declined} declined");
        }
    }
}
