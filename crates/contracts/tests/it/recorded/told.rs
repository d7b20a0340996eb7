//! What a reader understands of a record. Every field is named here: whoever adds one to a message is told by the compiler to
//! say what it means, and then by the tests to record it.

use contracts::catalog::v1::{
    Attribute, LocalisedText, Offered, ProductChanged, ShipmentCreated, ShipmentLine, SpecialPrice, StockFinalised,
    StockRejected, StockReleased, StockReserved, Variant, Window,
};
use contracts::common::v1::Money;
use contracts::order::v1::{
    Choice, CompensationReason, OrderCompensated, OrderCompleted, OrderCreated, OrderLine, OrderPaymentPending,
    OrderRefunded,
};
use contracts::topics::{CLICKSTREAM_PARKED, CLICKSTREAM_RAW, CLICKSTREAM_REFUSED, TOPICS};
use contracts::user::v1::{Click, ClickType, ClicksRefused, ClicksReported, RefusedClick, UserRegistered};
use contracts::{Event, Topic};
use prost::Message as _;
use serde_json::{Value, json};

/// Whatever travels on one of our topics.
pub enum Told {
    Event(Box<Event>),
    Reported(ClicksReported),
    Refused(ClicksRefused),
    /// Put aside as it came; nobody looks inside.
    Bytes(Vec<u8>),
}

impl Told {
    /// Reads a payload as the consumers of its topic do.
    pub fn read(kind: &str, payload: &[u8]) -> Result<Self, String> {
        if kind == CLICKSTREAM_RAW.kind {
            return ClicksReported::decode(payload).map(Self::Reported).map_err(|error| error.to_string());
        }
        if kind == CLICKSTREAM_REFUSED.kind {
            return ClicksRefused::decode(payload).map(Self::Refused).map_err(|error| error.to_string());
        }
        if kind == CLICKSTREAM_PARKED.kind {
            return Ok(Self::Bytes(payload.to_vec()));
        }
        let topic: &Topic = TOPICS.iter().find(|topic| topic.kind == kind).ok_or("no such topic")?;
        Event::decode(topic, payload).map(|event| Self::Event(Box::new(event))).map_err(|error| error.to_string())
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Event(event) => event.kind(),
            Self::Reported(_) => CLICKSTREAM_RAW.kind,
            Self::Refused(_) => CLICKSTREAM_REFUSED.kind,
            Self::Bytes(_) => CLICKSTREAM_PARKED.kind,
        }
    }

    /// `None` where the body does not say it.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Event(event) => Some(event.key()),
            Self::Reported(report) => Some(&report.pseudonym),
            Self::Refused(refused) => Some(&refused.pseudonym),
            Self::Bytes(_) => None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Event(event) => event.encode(),
            Self::Reported(report) => report.encode_to_vec(),
            Self::Refused(refused) => refused.encode_to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }

    pub fn means(&self) -> Value {
        match self {
            Self::Event(event) => meaning(event),
            Self::Reported(ClicksReported { pseudonym, personalisation_consent, received_at_ms, clicks, bot }) => {
                json!({
                    "pseudonym": pseudonym,
                    "personalisation_consent": personalisation_consent,
                    "received_at_ms": received_at_ms,
                    "clicks": list(clicks, click),
                    "bot": bot,
                })
            }
            Self::Refused(ClicksRefused { pseudonym, received_at_ms, refused, record_id }) => json!({
                "pseudonym": pseudonym,
                "received_at_ms": received_at_ms,
                "record_id": record_id,
                "refused": list(refused, |RefusedClick { index, reason, sample }| {
                    json!({ "index": index, "reason": reason, "sample": sample })
                }),
            }),
            Self::Bytes(bytes) => json!({ "bytes": hex::encode(bytes) }),
        }
    }
}

