//! Somebody with a script, an account and a list of stolen cards, and a neighbour who buys something meanwhile.

use std::time::Duration;

use fleet::operator;
use fleet::shopper::{Shopper, key, send};
use serde_json::Value;
use sqlx::types::Uuid;

use crate::price_truth::Priced;

/// As `config.default.toml` has it.
const MOST_DECLINED: usize = 10;
const CARDS: usize = 30;

/// How an order's charge ended: its state, whether the gateway ever made an intent of it, and who refused it.
async fn charge(order: &str) -> (String, bool, Option<String>) {
    sqlx::query_as(
        "SELECT state::text, intent_id IS NOT NULL, refused_by FROM payment_attempts WHERE order_id = $1 AND kind = 'CHARGE'",
    )
    .bind(order.parse::<Uuid>().unwrap())
    .fetch_one(&operator::database("order_payment"))
    .await
    .unwrap()
}

async fn place(shopper: &Shopper, product: &Value, card: &str) -> String {
    let placed = send(shopper.order(product, 1, card, &key())).await.expect(201);
    placed.body["order_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_script_with_stolen_cards_is_stopped_and_its_neighbour_buys() {
    let (thief, neighbour) = (Shopper::new().await, Shopper::new().await);
    // Nobody else wants to know how much of it is there.
    let product = Priced::on_the_shelf("12.50", 100).await.page().await;
    // All at once: each is accepted before the first is declined.
    let scripts: Vec<_> = (0..CARDS)
        .map(|_| {
            let (thief, product) = (thief.clone(), product.clone());
            tokio::spawn(async move { place(&thief, &product, "tok_declined").await })
        })
        .collect();
    let bought = place(&neighbour, &product, "tok_ok").await;
    let mut tried = Vec::new();
    for script in scripts {
        tried.push(script.await.unwrap());
    }
    assert_eq!(neighbour.wait_for_end(&bought).await["status"], "COMPLETED");

    let (mut asked, mut refused) = (0, 0);
    for order in &tried {
        // What has to wait for others may take longer than one payment.
        let ended = tokio::time::timeout(Duration::from_secs(120), async {
            loop {
                let seen = send(thief.get(&format!("/v1/orders/{order}"))).await.expect(200).body;
                if seen["status"] == "COMPENSATED" || seen["status"] == "COMPLETED" {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        let ended = ended.await.unwrap_or_else(|_| panic!("order {order} does not end"));
        assert_eq!(ended["status"], "COMPENSATED", "{ended:#}");
        let told = ended["history"].as_array().and_then(|history| history.last()).unwrap()["reason"].clone();
        assert_eq!(told, "PAYMENT_DECLINED", "a refused card looks like a declined one");
        let (state, known, refused_by) = charge(order).await;
        assert_eq!(state, "DECLINED");
        asked += usize::from(known);
        refused += usize::from(refused_by.as_deref() == Some("CARD_TESTING"));
    }
    assert_eq!((asked, refused), (MOST_DECLINED, CARDS - MOST_DECLINED));

    let later = place(&thief, &product, "tok_ok").await;
    assert_eq!(thief.wait_for_end(&later).await["status"], "COMPENSATED");
    assert_eq!(charge(&later).await, ("DECLINED".to_owned(), false, Some("CARD_TESTING".to_owned())));
}
