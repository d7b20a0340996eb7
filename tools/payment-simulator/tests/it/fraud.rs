//! The stand-in for a shop's fraud check.

use serde_json::{Value, json};

use crate::support::gateway;

#[tokio::test]
async fn the_amount_decides_and_only_the_merchant_may_ask() {
    let (_running, shop) = gateway("fraud").await;
    let ask = |key: Option<&'static str>, facts: Value| {
        let request = shop.client.post(format!("{}/fraud/assessments", shop.base)).json(&facts);
        let request = key.into_iter().fold(request, |request, key| request.bearer_auth(key));
        async move {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            (status, response.json::<Value>().await.unwrap_or(Value::Null))
        }
    };
    let key = Some("sk_test_local");
    for (minor, verdict) in [(4_990, "pass"), (666, "refuse"), (12_666, "refuse"), (66_600, "pass"), (0, "pass")] {
        let facts = json!({"amount_minor": minor, "attempt_id": "a", "person": "p"});
        assert_eq!(ask(key, facts).await, (200, json!({"verdict": verdict})), "{minor}");
    }
    assert_eq!(ask(key, json!({"amount_minor": -1})).await.0, 422);
    assert_eq!(ask(None, json!({"amount_minor": 4_990})).await.0, 401);
}
