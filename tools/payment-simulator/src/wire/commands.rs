//! From parameters to commands. A value that cannot be right is refused here, before anything is looked up.

use std::collections::BTreeMap;

use super::{ApiError, Form};
use crate::domain::{CaptureMethod, Card, Currency};
use crate::faults;

/// The largest amount of the public API: eight digits of minor units.
pub(super) const MOST_AMOUNT: i64 = 99_999_999;
/// Limits of the public API for metadata: 50 pairs, 40 and 500 characters.
const MOST_METADATA: usize = 50;
const LONGEST_METADATA_KEY: usize = 40;
const LONGEST_METADATA_VALUE: usize = 500;

/// Sent by ordinary client libraries, without an effect on a card payment here.
const HARMLESS: &[&str] = &[
    "automatic_payment_methods[allow_redirects]",
    "automatic_payment_methods[enabled]",
    "description",
    "error_on_requires_action",
    "expand[]",
    "off_session",
    "payment_method_types[]",
    "return_url",
    "statement_descriptor_suffix",
];

/// A new intent as the merchant wishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub amount: i64,
    pub currency: Currency,
    pub capture: CaptureMethod,
    pub card: Option<Card>,
    pub metadata: BTreeMap<String, String>,
}

/// A call that changes something. `intent` is the id in the path or the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Create(Draft),
    /// An empty value removes the key.
    Update {
        intent: String,
        metadata: BTreeMap<String, String>,
    },
    Confirm {
        intent: String,
        card: Option<Card>,
    },
    Capture {
        intent: String,
        amount: Option<i64>,
    },
    Cancel {
        intent: String,
        reason: Option<String>,
    },
    /// Makes and authorises in one call; a cancel by its key finds what it made.
    Pay {
        key: String,
        draft: Draft,
    },
    /// Nothing made by this key is as good as cancelled.
    CancelByKey {
        key: String,
    },
    Refund {
        intent: String,
        amount: Option<i64>,
        reason: Option<String>,
        metadata: BTreeMap<String, String>,
    },
}

/// `POST /v1/payment_intents`. `confirm=true` is refused: creating moves no money, confirming is a call of its own.
pub fn create(mut form: Form) -> Result<Command, ApiError> {
    if form.take("confirm").is_some_and(|confirm| confirm != "false") {
        return Err(ApiError::invalid("confirm", "create the intent first, then confirm it"));
    }
    let amount = form.take_integer("amount")?.ok_or_else(|| ApiError::missing("amount"))?;
    if !(1..=MOST_AMOUNT).contains(&amount) {
        return Err(ApiError::invalid("amount", "not between 1 and 99999999"));
    }
    let currency =
        Currency::parse(&form.require("currency")?).ok_or_else(|| ApiError::invalid("currency", "not supported"))?;
    let capture = match form.take("capture_method").as_deref() {
        None | Some("automatic" | "automatic_async") => CaptureMethod::Automatic,
        Some("manual") => CaptureMethod::Manual,
        Some(_) => return Err(ApiError::invalid("capture_method", "neither manual nor automatic")),
    };
    if form.take("confirmation_method").is_some_and(|method| method != "automatic") {
        return Err(ApiError::invalid("confirmation_method", "only automatic is supported"));
    }
    let draft = Draft { amount, currency, capture, card: card(&mut form)?, metadata: metadata(&mut form)? };
    finish(form, Command::Create(draft))
}

/// `POST /v1/payment_intents/{id}`: changes metadata and nothing else.
pub fn update(mut form: Form, intent: String) -> Result<Command, ApiError> {
    let metadata = metadata(&mut form)?;
    finish(form, Command::Update { intent, metadata })
}

/// `POST /v1/payment_intents/{id}/confirm`.
pub fn confirm(mut form: Form, intent: String) -> Result<Command, ApiError> {
    let card = card(&mut form)?;
    finish(form, Command::Confirm { intent, card })
}

/// `POST /v1/payment_intents/{id}/capture`.
pub fn capture(mut form: Form, intent: String) -> Result<Command, ApiError> {
    let amount = form.take_integer("amount_to_capture")?;
    finish(form, Command::Capture { intent, amount })
}

