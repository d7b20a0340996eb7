//! The newest shape of each event, with every field said. Whoever adds a field says it here, raises the shape, and records it:
//! `cargo test -p contracts --test it -- --ignored record_what_is_missing`.

use contracts::Event;
use contracts::catalog::v1::{
    Attribute, LocalisedText, Offered, ProductChanged, ShipmentCreated, ShipmentLine, SpecialPrice, StockFinalised,
    StockRejected, StockReleased, StockReserved, Variant, Window,
};
use contracts::common::v1::Money;
use contracts::order::v1::{
    Choice, CompensationReason, OrderCompensated, OrderCompleted, OrderCreated, OrderLine, OrderPaymentPending,
    OrderRefunded,
};
use contracts::user::v1::{Click, ClickType, ClicksRefused, ClicksReported, RefusedClick, UserRegistered};

use super::told::Told;

/// The case under which the newest shape of each event is recorded.
pub const CASE: &str = "full";

const ORDER: &str = "6f1c1f0e-6a4b-5d9c-9a53-1d2f6b9a7c10";
const USER: &str = "0b8f3f5c-2f0e-4c63-8f0a-4d2a6c1e9b7d";
const NOW: i64 = 1_790_000_000_000;
const DAY: i64 = 86_400_000;
/// Key of everything about a browser.
pub const PSEUDONYM: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

pub fn samples() -> Vec<Told> {
    let events = [
        Event::from(UserRegistered {
            user_id: USER.to_owned(),
            residency_region: "eu".to_owned(),
            registered_at_ms: NOW,
            personalisation_consent: true,
        }),
        Event::from(OrderCreated {
            order_id: ORDER.to_owned(),
            user_id: USER.to_owned(),
            lines: lines(),
            total: Some(euro(129, 990_000_000)),
            created_at_ms: NOW,
            ship_to_country: "DE".to_owned(),
        }),
        Event::from(OrderPaymentPending { order_id: ORDER.to_owned(), attempt: 2, deadline_at_ms: NOW + 900_000 }),
        Event::from(OrderCompleted {
            order_id: ORDER.to_owned(),
            user_id: USER.to_owned(),
            lines: lines(),
            total: Some(euro(129, 990_000_000)),
            completed_at_ms: NOW + 5_000,
        }),
        Event::from(OrderCompensated {
            order_id: ORDER.to_owned(),
            reason: CompensationReason::PaymentDeclined as i32,
            compensated_at_ms: NOW + 7_000,
        }),
        Event::from(OrderRefunded {
            order_id: ORDER.to_owned(),
            refund_id: "9d3e5a10-7c42-4e8b-a6f1-2b4c6d8e0f13".to_owned(),
            amount: Some(euro(129, 990_000_000)),
            whole: true,
            lines: lines(),
            refunded_at_ms: NOW + 9_000,
        }),
        Event::from(StockReserved { order_id: ORDER.to_owned() }),
        Event::from(StockRejected { order_id: ORDER.to_owned(), sku: "LAMP-7".to_owned() }),
        Event::from(StockReleased { order_id: ORDER.to_owned() }),
        Event::from(StockFinalised { order_id: ORDER.to_owned() }),
        Event::from(shipment()),
        Event::from(product()),
    ];
    let mut all: Vec<Told> = events.into_iter().map(|event| Told::Event(Box::new(event))).collect();
    all.push(Told::Reported(ClicksReported {
        pseudonym: PSEUDONYM.to_owned(),
        personalisation_consent: true,
        received_at_ms: NOW,
        clicks: vec![Click {
            event_id: "e1".to_owned(),
            r#type: ClickType::View as i32,
            sku: "CHAIR-1".to_owned(),
            at_ms: NOW - 1_000,
            ..Click::default()
        }],
        bot: true,
    }));
    all.push(Told::Refused(ClicksRefused {
        pseudonym: PSEUDONYM.to_owned(),
        received_at_ms: NOW,
        refused: vec![RefusedClick {
            index: 3,
            reason: "unknown-type".to_owned(),
            sample: "{\"type\":\"hover\"}".to_owned(),
        }],
        record_id: "2d9a7c41-5e3b-4f08-9c62-71b0e4d83a5f".to_owned(),
    }));
    all.push(Told::Bytes(vec![0xff; 3]));
    all
}

fn lines() -> Vec<OrderLine> {
    vec![
        OrderLine { sku: "CHAIR-1".to_owned(), quantity: 2, options: options() },
        OrderLine { sku: "LAMP-7".to_owned(), quantity: 1, options: Vec::new() },
    ]
}

fn options() -> Vec<Choice> {
    [("colour", "oak"), ("seat", "leather")]
        .map(|(key, value)| Choice { key: key.to_owned(), value: value.to_owned() })
        .to_vec()
}

fn euro(units: i64, nanos: i32) -> Money {
    Money { currency: "EUR".to_owned(), units, nanos }
}

fn shipment() -> ShipmentCreated {
    ShipmentCreated {
        order_id: ORDER.to_owned(),
        shipment_id: "c2a1d3f4-5b6e-4f7a-8b9c-0d1e2f3a4b5c".to_owned(),
        fulfilment_centre: "centre-1".to_owned(),
        created_at_ms: NOW + 6_000,
        lines: vec![
            ShipmentLine { sku: "CHAIR-1".to_owned(), quantity: 2, options: options() },
            ShipmentLine { sku: "LAMP-7".to_owned(), quantity: 1, options: Vec::new() },
        ],
    }
}

fn product() -> ProductChanged {
    let a_day = Window { from_ms: NOW, until_ms: NOW + DAY };
    let special =
        |units| SpecialPrice { region: "eu".to_owned(), amount: Some(euro(units, 500_000_000)), valid: Some(a_day) };
    let text = |language: &str, name: &str, description: &str| LocalisedText {
        language: language.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
    };
    let attribute = |key: &str, value: &str, unit: &str| Attribute {
        key: key.to_owned(),
        value: value.to_owned(),
        unit: unit.to_owned(),
    };
    ProductChanged {
        sku: "CHAIR-1".to_owned(),
        revision: 7,
        // A product that is gone says nothing else; it has a recording of its own.
        deleted: false,
        family: "chair".to_owned(),
        category: "furniture/chairs".to_owned(),
        brand: "Nordholm".to_owned(),
        texts: vec![text("de", "Stuhl „Åse“", "Aus Eiche."), text("en", "Chair", "Of oak.")],
        prices: vec![euro(59, 990_000_000)],
        attributes: vec![attribute("height", "82", "cm")],
        images: vec!["chair-1.webp".to_owned(), "chair-2.webp".to_owned()],
        changed_at_ms: NOW,
        special_prices: vec![special(49)],
        offered: vec![Offered { region: "eu".to_owned(), shown: Some(a_day) }],
        variants: vec![Variant {
            sku: "CHAIR-1-OAK".to_owned(),
            attributes: vec![attribute("weight", "4.5", "kg")],
            prices: vec![euro(69, 990_000_000)],
            special_prices: vec![special(64)],
            images: vec!["oak.webp".to_owned()],
        }],
        schema: 3,
        former_category: "furniture/stools".to_owned(),
    }
}
