//! `experiment show`.

use serde_json::Value;

use crate::api::{Api, segment};
use crate::command::ExperimentCommand;
use crate::failure::Failure;
use crate::output::{Output, table, text};

pub async fn carry_out(api: &Api, command: ExperimentCommand, output: Output) -> Result<(), Failure> {
    let ExperimentCommand::Show { name } = command;
    let shown = api.get(&format!("/v1/admin/experiments/{}", segment(&name))).await?;
    if !output.as_json(&shown) {
        println!("{}", as_text(&shown));
    }
    Ok(())
}

fn as_text(shown: &Value) -> String {
    let harmed = shown["harmed"].as_str().map(|_| format!(" ({})", text(&shown["harmed"]))).unwrap_or_default();
    let dealt =
        if shown["dealt_as_set"] == true { "people are dealt out as set" } else { "people are missing in one arm" };
    let (name, change) = (text(&shown["name"]), text(&shown["change"]));
    let head = format!("{name} ({change}): {}{harmed}; {dealt}", text(&shown["verdict"]));
    let fields = ["arm", "share", "persons", "conversions", "orders", "revenue_minor", "degraded", "withdrew"];
    let arms: Vec<_> = rows(&shown["arms"]).map(|arm| fields.map(|field| text(&arm[field])).to_vec()).collect();
    let revenue = format!("REVENUE ({}, MINOR)", text(&shown["currency"]));
    let heads = ["ARM", "SHARE", "PERSONS", "CONVERSIONS", "ORDERS", revenue.as_str(), "DEGRADED", "WITHDREW"];
    let per = |what: &str, range: &Value, unit: &str, tolerated: String| {
        let from_to = match range {
            Value::Null => "too little to say".to_owned(),
            range => format!("{} to {}", text(&range["low"]), text(&range["high"])),
        };
        vec![what.to_owned(), from_to, unit.to_owned(), tolerated]
    };
    let none = || "-".to_owned();
    let mut differences = vec![
        per("conversion", &shown["conversion_difference"], "of 10,000 people", none()),
        per("revenue", &shown["revenue_difference_minor"], "minor units per person", none()),
    ];
    differences.extend(
        rows(&shown["guards"]).map(|guard| {
            per(&text(&guard["name"]), &guard["difference"], "of 10,000 people", text(&guard["tolerated"]))
        }),
    );
    let differences = table(&["TREATMENT MINUS CONTROL", "INTERVAL", "UNIT", "TOLERATED"], &differences);
    [head, table(&heads, &arms), differences].join("\n\n")
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
