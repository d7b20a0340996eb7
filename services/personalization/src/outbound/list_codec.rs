//! How a list that somebody was shown becomes bytes in their hash of lists. Its field is what was asked; its value is the list; one field
//! more says what of theirs all of these were made of. What does not read is no list: another one is made.

use common::Sku;
use uuid::Uuid;

use crate::domain::recommend::{Item, Length, Reason};
use crate::usecases::generate_recommendations::MAX_LIMIT;
use crate::usecases::{Asked, Kept, List};

/// What a list costs the store beside its own bytes, about: an entry, two texts, and as much of the hash as is its share.
const BYTES_BESIDE: usize = 128;

/// The field that says what the lists were made of. No question is called so.
pub const OF: &str = "of";

/// What was asked: `kind;limit;change;sku`.
pub fn field(asked: &Asked) -> String {
    let sku = asked.sku.as_ref().map(Sku::as_str).unwrap_or_default();
    format!("{};{};{};{sku}", asked.kind.code(), asked.limit, asked.change.code())
}

/// `1;made at;name;model;whether the profile is in it;number of products`, then one `sku;reason` per line. The script that keeps a list
/// reads the first two.
pub fn encode(kept: &Kept) -> String {
    let List { items, model, from_profile, list_id } = &kept.list;
    let (made_at_ms, name, number) = (kept.made_at_ms, list_id.simple(), items.len());
    let lines = items.iter().map(|item| format!("\n{};{}", item.sku, letter(item.reason)));
    std::iter::once(format!("1;{made_at_ms};{name};{model};{};{number}", u8::from(*from_profile)))
        .chain(lines)
        .collect()
}

/// A list as it was kept under `field`, of what the field [`OF`] says; `None` for anything that [`encode`] would not have written, for a
/// part of it, and for a model or a reason of another version.
pub fn decode(of: &[u8], list: &[u8]) -> Option<Kept> {
    let (mark, as_of_ms) = decode_of(of)?;
    let mut lines = std::str::from_utf8(list).ok()?.split('\n');
    let mut head = lines.next()?.strip_prefix("1;")?.split(';');
    let (made_at_ms, list_id, model) = (head.next()?, head.next()?, head.next()?);
    let (from_profile, number) = (head.next()?, head.next()?);
    let (made_at_ms, list_id) = (made_at_ms.parse().ok()?, Uuid::parse_str(list_id).ok()?);
    let (model, number): (_, usize) = (List::model_named(model)?, number.parse().ok()?);
    // One line more than there may be tells that there are too many.
    let items: Option<Vec<Item>> = lines.take(most() + 1).map(decode_item).collect();
    let items = items.filter(|items| items.len() == number && number <= most() && head.next().is_none())?;
    let list = List { items, model, from_profile: from_profile == "1", list_id };
    Some(Kept { mark, as_of_ms, made_at_ms, list })
}

/// What a list costs of what one person may cost, in bytes.
pub fn cost(field: &str, value: &str) -> usize {
    BYTES_BESIDE + field.len() + value.len()
}

/// A mark as it stands in [`OF`].
pub fn mark(mark: u64) -> String {
    format!("{mark:016x}")
}

/// `mark;as of;bytes`: the script writes it, and the bytes are for the script alone.
fn decode_of(of: &[u8]) -> Option<(u64, i64)> {
    let mut parts = std::str::from_utf8(of).ok()?.split(';');
    let (mark, as_of_ms) = (parts.next()?, parts.next()?);
    Some((u64::from_str_radix(mark, 16).ok()?, as_of_ms.parse().ok()?))
}

fn decode_item(line: &str) -> Option<Item> {
    let (sku, reason) = line.split_once(';')?;
    let reason = Reason::ALL.into_iter().find(|known| letter(*known) == reason)?;
    Some(Item { sku: Sku::parse(sku).ok()?, reason })
}

/// Products of the longest list.
fn most() -> usize {
    Length::of(MAX_LIMIT as usize).kept
}

