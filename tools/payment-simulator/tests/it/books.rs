//! The books are complete, ordered, and add up to what the intents say.

use payment_simulator::EntryKind;

use crate::support::gateway;

#[tokio::test]
async fn entries_carry_reference_epoch_and_order() {
    let (running, shop) = gateway("entries").await;
    let intent = shop.authorise("o-1", "tok_ok").await;
    shop.capture("o-1", &intent).await;
    let books = shop.get("/__books").await;
    assert_eq!((books.number("/entries/0/sequence"), books.text("/entries/0/kind")), (1, "authorise"));
    assert_eq!((books.number("/entries/1/sequence"), books.text("/entries/1/kind")), (2, "capture"));
    assert_eq!((books.text("/entries/1/reference"), books.text("/entries/1/intent")), ("o-1", intent.as_str()));
    assert_eq!((books.number("/entries/1/amount"), books.text("/entries/1/currency")), (4990, "eur"));
    assert_eq!(books.number("/entries/1/epoch"), 7);
    assert!(books.text("/entries/1/at").ends_with('Z'));
    let page = shop.get("/__books?after=1&limit=1").await;
    assert_eq!((page.text("/entries/0/kind"), page.body["has_more"].as_bool()), ("capture", Some(false)));
    assert_eq!(running.books().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_second_standing_capture_for_one_order_is_counted() {
    let (_running, shop) = gateway("twice").await;
    for (number, key) in ["a", "b"].into_iter().enumerate() {
        let form = "amount=100&currency=eur&payment_method=tok_ok&metadata[order_id]=o-1";
        let created = shop.post("/v1/payment_intents", Some(key), form).await;
        let intent = created.text("/id").to_owned();
        shop.post(&format!("/v1/payment_intents/{intent}/confirm"), None, "").await;
        let summary = shop.get("/__books/summary").await;
        assert_eq!(summary.number("/orders_charged_twice"), i64::from(number == 1));
        if number == 1 {
            assert_eq!(summary.text("/charged_twice/0"), "o-1");
            shop.post("/v1/refunds", None, &format!("payment_intent={intent}")).await;
        }
    }
    let summary = shop.get("/__books/summary").await;
    assert_eq!((summary.number("/orders_charged_twice"), summary.number("/orders_charged")), (0, 1));
    let sums = ["captured", "refunded", "net"].map(|sum| summary.number(&format!("/currencies/eur/{sum}")));
    assert_eq!(sums, [200, 100, 100]);
}

#[tokio::test]
async fn after_any_mixture_of_calls_the_books_equal_the_intents() {
    let (running, shop) = gateway("mixture").await;
    // A fixed mixture drawn from a small linear congruence, so that a failure repeats.
    let mut state: u32 = 20_251_125;
    let mut draw = |most: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % most
    };
    let tokens = ["tok_ok", "tok_declined", "tok_error500_charged", "tok_reset", "tok_webhook_only"];
    let mut intents = Vec::new();
    for number in 0..150 {
        if intents.len() < 3 || draw(5) == 0 {
            intents.push(shop.create(&format!("o-{number}"), tokens[draw(5) as usize], 4990).await);
        }
        let intent: &String = &intents[draw(u32::try_from(intents.len()).unwrap()) as usize];
        let (path, form) = match draw(5) {
            0 => (format!("/v1/payment_intents/{intent}/cancel"), String::new()),
            1 => ("/v1/refunds".to_owned(), format!("payment_intent={intent}&amount={}", draw(3000) + 1)),
            2 => (format!("/v1/payment_intents/{intent}/confirm"), String::new()),
            _ => (format!("/v1/payment_intents/{intent}/capture"), String::new()),
        };
        // Refused and broken calls are part of the mixture.
        let _ = shop.try_post(&path, None, &form).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    let books = running.books().await.unwrap();
    assert!(books.iter().zip(1..).all(|(entry, place)| entry.sequence == place));
    let mut charged = 0;
    for id in &intents {
        let sum = |kind| {
            books
                .iter()
                .filter(|entry| entry.intent == *id && entry.kind == kind)
                .map(|entry| entry.amount)
                .sum::<i64>()
        };
        let intent = shop.get(&format!("/v1/payment_intents/{id}")).await;
        let refunds = shop.get(&format!("/v1/refunds?payment_intent={id}")).await;
        let refunded: i64 =
            refunds.body["data"].as_array().unwrap().iter().map(|refund| refund["amount"].as_i64().unwrap()).sum();
        assert_eq!(sum(EntryKind::Capture), intent.number("/amount_received"));
        assert_eq!(sum(EntryKind::Refund), refunded);
        assert!(refunded <= intent.number("/amount_received"));
        charged += i32::from(intent.number("/amount_received") > 0);
    }
    assert!(charged > 3 && running.summary().await.unwrap().charged_twice.is_empty());
}
