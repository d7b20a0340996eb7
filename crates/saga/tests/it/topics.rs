//! The table of topics and the table of steps say the same.

use contracts::topics::TOPICS;
use saga::subscriptions::{publications, subscriptions};
use saga::{Message, Participant};

#[test]
fn the_topic_table_names_the_readers_and_writers_of_the_saga() {
    for topic in TOPICS.iter().filter(|topic| Message::on(topic).is_some()) {
        let hears =
            |participant: &Participant| subscriptions(*participant).iter().any(|heard| heard.kind == topic.kind);
        let readers: Vec<&str> = Participant::ALL
            .iter()
            .filter(|participant| hears(participant))
            .map(|participant| participant.service())
            .collect();
        // Others may listen; the saga does not wait for them.
        let taking_part = |reader: &&&str| Participant::ALL.iter().any(|participant| participant.service() == **reader);
        let named: Vec<&str> = topic.readers.iter().filter(taking_part).copied().collect();
        assert_eq!(readers, named, "readers of {topic}");
        let tells = |participant: &Participant| publications(*participant).iter().any(|told| told.kind == topic.kind);
        let writers: Vec<&str> = Participant::ALL
            .iter()
            .filter(|participant| tells(participant))
            .map(|participant| participant.service())
            .collect();
        assert_eq!(writers, [topic.writer], "writers of {topic}");
    }
}

#[test]
fn every_topic_of_an_order_belongs_to_the_saga() {
    for topic in TOPICS.iter().filter(|topic| topic.key == "order_id") {
        assert!(Message::on(topic).is_some(), "{topic} is not in the saga's table");
    }
}
