//! `saga list`, `show`, `retry`, `compensate`.

use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::command::{SagaCommand, SagaList};
use crate::failure::Failure;
use crate::output::{Output, age, table, text, time};

pub async fn carry_out(api: &Api, command: SagaCommand, output: Output) -> Result<(), Failure> {
    match command {
        SagaCommand::List(wanted) => list(api, wanted, output).await,
        SagaCommand::Show { order } => {
            let file = api.get(&format!("/v1/admin/sagas/{}", segment(&order))).await?;
            if !output.as_json(&file) {
                println!("{}", file_as_text(&file));
            }
            Ok(())
        }
        SagaCommand::Retry { order, reason } => act(api, &order, "retry", &reason, output).await,
        SagaCommand::Compensate { order, reason } => act(api, &order, "compensate", &reason, output).await,
    }
}

async fn list(api: &Api, wanted: SagaList, output: Output) -> Result<(), Failure> {
    let SagaList { stuck, older, since, status, reason, limit } = wanted;
    let mut query: Vec<(&str, String)> = Vec::new();
    if stuck || older.is_some() {
        query.push(("stuck", "true".to_owned()));
    }
    query.extend(older.map(|seconds| ("older_s", seconds.to_string())));
    query.extend(since.map(|seconds| ("since_s", seconds.to_string())));
    query.extend(status.map(|status| ("status", status.to_uppercase())));
    query.extend(reason.map(|reason| ("reason", reason.to_uppercase())));
    let items = api.list("/v1/admin/sagas", &query, limit).await?;
    if output.as_json(&json!({ "items": items })) {
        return Ok(());
    }
    if items.is_empty() {
        println!("no sagas");
        return Ok(());
    }
    let row = |item: &Value| {
        let attempt = &item["attempt"];
        vec![
            text(&item["order_id"]),
            text(&item["status"]),
            text(&item["waits_for"]),
            attempt_as_text(attempt),
            text(&attempt["tries"]),
            age(item["unmoved_s"].as_i64().unwrap_or_default()),
            money(&item["total"]),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    println!("{}", table(&["ORDER", "STATUS", "WAITS FOR", "ATTEMPT", "TRIES", "UNMOVED", "TOTAL"], &rows));
    Ok(())
}

async fn act(api: &Api, order: &str, verb: &str, reason: &str, output: Output) -> Result<(), Failure> {
    let path = format!("/v1/admin/sagas/{}/{verb}", segment(order));
    let answer = api.post(&path, &json!({ "reason": reason })).await?;
    if !output.as_json(&answer) {
        println!("{}: {}", text(&answer["did"]).replace('_', " "), text(&answer["detail"]));
    }
    Ok(())
}

fn attempt_as_text(attempt: &Value) -> String {
    if attempt.is_null() {
        return "-".to_owned();
    }
    let giving_up = if attempt["giving_up"].is_null() { "" } else { ", giving up" };
    format!("{} {}{giving_up}", text(&attempt["kind"]).to_lowercase(), text(&attempt["state"]))
}

fn money(value: &Value) -> String {
    format!("{} {}", text(&value["amount"]), text(&value["currency"]))
}

fn file_as_text(file: &Value) -> String {
    let mut parts = vec![format!(
        "order {}\nstatus {}{}, waits for {}, unmoved {}\ntotal {}, placed {}, deadline {}",
        text(&file["order_id"]),
        text(&file["status"]),
        if file["reason"].is_null() { String::new() } else { format!(" ({})", text(&file["reason"])) },
        text(&file["waits_for"]),
        age(file["unmoved_s"].as_i64().unwrap_or_default()),
        money(&file["total"]),
        time(&file["placed_at"]),
        time(&file["deadline_at"]),
    )];
    let mut section = |name: &str, head: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            parts.push(format!("{name}\n{}", table(head, &rows)));
        }
    };
    let rows = |list: &str, row: &dyn Fn(&Value) -> Vec<String>| -> Vec<Vec<String>> {
        file[list].as_array().map(|items| items.iter().map(row).collect()).unwrap_or_default()
    };
    section(
        "lines",
        &["SKU", "QUANTITY", "UNIT PRICE (MINOR)"],
        rows("lines", &|line| vec![text(&line["sku"]), text(&line["quantity"]), text(&line["unit_price_minor"])]),
    );
    section(
        "history",
        &["VERSION", "STATUS", "REASON", "AT"],
        rows("history", &|step| {
            vec![text(&step["version"]), text(&step["status"]), text(&step["reason"]), time(&step["at"])]
        }),
    );
    section(
        "attempts",
        &["NO", "KIND", "STATE", "AMOUNT", "TRIES", "GIVING UP", "REFUSED BY", "IN DOUBT", "DUE", "INTENT"],
        rows("attempts", &|row| {
            vec![
                text(&row["number"]),
                text(&row["kind"]),
                text(&row["state"]),
                money(&row["amount"]),
                text(&row["tries"]),
                text(&row["giving_up"]),
                text(&row["refused_by"]),
                text(&row["in_doubt"]),
                time(&row["due_at"]),
                text(&row["intent"]),
            ]
        }),
    );
    section(
        "ledger",
        &["KIND", "ACCOUNT", "MINOR", "CURRENCY", "AT"],
        rows("ledger", &|row| {
            vec![
                text(&row["kind"]),
                text(&row["account"]),
                text(&row["amount_minor"]),
                text(&row["currency"]),
                time(&row["recorded_at"]),
            ]
        }),
    );
    section(
        "webhooks",
        &["EVENT", "TYPE", "OUTCOME", "TRIES", "RECEIVED"],
        rows("webhooks", &|row| {
            vec![
                text(&row["event_id"]),
                text(&row["event_type"]),
                text(&row["outcome"]),
                text(&row["tries"]),
                time(&row["received_at"]),
            ]
        }),
    );
    section(
        "findings",
        &["KIND", "STATE", "AGE", "DETAIL"],
        rows("findings", &|row| {
            vec![
                text(&row["kind"]),
                text(&row["state"]),
                age(row["age_s"].as_i64().unwrap_or_default()),
                text(&row["detail"]),
            ]
        }),
    );
    section(
        "told (outbox)",
        &["VERSION", "TOPIC", "OCCURRED", "PUBLISHED"],
        rows("outbox", &|row| {
            vec![text(&row["version"]), text(&row["topic"]), time(&row["occurred_at"]), time(&row["published_at"])]
        }),
    );
    section(
        "heard (inbox)",
        &["KIND", "VERSION", "APPLIED"],
        rows("inbox", &|row| vec![text(&row["kind"]), text(&row["version"]), time(&row["applied_at"])]),
    );
    section(
        "parked",
        &["ID", "TOPIC", "REASON", "PARKED", "REDRIVEN"],
        rows("parked", &|row| {
            vec![
                text(&row["parked_id"]),
                text(&row["topic"]),
                text(&row["reason"]),
                time(&row["parked_at"]),
                time(&row["redriven_at"]),
            ]
        }),
    );
    section(
        "operators",
        &["AT", "ACTOR", "ACTION", "OUTCOME", "REASON"],
        rows("actions", &|row| {
            vec![
                time(&row["at"]),
                text(&row["actor"]),
                text(&row["action"]),
                text(&row["outcome"]),
                text(&row["reason"]),
            ]
        }),
    );
    parts.join("\n\n")
}
