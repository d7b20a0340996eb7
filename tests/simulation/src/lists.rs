//! What a gateway shows to those who only look: one payment, one refund, the list of what was made in a time. Decided here: what its books
//! say, as the real adapters tell it. Not decided here: who is let see it, how late, or not at all; that is the network's, in `gateway`.

use order_payment::domain::{Answer, Attempt, Call, Intent, Look, Via};

use crate::gateway::{Charge, GatewayBooks, key_of};

impl GatewayBooks {
    /// The answer to a look at `attempt`, at the gateway that the attempt goes to.
    pub fn shows(&mut self, look: Look, attempt: &Attempt) -> Answer {
        let intent = match look {
            Look::Intent => self.charge_of(attempt).map(|charge| charge.intent.clone()),
            Look::Reference => self
                .of(attempt.order)
                .find(|charge| charge.intent.attempt == Some(attempt.number) && charge.at == attempt.via.name)
                .map(|charge| charge.intent.clone()),
            Look::Refund => {
                let refund = self.refunds.get(&key_of(Call::Refund, attempt));
                return refund.map_or(Answer::NotFound, |(_, amount)| Answer::Refunded { amount_minor: *amount });
            }
        };
        intent.map_or(Answer::NotFound, Answer::Intent)
    }

    /// What both gateways made from one Unix second to another, both included, each with what of it went back.
    pub fn list(&self, from: i64, to: i64) -> Vec<(Via, Intent)> {
        self.charges.values().filter(|charge| (from..=to).contains(&charge.intent.created_unix)).map(listed).collect()
    }
}

fn listed(charge: &Charge) -> (Via, Intent) {
    let via = Via { name: charge.at.clone(), ..Via::default() };
    (via, Intent { refunded_minor: Some(charge.refunded_minor), ..charge.intent.clone() })
}
