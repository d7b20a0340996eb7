//! The page in the docs, written from the table: diagrams and the list of steps. A test fails when the page is stale.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::state::{Message, Participant};
use crate::steps::{Command, STEPS, Step, Timer, Trigger, When};
use crate::subscriptions::{publications, subscriptions};

/// The whole of `docs/saga.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# The order saga\n\n\
         Written by `cargo run -p saga-monitor -- page` from `crates/saga/src/steps.rs`; a test fails when it is stale. Nobody\n\
         coordinates the saga: each service takes its own steps, on its own commits. The same table gives the subscriptions, the\n\
         exploration of every state (`crates/saga/src/explore.rs`) and the watch over real topics (`tools/saga-monitor`). Why:\n\
         [ADR 0030](adr/0030-choreography-as-a-typed-table.md).\n\n",
    );
    page.push_str("## Who tells whom\n\n```mermaid\nflowchart LR\n");
    talk(&mut page);
    page.push_str("```\n\n| Service | Listens to | Tells |\n| --- | --- | --- |\n");
    for participant in [Participant::User, Participant::OrderPayment, Participant::Catalog] {
        let kinds = |topics: Vec<&contracts::Topic>| {
            topics.iter().map(|topic| format!("`{}`", topic.kind)).collect::<Vec<_>>().join(", ")
        };
        let (hears, tells) = (kinds(subscriptions(participant)), kinds(publications(participant)));
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            participant.service(),
            if hears.is_empty() { "–" } else { &hears },
            tells
        );
    }
    machine(&mut page, "The order", |step| {
        moves(step.when.order.iter().map(|state| state.code()), step.then.order.map(crate::state::Order::code))
    });
    machine(&mut page, "The payment attempt", |step| {
        moves(step.when.charge.iter().map(|state| state.code()), step.then.charge.map(crate::state::Charge::code))
    });
    machine(&mut page, "The reservation", |step| {
        moves(
            step.when.reservation.iter().map(|state| state.code()),
            step.then.reservation.map(crate::state::Reservation::code),
        )
    });
    machine(&mut page, "The return of late money", |step| {
        moves(step.when.refund.iter().map(|state| state.code()), step.then.refund.map(crate::state::Refund::code))
    });
    page.push_str("\n## The steps\n\nA step marked ! is something that goes wrong.\n\n| Step | Who | On | When | Then |\n| --- | --- | --- | --- | --- |\n");
    for step in STEPS {
        let mark = if step.fault { "! " } else { "" };
        let _ = writeln!(
            page,
            "| {mark}{} | {} | {} | {} | {} |",
            step.name,
            step.at.service(),
            trigger(step.on),
            when(&step.when),
            then(step)
        );
    }
    page
}

fn talk(page: &mut String) {
    for message in Message::ALL {
        let writers = Participant::ALL
            .into_iter()
            .filter(|from| STEPS.iter().any(|step| step.at == *from && step.then.tells.contains(message)));
        for from in writers {
            for to in Participant::ALL
                .into_iter()
                .filter(|to| STEPS.iter().any(|step| step.at == *to && step.on == Trigger::Message(*message)))
            {
                let _ = writeln!(
                    page,
                    "    {}[{}] -- {} --> {}[{}]",
                    id(from),
                    from.service(),
                    message.code(),
                    id(to),
                    to.service()
                );
            }
        }
    }
    let mut calls: Vec<&str> = STEPS.iter().flat_map(|step| step.then.calls).map(|call| call.code()).collect();
    calls.sort_unstable();
    calls.dedup();
    let _ = writeln!(
        page,
        "    {}[{}] -- {} --> {}[{}]",
        id(Participant::OrderPayment),
        Participant::OrderPayment.service(),
        calls.join(", "),
        id(Participant::Gateway),
        Participant::Gateway.service()
    );
}

fn id(participant: Participant) -> String {
    participant.service().replace('-', "_")
}

type Moves = (Vec<&'static str>, Option<&'static str>);

fn moves(from: impl Iterator<Item = &'static str>, to: Option<&'static str>) -> Moves {
    (from.collect(), to)
}