/// `POST /v1/payment_intents/{id}/cancel`.
pub fn cancel(mut form: Form, intent: String) -> Result<Command, ApiError> {
    const REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];
    let reason = one_of(&mut form, "cancellation_reason", &REASONS)?;
    finish(form, Command::Cancel { intent, reason })
}

/// `POST /v1/refunds`.
pub fn refund(mut form: Form) -> Result<Command, ApiError> {
    const REASONS: [&str; 3] = ["duplicate", "fraudulent", "requested_by_customer"];
    let intent = form.require("payment_intent")?;
    let amount = form.take_integer("amount")?;
    let reason = one_of(&mut form, "reason", &REASONS)?;
    let metadata = metadata(&mut form)?;
    finish(form, Command::Refund { intent, amount, reason, metadata })
}

fn finish(mut form: Form, command: Command) -> Result<Command, ApiError> {
    form.ignore(HARMLESS);
    form.finish()?;
    Ok(command)
}

/// The token in `payment_method`, or in `payment_method_data` as the public API wants card tokens.
fn card(form: &mut Form) -> Result<Option<Card>, ApiError> {
    if form.take("payment_method_data[type]").is_some_and(|kind| kind != "card") {
        return Err(ApiError::invalid("payment_method_data[type]", "only card is supported"));
    }
    let data = form.take("payment_method_data[card][token]");
    let Some(token) = form.take("payment_method").or(data) else { return Ok(None) };
    let card = Card::parse(&token).ok_or_else(|| ApiError::invalid("payment_method", "not a token"))?;
    if faults::knows(card.as_str()) {
        Ok(Some(card))
    } else {
        Err(ApiError::no_such("payment_method", "payment_method"))
    }
}

fn metadata(form: &mut Form) -> Result<BTreeMap<String, String>, ApiError> {
    let metadata = form.take_map("metadata");
    let fits = |(key, value): (&String, &String)| {
        !key.is_empty()
            && key.chars().count() <= LONGEST_METADATA_KEY
            && !key.contains(['[', ']'])
            && value.chars().count() <= LONGEST_METADATA_VALUE
    };
    if metadata.len() > MOST_METADATA || !metadata.iter().all(fits) {
        return Err(ApiError::invalid("metadata", "at most 50 pairs, keys up to 40 and values up to 500 characters"));
    }
    Ok(metadata)
}

fn one_of(form: &mut Form, name: &str, known: &[&str]) -> Result<Option<String>, ApiError> {
    match form.take(name) {
        Some(value) if !known.contains(&value.as_str()) => Err(ApiError::invalid(name, "not one of the known reasons")),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(body: &str) -> Result<Command, (u16, Option<String>)> {
        create(Form::parse(body.as_bytes()).unwrap()).map_err(|error| (error.status, error.param))
    }

    #[test]
    fn a_complete_request_becomes_a_draft() {
        let body = "amount=4990&currency=EUR&capture_method=manual&payment_method=tok_ok&metadata[order_id]=o-1&payment_method_types[]=card";
        let Ok(Command::Create(draft)) = created(body) else { panic!("refused") };
        assert_eq!((draft.amount, draft.currency.code(), draft.capture), (4990, "eur", CaptureMethod::Manual));
        assert_eq!((draft.card, draft.metadata["order_id"].as_str()), (Card::parse("tok_ok"), "o-1"));
    }

    #[test]
    fn bad_values_are_named() {
        let table = [
            ("currency=eur", 400, "amount"),
            ("amount=0&currency=eur", 400, "amount"),
            ("amount=-5&currency=eur", 400, "amount"),
            ("amount=100000000&currency=eur", 400, "amount"),
            ("amount=49.90&currency=eur", 400, "amount"),
            ("amount=99999999999999999999&currency=eur", 400, "amount"),
            ("amount=10", 400, "currency"),
            ("amount=10&currency=xxx", 400, "currency"),
            ("amount=10&currency=eur&confirm=true", 400, "confirm"),
            ("amount=10&currency=eur&capture_method=later", 400, "capture_method"),
            ("amount=10&currency=eur&payment_method=4242424242424242", 400, "payment_method"),
            ("amount=10&currency=eur&payment_method=pm_somebodyelse", 404, "payment_method"),
            ("amount=10&currency=eur&application_fee=1", 400, "application_fee"),
        ];
        for (body, status, param) in table {
            assert_eq!(created(body), Err((status, Some(param.to_owned()))), "{body}");
        }
    }
}
