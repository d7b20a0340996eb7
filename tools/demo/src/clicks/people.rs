//! Who clicks what. Decided here: everything follows from the name of the run and a person's number, so that what was sent is known
//! afterwards without having been kept. People click so little that none of the bounds of a profile is met: then a profile holds each of
//! their events, and its weights say how often each was counted.

use std::fmt::Write as _;

use common::VisitorId;
use uuid::Uuid;

/// Requests of one person, one after the other.
pub const REQUESTS: usize = 15;
/// Good events of one request, each a view of another product. Fewer than the 32 products of a profile.
pub const EVENTS: usize = 30;
/// Good events of one person. Fewer than the 512 marks that are kept; of each product 15, fewer than the 16 that count of a batch.
pub const CLICKS: usize = REQUESTS * EVENTS;
/// Every third request has one bad event.
const BAD_EVERY: usize = 3;

/// A bad event and the code with which it is refused.
pub struct Bad {
    pub sent: &'static str,
    pub code: &'static str,
}

/// One of each reason that an event of a JSON body can be refused for.
const BAD: [Bad; 8] = [
    Bad { sent: r#"{"event_id":"bad-kind","type":"stare","sku":"A"}"#, code: "invalid-field" },
    Bad { sent: r#"{"event_id":"bad-bare","type":"view"}"#, code: "invalid-field" },
    Bad { sent: r#"{"event_id":"bad-more","type":"view","sku":"A","mood":"good"}"#, code: "unknown-field" },
    Bad { sent: r#"{"event_id":"bad-place","type":"view","sku":"A","position":10001}"#, code: "invalid-field" },
    Bad { sent: r#"{"event_id":"bad name","type":"view","sku":"A"}"#, code: "invalid-field" },
    Bad { sent: r#"{"event_id":"bad-time","type":"view","sku":"A","at":"yesterday"}"#, code: "invalid-field" },
    Bad { sent: r#"{"type":"view","sku":"A"}"#, code: "invalid-field" },
    Bad { sent: "7", code: "invalid-field" },
];

/// The people of one run.
#[derive(Clone, Debug)]
pub struct People {
    run: String,
    /// The region's key of pseudonyms, as `xtask` configures the services of a local region.
    key: String,
}

impl People {
    /// `run` names the load; nobody else's clicks have names that begin like its.
    pub fn new(run: &str, region: &str) -> Self {
        Self { run: run.to_owned(), key: format!("local-pseudonym-key-{region}") }
    }

    pub fn visitor(&self, person: u64) -> VisitorId {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}-{person}", self.run).as_bytes()).into()
    }

    /// Under which name the services know this visitor.
    pub fn pseudonym(&self, person: u64) -> String {
        contracts::interest::pseudonym(self.key.as_bytes(), self.visitor(person))
    }

    /// The same for somebody with an account.
    pub fn pseudonym_of(&self, user: common::UserId) -> String {
        contracts::interest::pseudonym(self.key.as_bytes(), user)
    }

    /// The `event_id` of a person's event; `place` counts all of them.
    pub fn event(&self, person: u64, place: usize) -> String {
        format!("k{}-{person:07}-{place:03}", self.run)
    }

    /// Person and place of an `event_id`; `None` for one of somebody else.
    pub fn read(&self, event_id: &str) -> Option<(u64, usize)> {
        let numbers = event_id.strip_prefix('k')?.strip_prefix(self.run.as_str())?.strip_prefix('-')?;
        let (person, place) = numbers.split_once('-')?;
        let place = place.parse().ok().filter(|place| *place < CLICKS)?;
        Some((person.parse().ok()?, place))
    }

    /// The marks by which the scorer knows a person's events, in their order. `None` when two of them are the same, which is so once
    /// in some ten thousand people: they could not be told apart, so such a person does not click.
    pub fn marks(&self, person: u64) -> Option<Vec<u32>> {
        let marks: Vec<u32> = (0..CLICKS).map(|place| mark(&self.event(person, place))).collect();
        let mut sorted = marks.clone();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| pair[0] != pair[1]).then_some(marks)
    }

    /// The body of one request.
    pub fn body(&self, person: u64, request: usize, skus: &[String]) -> String {
        let bad = bad(person, request);
        let mut body = format!(r#"{{"visitor_id":"{}","events":["#, self.visitor(person));
        for event in 0..EVENTS {
            if let Some(bad) = bad.filter(|_| event == request) {
                body.push_str(bad.sent);
                body.push(',');
            }
            let (id, sku) = (self.event(person, request * EVENTS + event), sku(person, event, skus));
            // Writing into a String cannot fail.
            let _ = write!(body, r#"{{"event_id":"{id}","type":"view","sku":"{sku}"}},"#);
        }
        body.pop();
        body.push_str("]}");
        body
    }
}

/// The bad event of a request. It stands in the place that the request has among those of the person, so that person and place tell
/// which one it is.
pub fn bad(person: u64, request: usize) -> Option<&'static Bad> {
    let kind = request / BAD_EVERY + usize::try_from(person % BAD.len() as u64).unwrap_or(0);
    request.is_multiple_of(BAD_EVERY).then(|| &BAD[kind % BAD.len()])
}

/// The product of a person's event: another one for each event of a request, the same in all requests.
pub fn sku(person: u64, event: usize, skus: &[String]) -> &str {
    let first = usize::try_from(person.wrapping_mul(7) % skus.len() as u64).unwrap_or(0);
    &skus[(first + event) % skus.len()]
}

/// The scorer's mark of an event (`personalization/domain/seen.rs`), written here a second time: whoever judges does not ask the judged.
pub fn mark(event_id: &str) -> u32 {
    let hash = event_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ (hash >> 32)) & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn people() -> People {
        People::new("0123456789ab", "eu")
    }

    fn skus() -> Vec<String> {
        (0..EVENTS + 7).map(|number| format!("S-{number}")).collect()
    }

    #[test]
    fn an_event_says_whose_it_is_and_others_are_nobodys() {
        let people = people();
        assert_eq!(people.read(&people.event(41, 449)), Some((41, 449)));
        for other in ["", "k0123456789ab-0000041-450", "k0123456789ac-0000041-001", "rolling-1", "k0123456789ab-x-1"] {
            assert_eq!(people.read(other), None, "{other}");
        }
        let events: BTreeSet<String> = (0..CLICKS).map(|place| people.event(1, place)).collect();
        assert!(events.len() == CLICKS && events.iter().all(|id| id.len() <= 64));
    }

    #[test]
    fn a_body_has_thirty_products_and_its_bad_event_stands_where_the_request_does() {
        let (people, skus) = (people(), skus());
        for request in 0..REQUESTS {
            let body: Value = serde_json::from_str(&people.body(5, request, &skus)).expect("JSON");
            let events = body["events"].as_array().expect("events");
            let good =
                events.iter().filter(|event| event["event_id"].as_str().is_some_and(|id| people.read(id).is_some()));
            let products: BTreeSet<&str> = good.filter_map(|event| event["sku"].as_str()).collect();
            assert_eq!(products.len(), EVENTS);
            let expected = bad(5, request).map(|bad| serde_json::from_str::<Value>(bad.sent).expect("JSON"));
            assert_eq!(events.len(), EVENTS + usize::from(expected.is_some()));
            if let Some(bad) = expected {
                assert_eq!(events[request], bad);
            }
        }
        let kinds: BTreeSet<&str> = (0..8)
            .flat_map(|person| (0..REQUESTS).filter_map(move |request| bad(person, request)))
            .map(|bad| bad.sent)
            .collect();
        assert_eq!(kinds.len(), BAD.len());
    }

    #[test]
    fn marks_of_a_person_differ_and_are_those_of_the_scorer() {
        let marks = people().marks(3).expect("they differ");
        assert_eq!(marks.len(), CLICKS);
        // FNV-1a of "a" is 0xaf63dc4c8601ec8c.
        assert_eq!(mark("a"), 0x8601_ec8c ^ 0xaf63_dc4c);
    }
}