fn meaning(event: &Event) -> Value {
    match event {
        Event::UserRegistered(UserRegistered {
            user_id,
            residency_region,
            registered_at_ms,
            personalisation_consent,
        }) => json!({
            "user_id": user_id,
            "residency_region": residency_region,
            "registered_at_ms": registered_at_ms,
            "personalisation_consent": personalisation_consent,
        }),
        Event::OrderCreated(OrderCreated { order_id, user_id, lines, total, created_at_ms, ship_to_country }) => {
            json!({
                "order_id": order_id,
                "user_id": user_id,
                "lines": list(lines, line),
                "total": total.as_ref().map(money),
                "created_at_ms": created_at_ms,
                "ship_to_country": ship_to_country,
            })
        }
        Event::OrderPaymentPending(OrderPaymentPending { order_id, attempt, deadline_at_ms }) => {
            json!({ "order_id": order_id, "attempt": attempt, "deadline_at_ms": deadline_at_ms })
        }
        Event::OrderCompleted(OrderCompleted { order_id, user_id, lines, total, completed_at_ms }) => json!({
            "order_id": order_id,
            "user_id": user_id,
            "lines": list(lines, line),
            "total": total.as_ref().map(money),
            "completed_at_ms": completed_at_ms,
        }),
        Event::OrderCompensated(OrderCompensated { order_id, reason, compensated_at_ms }) => {
            json!({ "order_id": order_id, "reason": reason_name(*reason), "compensated_at_ms": compensated_at_ms })
        }
        Event::OrderRefunded(OrderRefunded { order_id, refund_id, amount, whole, lines, refunded_at_ms }) => json!({
            "order_id": order_id,
            "refund_id": refund_id,
            "amount": amount.as_ref().map(money),
            "whole": whole,
            "lines": list(lines, line),
            "refunded_at_ms": refunded_at_ms,
        }),
        Event::StockReserved(StockReserved { order_id })
        | Event::StockReleased(StockReleased { order_id })
        | Event::StockFinalised(StockFinalised { order_id }) => json!({ "order_id": order_id }),
        Event::StockRejected(StockRejected { order_id, sku }) => json!({ "order_id": order_id, "sku": sku }),
        Event::ShipmentCreated(ShipmentCreated { order_id, shipment_id, fulfilment_centre, created_at_ms, lines }) => {
            json!({
                "order_id": order_id,
                "shipment_id": shipment_id,
                "fulfilment_centre": fulfilment_centre,
                "created_at_ms": created_at_ms,
                "lines": list(lines, |ShipmentLine { sku, quantity, options }| {
                    json!({ "sku": sku, "quantity": quantity, "options": list(options, choice) })
                }),
            })
        }
        Event::ProductChanged(change) => product(change),
    }
}

fn product(change: &ProductChanged) -> Value {
    let ProductChanged {
        sku,
        revision,
        deleted,
        family,
        category,
        brand,
        texts,
        prices,
        attributes,
        images,
        changed_at_ms,
        special_prices,
        offered,
        variants,
        schema,
        former_category,
    } = change;
    let mut means = json!({
        "sku": sku,
        "revision": revision,
        "deleted": deleted,
        "family": family,
        "category": category,
        "brand": brand,
        "texts": list(texts, |LocalisedText { language, name, description }| {
            json!({ "language": language, "name": name, "description": description })
        }),
        "prices": list(prices, money),
        "attributes": list(attributes, attribute),
        "images": images,
        "changed_at_ms": changed_at_ms,
        "special_prices": list(special_prices, special_price),
        "offered": list(offered, |Offered { region, shown }| {
            json!({ "region": region, "shown": shown.as_ref().map(window) })
        }),
        "variants": list(variants, |Variant { sku, attributes, prices, special_prices, images }| {
            json!({
                "sku": sku,
                "attributes": list(attributes, attribute),
                "prices": list(prices, money),
                "special_prices": list(special_prices, special_price),
                "images": images,
            })
        }),
        "schema": schema,
    });
    // Recordings of earlier shapes are never written again: what they do not say is left out.
    if !former_category.is_empty() {
        means["former_category"] = json!(former_category);
    }
    means
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    items.iter().map(one).collect()
}

fn money(Money { currency, units, nanos }: &Money) -> Value {
    json!({ "currency": currency, "units": units, "nanos": nanos })
}

fn line(OrderLine { sku, quantity, options }: &OrderLine) -> Value {
    json!({ "sku": sku, "quantity": quantity, "options": list(options, choice) })
}

fn choice(Choice { key, value }: &Choice) -> Value {
    json!({ "key": key, "value": value })
}

fn attribute(Attribute { key, value, unit }: &Attribute) -> Value {
    json!({ "key": key, "value": value, "unit": unit })
}

fn special_price(SpecialPrice { region, amount, valid }: &SpecialPrice) -> Value {
    json!({ "region": region, "amount": amount.as_ref().map(money), "valid": valid.as_ref().map(window) })
}

fn window(Window { from_ms, until_ms }: &Window) -> Value {
    json!({ "from_ms": from_ms, "until_ms": until_ms })
}

fn click(Click { event_id, r#type, sku, query, list_id, position, at_ms }: &Click) -> Value {
    json!({
        "event_id": event_id,
        "type": ClickType::try_from(*r#type).map_or_else(|_| unknown(*r#type), |known| known.as_str_name().to_owned()),
        "sku": sku,
        "query": query,
        "list_id": list_id,
        "position": position,
        "at_ms": at_ms,
    })
}

fn reason_name(reason: i32) -> String {
    CompensationReason::try_from(reason).map_or_else(|_| unknown(reason), |known| known.as_str_name().to_owned())
}

/// A value that is of no name of ours is kept as its number, never as another value.
fn unknown(number: i32) -> String {
    format!("unknown {number}")
}
