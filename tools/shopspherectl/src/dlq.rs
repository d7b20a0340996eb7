//! `dlq list`, `show`, `redrive`. Each service answers for its own parked messages.

use serde_json::{Value, json};

use crate::api::Api;
use crate::command::{DlqCommand, Redrive, Service};
use crate::failure::Failure;
use crate::output::{Output, table, text, time};

/// Requests of one redrive: the service takes two hundred messages at a time.
const MOST_ROUNDS: usize = 1_000;

pub async fn carry_out(api: &Api, command: DlqCommand, output: Output) -> Result<(), Failure> {
    match command {
        DlqCommand::List { service, topic, key, all, limit } => {
            let mut query: Vec<(&str, String)> = Vec::new();
            query.extend(topic.map(|topic| ("topic", topic)));
            query.extend(key.map(|key| ("key", key)));
            query.extend(all.then(|| ("state", "all".to_owned())));
            list(api, service, &query, limit, output).await
        }
        DlqCommand::Show { service, id } => {
            let message = api.get(&format!("{}/{id}", path(service))).await?;
            if !output.as_json(&message) {
                println!("{}", message_as_text(&message));
            }
            Ok(())
        }
        DlqCommand::Redrive(wanted) => redrive(api, &wanted, output).await,
    }
}

fn path(service: Service) -> String {
    format!("/v1/admin/parked-messages/{}", service.name())
}

/// A service that does not answer does not hide the others; the command fails all the same.
async fn list(
    api: &Api,
    service: Option<Service>,
    query: &[(&str, String)],
    limit: u32,
    output: Output,
) -> Result<(), Failure> {
    let asked = service.map_or_else(|| Service::ALL.to_vec(), |one| vec![one]);
    let (mut items, mut failed) = (Vec::new(), None);
    for service in asked {
        match api.list(&path(service), query, limit).await {
            Ok(found) => items.extend(found.into_iter().map(|mut item| {
                item["service"] = service.name().into();
                item
            })),
            Err(failure @ (Failure::NotLoggedIn(_) | Failure::Here(_))) => return Err(failure),
            Err(failure) => failed = Some(failure),
        }
    }
    let json = output.as_json(&json!({ "items": items }));
    if !json && items.is_empty() && failed.is_none() {
        println!("nothing is parked");
    } else if !json && !items.is_empty() {
        let row = |item: &Value| {
            vec![
                text(&item["service"]),
                text(&item["parked_id"]),
                text(&item["topic"]),
                text(&item["key"]),
                if item["first_of_its_queue"] == true { "yes" } else { "no" }.to_owned(),
                time(&item["parked_at"]),
                text(&item["reason"]),
            ]
        };
        let rows: Vec<_> = items.iter().map(row).collect();
        println!("{}", table(&["SERVICE", "ID", "TOPIC", "KEY", "FIRST", "PARKED", "REASON"], &rows));
    }
    failed.map_or(Ok(()), Err)
}

fn message_as_text(message: &Value) -> String {
    let rows: Vec<Vec<String>> =
        ["parked_id", "consumer", "topic", "partition", "offset", "key", "reason", "payload_bytes"]
            .iter()
            .map(|name| vec![(*name).to_owned(), text(&message[*name])])
            .chain(["parked_at", "redriven_at"].iter().map(|name| vec![(*name).to_owned(), time(&message[*name])]))
            .collect();
    let headers: Vec<Vec<String>> = message["headers"]
        .as_array()
        .map(|list| list.iter().map(|pair| vec![text(&pair[0]), text(&pair[1])]).collect())
        .unwrap_or_default();
    let event = match &message["event"] {
        Value::Null => "cannot be read as an event of its topic".to_owned(),
        event => format!("{event:#}"),
    };
    format!("{}\n\n{}\n\nevent: {event}", table(&["FIELD", "VALUE"], &rows), table(&["HEADER", "VALUE"], &headers))
}

/// Asks again for as long as the bound of one request was all that stopped it.
async fn redrive(api: &Api, wanted: &Redrive, output: Output) -> Result<(), Failure> {
    let mut body = json!({ "reason": wanted.reason });
    match (wanted.id, &wanted.key, &wanted.topic) {
        (Some(id), ..) => body["id"] = id.into(),
        (_, Some(key), _) => body["key"] = key.as_str().into(),
        (.., Some(topic)) => body["topic"] = topic.as_str().into(),
        _ => body["all"] = wanted.all.into(),
    }
    let address = format!("{}/redrive", path(wanted.service));
    let (mut applied, mut last) = (0, Value::Null);
    for _ in 0..MOST_ROUNDS {
        last = api.post(&address, &body).await?;
        let now = last["applied"].as_u64().unwrap_or_default();
        applied += now;
        if now == 0 || last["waiting"] == 0 || wanted.id.is_some() {
            break;
        }
    }
    last["applied"] = applied.into();
    if !output.as_json(&last) {
        println!("{applied} applied, {} still waiting", text(&last["waiting"]));
        for stop in last["stopped"].as_array().into_iter().flatten() {
            println!("  {} still refuses: {}", text(&stop["parked_id"]), text(&stop["reason"]));
        }
    }
    let stopped = last["stopped"].as_array().is_some_and(|stops| !stops.is_empty());
    let unfinished = if wanted.id.is_some() { applied == 0 } else { last["waiting"] != 0 };
    if stopped || unfinished {
        return Err(Failure::Found(
            "some messages still wait; see their reasons, and docs/runbooks/parked-messages.md".to_owned(),
        ));
    }
    Ok(())
}
