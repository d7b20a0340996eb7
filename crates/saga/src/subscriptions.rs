//! Who has to listen to what, and who writes it: read off the table of steps.

use contracts::Topic;

use crate::state::{Message, Participant};
use crate::steps::{STEPS, Trigger};

/// The topics that `participant` takes steps on, in the order of the topic table.
pub fn subscriptions(participant: Participant) -> Vec<&'static Topic> {
    of(|message| STEPS.iter().any(|step| step.at == participant && step.on == Trigger::Message(message)))
}

/// The topics that `participant` tells on.
pub fn publications(participant: Participant) -> Vec<&'static Topic> {
    of(|message| STEPS.iter().any(|step| step.at == participant && step.then.tells.contains(&message)))
}

fn of(wanted: impl Fn(Message) -> bool) -> Vec<&'static Topic> {
    Message::ALL.iter().copied().filter(|message| wanted(*message)).map(Message::topic).collect()
}