fn letter(reason: Reason) -> &'static str {
    match reason {
        Reason::YourCategory => "c",
        Reason::YourBrand => "b",
        Reason::Trending => "t",
        Reason::New => "n",
        Reason::ViewedTogether => "v",
        Reason::BoughtTogether => "o",
        Reason::SameBrand => "s",
        Reason::SameCategory => "k",
        Reason::RecentlyViewed => "r",
        Reason::VisitsLikeYours => "l",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Pseudonym;
    use crate::domain::experiment::plan::Change;
    use crate::usecases::Kind;
    use crate::usecases::ports::MOST_LIST_BYTES;

    const OF_WHAT: &[u8] = b"00000000000000ff;1790000000000;700";

    fn asked(kind: Kind, sku: Option<String>, limit: u32, change: Change) -> Asked {
        let who = Pseudonym::parse(&"a".repeat(32)).expect("a pseudonym");
        Asked { who, kind, sku: sku.map(|sku| Sku::parse(&sku).expect("a SKU")), limit, change }
    }

    fn kept(products: usize, length: usize) -> Kept {
        let sku = |place: usize| Sku::parse(&format!("{place:0length$}")).expect("a SKU");
        let items = (0..products).map(|place| Item { sku: sku(place), reason: Reason::Trending }).collect();
        let list = List { from_profile: true, ..List::of(items, "popularity-decay-1") };
        Kept { mark: 0xff, as_of_ms: 1_790_000_000_000, made_at_ms: 1_790_000_000_001, list }
    }

    fn any_kept() -> impl Strategy<Value = Kept> {
        let models = ["visit-mixture-1", "interest-decay-1", "popularity-decay-1", "co-occurrence-1", "same-shelf-1"];
        let reason = prop::sample::select(Reason::ALL.to_vec());
        let item = ("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", reason);
        let items = prop::collection::vec(item, 0..40);
        let rest = (prop::sample::select(models.to_vec()), any::<bool>(), any::<u128>(), 0..i64::MAX);
        (items, rest).prop_map(|(items, (model, from_profile, name, made_at_ms))| {
            let item = |(sku, reason): (String, _)| Item { sku: Sku::parse(&sku).expect("a SKU"), reason };
            let (items, list_id) = (items.into_iter().map(item).collect(), Uuid::from_u128(name));
            let list = List { items, model, from_profile, list_id };
            Kept { mark: 0xff, as_of_ms: 1_790_000_000_000, made_at_ms, list }
        })
    }

    proptest! {
        #[test]
        fn a_list_survives_its_bytes_and_no_part_of_them_is_a_list(kept in any_kept(), cut in any::<prop::sample::Index>()) {
            let text = encode(&kept);
            let cut = cut.index(text.len());
            prop_assert_eq!(decode(OF_WHAT, &text.as_bytes()[..cut]), None, "{} of {}", cut, text.len());
            prop_assert_eq!(decode(OF_WHAT, format!("{text}\nA;t").as_bytes()), None);
            prop_assert_eq!(decode(OF_WHAT, text.as_bytes()), Some(kept));
        }

        #[test]
        fn whatever_stands_there_is_read_without_harm(
            kept in any_kept(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            garbage in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            prop_assert_eq!(decode(OF_WHAT, &garbage), None);
            let mut text = encode(&kept).into_bytes();
            let place = place.index(text.len());
            text[place] = byte;
            if let Some(read) = decode(OF_WHAT, &text) {
                prop_assert_eq!(read.list.items.len(), kept.list.items.len());
                prop_assert!(!read.holds(0xfe, read.made_at_ms), "it is of one mark");
            }
        }
    }

    #[test]
    fn what_the_field_beside_them_does_not_say_is_no_list() {
        let text = encode(&kept(3, 5));
        for of in
            ["", ";", "ff", "ff;", "xx;1;2", ";1;2", "ff;x;2", "fffffffffffffffff;1;2", "ff;99999999999999999999;2"]
        {
            assert_eq!(decode(of.as_bytes(), text.as_bytes()), None, "{of}");
        }
        for (from, to) in [
            ("1;", "2;"),
            ("popularity-decay-1", "popularity-decay-2"),
            (";1;3", ";1;2"),
            (";1;3", ";1;3;4"),
            ("00002;t", "00002;z"),
            ("00002;t", "../etc;t"),
            ("00002;t", "00002;t\n"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            assert_eq!(decode(OF_WHAT, broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn each_question_has_a_field_of_its_own() {
        let sku = || Some("A".to_owned());
        let all = [
            asked(Kind::ForYou, None, 20, Change::Nothing),
            asked(Kind::Trending, None, 20, Change::Nothing),
            asked(Kind::ForYou, None, 2, Change::Nothing),
            asked(Kind::ForYou, None, 20, Change::Popular),
            asked(Kind::ForYou, sku(), 20, Change::Nothing),
            asked(Kind::Similar, sku(), 20, Change::Nothing),
        ];
        let mut fields: Vec<String> = all.iter().map(field).chain([OF.to_owned()]).collect();
        fields.sort();
        fields.dedup();
        assert_eq!(fields.len(), all.len() + 1, "{fields:?}");
    }

    #[test]
    fn the_longest_list_fits_into_what_is_kept_of_one_person_and_two_dozen_usual_ones_do() {
        let longest = asked(Kind::AlsoBought, Some("S".repeat(Sku::MAX_LENGTH)), MAX_LIMIT, Change::WithoutVisits);
        let longest = cost(&field(&longest), &encode(&kept(most(), Sku::MAX_LENGTH)));
        assert!(longest <= MOST_LIST_BYTES, "{longest}");
        let usual = asked(Kind::AlsoViewed, Some("S".repeat(10)), 20, Change::Nothing);
        let usual = cost(&field(&usual), &encode(&kept(30, 10)));
        assert!(24 * usual <= MOST_LIST_BYTES && usual >= 600, "{usual}");
    }
}
