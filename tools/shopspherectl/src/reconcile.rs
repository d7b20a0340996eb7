//! `reconcile report`, `ack`, `resolve`.

use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::command::ReconcileCommand;
use crate::failure::Failure;
use crate::output::{Output, age, table, text, time};

pub async fn carry_out(api: &Api, command: ReconcileCommand, output: Output) -> Result<(), Failure> {
    match command {
        ReconcileCommand::Report { check, .. } => report(api, check, output).await,
        ReconcileCommand::Ack { kind, reference, reason } => {
            own(api, (&kind, &reference), "acknowledge", &reason, output).await
        }
        ReconcileCommand::Resolve { kind, reference, reason } => {
            own(api, (&kind, &reference), "resolve", &reason, output).await
        }
    }
}

async fn report(api: &Api, check: bool, output: Output) -> Result<(), Failure> {
    let report = api.get("/v1/admin/reconciliation").await?;
    if !output.as_json(&report) {
        println!("{}", report_as_text(&report));
    }
    let unresolved = rows(&report["counts"]).map(|count| number(&count["open"]) + number(&count["acknowledged"])).sum();
    match unresolved {
        0_i64 => Ok(()),
        _ if !check => Ok(()),
        many => Err(Failure::Found(format!("{many} findings are not resolved; see docs/runbooks/reconciliation.md"))),
    }
}

async fn own(
    api: &Api,
    (kind, reference): (&str, &str),
    verb: &str,
    reason: &str,
    output: Output,
) -> Result<(), Failure> {
    let path =
        format!("/v1/admin/reconciliation/findings/{}/{}/{verb}", segment(&kind.to_uppercase()), segment(reference));
    let answer = api.post(&path, &json!({ "reason": reason })).await?;
    if !output.as_json(&answer) {
        println!("{kind} {reference} is {}", text(&answer["state"]));
    }
    Ok(())
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn report_as_text(report: &Value) -> String {
    let mut parts = Vec::new();
    let counts: Vec<_> = rows(&report["counts"])
        .map(|row| {
            vec![text(&row["kind"]), text(&row["open"]), text(&row["acknowledged"]), age(number(&row["oldest_s"]))]
        })
        .collect();
    if counts.is_empty() {
        parts.push("no findings: orders, ledger and gateway agree".to_owned());
    } else {
        parts.push(table(&["KIND", "OPEN", "ACKNOWLEDGED", "OLDEST"], &counts));
        let findings: Vec<_> = rows(&report["findings"])
            .map(|row| {
                vec![
                    text(&row["kind"]),
                    text(&row["reference"]),
                    text(&row["state"]),
                    age(number(&row["age_s"])),
                    text(&row["order_id"]),
                    text(&row["detail"]),
                ]
            })
            .collect();
        parts.push(table(&["KIND", "REFERENCE", "STATE", "AGE", "ORDER", "DETAIL"], &findings));
    }
    let days: Vec<_> = rows(&report["days"])
        .map(|row| {
            vec![
                text(&row["day"]),
                text(&row["currency"]),
                text(&row["orders_minor"]),
                text(&row["captured_minor"]),
                text(&row["refunded_minor"]),
                text(&row["gateway_minor"]),
                text(&row["difference_minor"]),
                time(&row["looked_at"]),
            ]
        })
        .collect();
    if !days.is_empty() {
        let head = ["DAY", "CURRENCY", "ORDERS", "CAPTURED", "REFUNDED", "GATEWAY", "DIFFERENCE", "LOOKED AT"];
        parts.push(format!("minor units, by the day an order was placed\n{}", table(&head, &days)));
    }
    let settled: Vec<_> = rows(&report["settlements"])
        .map(|row| {
            ["gateway", "day", "currency", "net_minor", "ours_minor", "difference_minor", "open"]
                .map(|name| text(&row[name]))
                .to_vec()
        })
        .collect();
    if !settled.is_empty() {
        let head = ["GATEWAY", "DAY", "CURRENCY", "SETTLED", "OURS", "DIFFERENCE", "OPEN"];
        parts.push(format!("latest settlement of each gateway, minor units\n{}", table(&head, &settled)));
    }
    parts.join("\n\n")
}
