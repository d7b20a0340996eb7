//! One element of a body as an event. Nothing that is JSON fails here: a value of the wrong kind, a field that is unknown or said
//! twice makes this one event refused and is read past, so that the others are found. Texts are borrowed from the body unless
//! they are written with escapes.

use std::borrow::Cow;
use std::fmt;

use chassis::problem::codes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::ClickForm;
use crate::domain::person::INVALID_FIELD;

/// What an element says, or why it says nothing.
pub(super) struct Said<'a>(pub Result<ClickForm<'a>, &'static str>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    EventId,
    Type,
    Sku,
    Query,
    ListId,
    Position,
    At,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for Said<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaidVisitor)
    }
}

struct SaidVisitor;

impl<'de> Visitor<'de> for SaidVisitor {
    type Value = Said<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said<'de>, A::Error> {
        let (mut id, mut kind, mut sku, mut query) = (Text::Unsaid, Text::Unsaid, Text::Unsaid, Text::Unsaid);
        let (mut list_id, mut at, mut position) = (Text::Unsaid, Text::Unsaid, Number::Unsaid);
        let (mut unknown, mut twice) = (false, false);
        while let Some(name) = map.next_key::<Name>()? {
            let place = match name {
                Name::EventId => &mut id,
                Name::Type => &mut kind,
                Name::Sku => &mut sku,
                Name::Query => &mut query,
                Name::ListId => &mut list_id,
                Name::At => &mut at,
                Name::Position => {
                    twice |= !matches!(position, Number::Unsaid);
                    position = map.next_value()?;
                    continue;
                }
                Name::Unknown => {
                    unknown = true;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            twice |= !matches!(place, Text::Unsaid);
            *place = map.next_value()?;
        }
        if unknown {
            return Ok(Said(Err(codes::UNKNOWN_FIELD)));
        }
        let form = || -> Result<ClickForm<'de>, &'static str> {
            Ok(ClickForm {
                event_id: id.optional()?.ok_or(INVALID_FIELD)?,
                kind: kind.optional()?.ok_or(INVALID_FIELD)?,
                sku: sku.optional()?,
                query: query.optional()?,
                list_id: list_id.optional()?,
                position: position.optional()?,
                at: at.optional()?,
            })
        };
        Ok(Said(if twice { Err(INVALID_FIELD) } else { form() }))
    }

    // Whatever else stands in the place of an event is none. A list would be taken for the fields in their order otherwise.
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Said<'de>, A::Error> {
        pass_over(seq).map(|()| Said(Err(INVALID_FIELD)))
    }

    fn visit_unit<E>(self) -> Result<Said<'de>, E> {
        Ok(Said(Err(INVALID_FIELD)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Said<'de>, E> {
        Ok(Said(Err(INVALID_FIELD)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Said<'de>, E> {
        Ok(Said(Err(INVALID_FIELD)))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Said<'de>, E> {
        Ok(Said(Err(INVALID_FIELD)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Said<'de>, E> {
        Ok(Said(Err(INVALID_FIELD)))
    }

    fn visit_str<E>(self, _: &str) -> Result<Said<'de>, E> {
        Ok(Said(Err(INVALID_FIELD)))
    }
}

/// A field that should hold a text.
pub(super) enum Text<'a> {
    Unsaid,
    Null,
    Said(Cow<'a, str>),
    Wrong,
}

impl<'a> Text<'a> {
    /// # Errors
    /// The code for a value that is no text.
    pub(super) fn optional(self) -> Result<Option<Cow<'a, str>>, &'static str> {
        match self {
            Self::Unsaid | Self::Null => Ok(None),
            Self::Said(text) => Ok(Some(text)),
            Self::Wrong => Err(INVALID_FIELD),
        }
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::Said(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text::Said(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
        Ok(Text::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
        Ok(Text::Wrong)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
        Ok(Text::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
        Ok(Text::Wrong)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Text<'de>, A::Error> {
        pass_over(seq).map(|()| Text::Wrong)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text<'de>, A::Error> {
        pass_over_fields(map).map(|()| Text::Wrong)
    }
}

/// A field that should hold a whole number.
enum Number {
    Unsaid,
    Null,
    Said(u32),
    Wrong,
}

impl Number {
    fn optional(self) -> Result<Option<u32>, &'static str> {
        match self {
            Self::Unsaid | Self::Null => Ok(None),
            Self::Said(number) => Ok(Some(number)),
            Self::Wrong => Err(INVALID_FIELD),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
        Ok(u32::try_from(number).map_or(Number::Wrong, Number::Said))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Number, E> {
        Ok(Number::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Number, E> {
        Ok(Number::Wrong)
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Number, E> {
        Ok(Number::Wrong)
    }

    fn visit_str<E>(self, _: &str) -> Result<Number, E> {
        Ok(Number::Wrong)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Number, A::Error> {
        pass_over(seq).map(|()| Number::Wrong)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Number, A::Error> {
        pass_over_fields(map).map(|()| Number::Wrong)
    }
}

/// `IgnoredAny` keeps no stack, so however deep the rest is nested, it costs its bytes and no more.
fn pass_over<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn pass_over_fields<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}
