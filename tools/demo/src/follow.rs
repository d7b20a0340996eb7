//! Following one order live, as the order page does: server-sent events, continued after a lost connection.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::api::Api;
use crate::shopper::Shopper;

/// Longest time to follow one order.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two connections.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes of one event; the shop's are a hundred.
const LONGEST_EVENT: usize = 64 * 1024;

/// What was seen of an order, in order.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub steps: Vec<String>,
    pub lasted: Duration,
    pub reconnected: usize,
}

/// Follows `order` to its end, or as long as the patience lasts.
pub async fn follow(api: &Api, shopper: &Shopper, order: Uuid) -> Seen {
    let started = Instant::now();
    let mut seen = Seen::default();
    let mut last_event = String::from("0");
    while started.elapsed() < PATIENCE {
        let left = PATIENCE.saturating_sub(started.elapsed());
        let ended =
            tokio::time::timeout(left, read_stream(api, shopper, order, &mut last_event, &mut seen.steps)).await;
        if matches!(ended, Ok(Ok(true))) {
            break;
        }
        seen.reconnected += 1;
        tokio::time::sleep(PAUSE).await;
    }
    seen.lasted = started.elapsed();
    seen
}

/// `true`: the order has reached its end.
async fn read_stream(
    api: &Api,
    shopper: &Shopper,
    order: Uuid,
    last_event: &mut String,
    steps: &mut Vec<String>,
) -> anyhow::Result<bool> {
    let token = shopper.token(api).await?;
    let mut response = api.stream(&format!("/v1/orders/{order}/events"), &token, last_event).await?;
    let mut buffer = String::new();
    while let Some(chunk) = response.chunk().await? {
        buffer.push_str(&String::from_utf8_lossy(&chunk).replace('\r', ""));
        if buffer.len() > LONGEST_EVENT {
            anyhow::bail!("an event without end");
        }
        while let Some((event, rest)) =
            buffer.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned()))
        {
            buffer = rest;
            let (id, status) = parse(&event);
            if let Some(id) = id {
                *last_event = id;
            }
            if let Some(status) = status {
                steps.push(status.clone());
                if status == "COMPLETED" || status.starts_with("COMPENSATED") {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Id and status of one event; comments have neither.
fn parse(event: &str) -> (Option<String>, Option<String>) {
    let field =
        |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim_start().to_owned());
    let data: Option<serde_json::Value> = field("data:").and_then(|text| serde_json::from_str(&text).ok());
    let status = data.and_then(|data| {
        let status = data["status"].as_str()?.to_owned();
        Some(data["reason"].as_str().map_or(status.clone(), |reason| format!("{status} ({reason})")))
    });
    (field("id:"), status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_an_id_and_a_status_and_a_comment_has_neither() {
        let event = "id: 3\nevent: status\ndata: {\"status\":\"COMPENSATED\",\"reason\":\"OUT_OF_STOCK\",\"at\":\"x\"}";
        assert_eq!(parse(event), (Some("3".to_owned()), Some("COMPENSATED (OUT_OF_STOCK)".to_owned())));
        assert_eq!(parse(": still here"), (None, None));
        assert_eq!(parse("data: nonsense"), (None, None));
    }
}