fn machine(page: &mut String, title: &str, of: impl Fn(&Step) -> Moves) {
    let mut arrows: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut order: Vec<(&str, &str)> = Vec::new();
    for step in STEPS {
        let (from, Some(to)) = of(step) else { continue };
        let from = if from.is_empty() { vec!["NONE"] } else { from };
        for from in from.into_iter().filter(|from| *from != to) {
            if !arrows.contains_key(&(from, to)) {
                order.push((from, to));
            }
            arrows.entry((from, to)).or_default().push(step.name);
        }
    }
    let _ = write!(page, "\n## {title}\n\n```mermaid\nstateDiagram-v2\n    direction LR\n");
    for (from, to) in order {
        let names = arrows.get(&(from, to)).map(|names| names.join(" / ").replace(": ", ", ")).unwrap_or_default();
        let _ = writeln!(page, "    {} --> {to}: {names}", if from == "NONE" { "[*]" } else { from });
    }
    page.push_str("```\n");
}

fn trigger(on: Trigger) -> String {
    match on {
        Trigger::Command(Command::SignUp) => "somebody signs up".to_owned(),
        Trigger::Command(Command::PlaceOrder) => "somebody orders".to_owned(),
        Trigger::Command(Command::CancelOrder) => "somebody cancels".to_owned(),
        Trigger::Command(Command::RefundOrder) => "somebody gives money back".to_owned(),
        Trigger::Message(message) => format!("`{}`", message.code()),
        Trigger::Timer(Timer::StockDeadline) => "the deadline of the stock".to_owned(),
        Trigger::Timer(Timer::PaymentDeadline) => "the deadline of the payment".to_owned(),
        Trigger::Timer(Timer::Payment) => "the payment worker comes by".to_owned(),
        Trigger::Call(call) => format!("a call: {}", call.code()),
        Trigger::Bank => "the bank decides".to_owned(),
        Trigger::NoAnswer => "no answer, or one that says nothing".to_owned(),
    }
}

fn when(when: &When) -> String {
    let mut parts = Vec::new();
    let mut add = |what: &str, states: Vec<&str>| {
        if !states.is_empty() {
            parts.push(format!("{what} {}", states.join(" or ")));
        }
    };
    add("order", when.order.iter().map(|state| state.code()).collect());
    add("attempt", when.charge.iter().map(|state| state.code()).collect());
    add("refund", when.refund.iter().map(|state| state.code()).collect());
    add("reservation", when.reservation.iter().map(|state| state.code()).collect());
    add("intent", when.intent.iter().map(|state| state.code()).collect());
    let yes_no = |yes: bool, text: &str| if yes { text.to_owned() } else { format!("not {text}") };
    parts.extend(when.giving_up.map(|yes| yes_no(yes, "giving up")));
    parts.extend(when.capture_requested.map(|yes| yes_no(yes, "committed to capture")));
    parts.extend(when.in_stock.map(|yes| yes_no(yes, "in stock")));
    if parts.is_empty() { "–".to_owned() } else { parts.join("; ") }
}

fn then(step: &Step) -> String {
    let then = &step.then;
    let mut parts: Vec<String> = Vec::new();
    parts.extend(then.order.map(|state| format!("order {}", state.code())));
    parts.extend(then.charge.map(|state| format!("attempt {}", state.code())));
    parts.extend(then.refund.map(|state| format!("refund {}", state.code())));
    parts.extend(then.reservation.map(|state| format!("reservation {}", state.code())));
    parts.extend(then.intent.map(|state| format!("intent {}", state.code())));
    if then.gives_up {
        parts.push("giving up".to_owned());
    }
    if then.requests_capture {
        parts.push("committed to capture".to_owned());
    }
    parts.extend(then.tells.iter().map(|message| format!("tells `{}`", message.code())));
    parts.extend(then.calls.iter().map(|call| format!("calls {}", call.code())));
    if parts.is_empty() { "nothing but that it was heard".to_owned() } else { parts.join("; ") }
}
