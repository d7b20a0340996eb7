//! Objects whose keys the sender chooses. Decided here: a key that occurs twice is refused, because the parser would take the last of
//! the two and nobody would know. For `#[serde(deserialize_with = "…")]`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// How the error begins; [`Json`](super::Json) tells it with the place of the object.
pub(super) const TWICE: &str = "a key occurs twice";

/// A map whose keys occur once.
///
/// # Errors
/// A key that occurs twice, or no such object.
pub fn distinct<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Distinct<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Distinct<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an object whose keys occur once")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry()? {
                if map.insert(key, value).is_some() {
                    return Err(A::Error::custom(TWICE));
                }
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Distinct(PhantomData))
}

/// As [`distinct`], where there need be none.
///
/// # Errors
/// As [`distinct`].
pub fn distinct_if_any<'de, D, V>(deserializer: D) -> Result<Option<BTreeMap<String, V>>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(bound = "V: Deserialize<'de>")]
    struct Present<V>(#[serde(deserialize_with = "distinct")] BTreeMap<String, V>);

    Ok(Option::<Present<V>>::deserialize(deserializer)?.map(|Present(map)| map))
}
