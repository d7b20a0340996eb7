//! Every command: its request, its output for people and for programs, its exit code.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::region::{Region, problem};

const ORDER: &str = "0c3c6a9e-5f0e-5a53-9b0a-1f5b9f3c2d11";

fn saga() -> Value {
    json!({
        "order_id": ORDER, "status": "PAYMENT_PENDING", "reason": null, "total": {"amount": "49.90", "currency": "EUR"},
        "placed_at": "2026-11-25T10:00:00.123Z", "moved_at": "2026-11-25T10:00:01Z", "unmoved_s": 310,
        "deadline_at": "2026-11-25T10:15:00Z", "waits_for": "gateway",
        "attempt": {"number": 1, "kind": "CHARGE", "state": "UNKNOWN", "tries": 4, "giving_up": null, "due_at": "2026-11-25T10:06:00Z"},
    })
}

#[test]
fn stuck_sagas_are_a_table_for_people_and_json_for_programs() {
    let region = Region::start();
    region.will_answer("GET /v1/admin/sagas", 200, json!({"items": [saga()], "page": {"next_cursor": null}}));
    let table = region.run(&["saga", "list", "--stuck", "--older", "5m"]);
    assert_eq!(
        (table.code, table.out.as_str()),
        (
            0,
            "ORDER                                 STATUS           WAITS FOR  ATTEMPT         TRIES  UNMOVED  TOTAL\n\
             0c3c6a9e-5f0e-5a53-9b0a-1f5b9f3c2d11  PAYMENT_PENDING  gateway    charge UNKNOWN  4      5m10s    49.90 EUR\n"
        ),
        "{}",
        table.err
    );
    let program = region.run(&["-o", "json", "saga", "list", "--status", "created"]);
    let items: Value = serde_json::from_str(&program.out).unwrap();
    assert_eq!(items["items"][0]["order_id"], ORDER);
    let asked = region.asked();
    assert_eq!(asked[0].line, "GET /v1/admin/sagas?stuck=true&older_s=300&limit=50");
    assert_eq!(asked[1].line, "GET /v1/admin/sagas?status=CREATED&limit=50");
    assert_eq!(asked[0].token, "Bearer token-1");
}

#[test]
fn a_list_goes_over_pages_until_it_has_enough() {
    let region = Region::start();
    let page = |next: Value| json!({"items": vec![saga(); 100], "page": {"next_cursor": next}});
    region.will_answer("GET /v1/admin/sagas", 200, page(json!("c1")));
    region.will_answer("GET /v1/admin/sagas", 200, page(json!("c2")));
    let listed = region.run(&["-o", "json", "saga", "list", "--limit", "150"]);
    let items: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(items["items"].as_array().map(Vec::len), Some(150));
    let lines: Vec<_> = region.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, ["GET /v1/admin/sagas?limit=100", "GET /v1/admin/sagas?limit=50&cursor=c1"]);
}

#[test]
fn a_saga_is_shown_whole_and_what_could_move_the_cursor_is_not() {
    let region = Region::start();
    let mut file = saga();
    for (name, value) in [
        ("lines", json!([{"sku": "LAMP-1", "quantity": 1, "unit_price_minor": 4990}])),
        ("history", json!([{"version": 1, "status": "CREATED", "reason": null, "at": "2026-11-25T10:00:00Z"}])),
        (
            "parked",
            json!([{"parked_id": 3, "topic": "t", "reason": "bad\u{1b}[2J", "parked_at": "2026-11-25T10:00:00Z", "redriven_at": null}]),
        ),
        (
            "actions",
            json!([{"at": "2026-11-25T10:00:00Z", "actor": "a", "action": "saga.retry", "reason": "r", "outcome": "o"}]),
        ),
    ] {
        file[name] = value;
    }
    region.will_answer(&format!("GET /v1/admin/sagas/{ORDER}"), 200, file);
    let shown = region.run(&["saga", "show", ORDER]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    for part in ["waits for gateway, unmoved 5m10s", "LAMP-1", "CREATED", "saga.retry", "2026-11-25T10:00:00Z"] {
        assert!(shown.out.contains(part), "{part} is missing in\n{}", shown.out);
    }
    assert!(!shown.out.contains('\u{1b}'), "{:?}", shown.out);
}

#[test]
fn what_changes_something_says_why() {
    let region = Region::start();
    let retry = format!("POST /v1/admin/sagas/{ORDER}/retry");
    region.will_answer(&retry, 200, json!({"did": "made_due", "detail": "attempt 1 is due now"}));
    let retried = region.run(&["saga", "retry", ORDER, "--reason", "gateway is back"]);
    assert_eq!((retried.code, retried.out.as_str()), (0, "made due: attempt 1 is due now\n"));
    assert_eq!(region.asked()[0].body, json!({"reason": "gateway is back"}));

    let bare = region.run(&["saga", "compensate", ORDER]);
    assert_eq!(bare.code, 2, "no reason, no compensation: {}", bare.err);
    assert!(bare.err.contains("--reason"), "{}", bare.err);
    assert_eq!(region.asked().len(), 1, "nothing was asked for");
    let compensate = format!("POST /v1/admin/sagas/{ORDER}/compensate");
    region.will_answer(
        &compensate,
        409,
        problem("state-conflict", "the order is completed; its money can only be refunded; nothing was changed", 409),
    );
    let refused = region.run(&["saga", "compensate", ORDER, "--reason", "shopper called"]);
    assert_eq!((refused.code, refused.out.as_str()), (5, ""));
    for part in ["can only be refunded", "state-conflict", "trace 4bf92f35", "what to do:"] {
        assert!(refused.err.contains(part), "{part} is missing in\n{}", refused.err);
    }
}

#[test]
fn exit_codes_tell_scripts_what_happened() {
    let region = Region::start();
    let path = "GET /v1/admin/reconciliation";
    for (status, code, expected) in [
        (401, "unauthenticated", 3),
        (403, "forbidden", 3),
        (421, "residency-mismatch", 3),
        (404, "not-found", 4),
        (409, "state-conflict", 5),
        (422, "invalid-field", 5),
        (429, "too-many-requests", 6),
        (503, "dependency-down", 6),
        (500, "internal", 1),
    ] {
        region.answers(path, status, problem(code, "why", status));
        let ended = region.run(&["-o", "json", "reconcile", "report"]);
        let told: Value = serde_json::from_str(&ended.err).unwrap();
        assert_eq!((ended.code, &told["code"], &told["exit_code"]), (expected, &json!(code), &json!(expected)));
    }
    let nobody = region.run_with(&["--url", "http://127.0.0.1:1", "saga", "list"], &[("SHOPSPHERE_TOKEN", "t")]);
    assert_eq!(nobody.code, 6);
    assert!(nobody.err.contains("cannot be reached"), "{}", nobody.err);
    let stranger = region.run_with(&["saga", "list"], &[]);
    assert_eq!(stranger.code, 3);
    assert!(stranger.err.contains("not logged in") && stranger.err.contains("login"), "{}", stranger.err);
    assert_eq!(region.run(&["saga", "list", "--older", "soon"]).code, 2);
}

#[test]
fn a_login_is_kept_for_its_owner_alone_and_renewed() {
    let region = Region::start();
    let pair = |access: &str, expires_in: i64| json!({"access_token": access, "expires_in": expires_in, "refresh_token": "r1"});
    region.will_answer("POST /v1/sessions", 200, pair("short", 10));
    region.will_answer("POST /v1/sessions/refresh", 200, pair("fresh", 300));
    region.will_answer("GET /v1/admin/sagas", 200, json!({"items": [], "page": {"next_cursor": null}}));
    let login =
        region.run_with(&["login", "--email", "staff@shopsphere.example"], &[("SHOPSPHERE_PASSWORD", "secret pass")]);
    assert_eq!(login.code, 0, "{}", login.err);
    assert!(!login.out.contains("short") && !login.out.contains("staff@"), "{}", login.out);
    assert_eq!(region.asked()[0].body["password"], "secret pass");
    let mode = std::fs::metadata(region.home().join("sessions.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let listed = region.run_with(&["saga", "list"], &[]);
    assert_eq!((listed.code, listed.out.as_str()), (0, "no sagas\n"), "{}", listed.err);
    region.run_with(&["saga", "list"], &[]);
    let lines: Vec<_> = region.asked().iter().map(|asked| format!("{} {}", asked.line, asked.token)).collect();
    assert_eq!(
        lines[1..],
        [
            "POST /v1/sessions/refresh ",
            "GET /v1/admin/sagas?limit=50 Bearer fresh",
            "GET /v1/admin/sagas?limit=50 Bearer fresh"
        ]
    );
}

#[test]
fn parked_messages_of_all_services_are_one_list_even_when_one_is_away() {
    let region = Region::start();
    let parked = json!({
        "parked_id": 7, "consumer": "order-payment", "topic": "xx.stock.reserved.v1", "key": ORDER, "reason": "state-conflict: no",
        "parked_at": "2026-11-25T10:00:00Z", "first_of_its_queue": true,
    });
    let list = |items: Value| json!({"items": items, "page": {"next_cursor": null}});
    region.will_answer("GET /v1/admin/parked-messages/user", 200, list(json!([])));
    region.will_answer(
        "GET /v1/admin/parked-messages/catalog",
        503,
        problem("dependency-down", "the service is not ready", 503),
    );
    region.will_answer("GET /v1/admin/parked-messages/order-payment", 200, list(json!([parked])));
    let listed = region.run(&["dlq", "list"]);
    assert_eq!(listed.code, 6, "{}", listed.out);
    assert!(listed.out.contains("order-payment  7   xx.stock.reserved.v1"), "{}", listed.out);
    assert!(listed.err.contains("the service is not ready"), "{}", listed.err);
    let one = region.run(&["dlq", "list", "--service", "user", "--key", "a b"]);
    assert_eq!((one.code, one.out.as_str()), (0, "nothing is parked\n"));
    assert_eq!(region.asked().last().unwrap().line, "GET /v1/admin/parked-messages/user?key=a%20b&limit=50");
}

#[test]
fn a_redrive_goes_on_while_it_helps_and_tells_what_still_refuses() {
    let region = Region::start();
    let line = "POST /v1/admin/parked-messages/catalog/redrive";
    let done = |applied: u64, waiting: u64, stopped: Value| json!({"applied": applied, "waiting": waiting, "stopped": stopped});
    region.will_answer(line, 200, done(200, 150, json!([])));
    region.will_answer(line, 200, done(150, 0, json!([])));
    region.will_answer(line, 200, done(0, 2, json!([{"parked_id": 9, "reason": "internal: no"}])));
    let all = region.run(&["dlq", "redrive", "catalog", "--all", "--reason", "deployed"]);
    assert_eq!((all.code, all.out.as_str()), (0, "350 applied, 0 still waiting\n"), "{}", all.err);
    assert_eq!(region.asked()[0].body, json!({"all": true, "reason": "deployed"}));
    let key = region.run(&["dlq", "redrive", "catalog", "--key", "o1", "--reason", "again"]);
    assert_eq!((key.code, key.out.as_str()), (7, "0 applied, 2 still waiting\n  9 still refuses: internal: no\n"));
    for wrong in [
        vec!["dlq", "redrive", "catalog", "--reason", "which?"],
        vec!["dlq", "redrive", "catalog", "7", "--all", "--reason", "both"],
        vec!["dlq", "redrive", "catalog", "--all"],
    ] {
        assert_eq!(region.run(&wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn the_report_adds_up_and_a_check_fails_when_something_is_open() {
    let region = Region::start();
    let clean = json!({"counts": [], "findings": [], "days": [{
        "day": "2026-11-24", "currency": "EUR", "orders_minor": 9980, "captured_minor": 9980, "refunded_minor": 0,
        "gateway_minor": 9980, "difference_minor": 0, "looked_at": "2026-11-25T10:00:00Z"}]});
    region.will_answer("GET /v1/admin/reconciliation", 200, clean);
    let open = json!({"counts": [{"kind": "STATE_DIFFERS", "open": 1, "acknowledged": 1, "oldest_s": 7200}], "days": [],
        "findings": [{"kind": "STATE_DIFFERS", "reference": "pi_1", "state": "OPEN", "age_s": 7200, "order_id": ORDER, "detail": "charged there"}]});
    region.will_answer("GET /v1/admin/reconciliation", 200, open);
    let fine = region.run(&["reconcile", "report", "--check"]);
    assert_eq!(fine.code, 0, "{}", fine.err);
    assert!(fine.out.contains("agree") && fine.out.contains("2026-11-24"), "{}", fine.out);
    let found = region.run(&["reconcile", "report", "--check"]);
    assert_eq!(found.code, 7, "{}", found.out);
    assert!(found.out.contains("2h") && found.err.contains("2 findings"), "{}{}", found.out, found.err);
    let json = region.run(&["reconcile", "report", "--json"]);
    assert_eq!(json.code, 0, "without --check a report is a report");
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap()["counts"][0]["kind"], "STATE_DIFFERS");

    let line = "POST /v1/admin/reconciliation/findings/STATE_DIFFERS/pi_1%2Fx/acknowledge";
    region.will_answer(line, 200, json!({"state": "ACKNOWLEDGED"}));
    let owned = region.run(&["reconcile", "ack", "state_differs", "pi_1/x", "--reason", "mine"]);
    assert_eq!((owned.code, owned.out.as_str()), (0, "state_differs pi_1/x is ACKNOWLEDGED\n"), "{}", owned.err);
}

#[test]
fn an_experiment_is_shown_with_its_arms_intervals_and_guards() {
    let region = Region::start();
    let arm = |name: &str, conversions: u32| {
        json!({"arm": name, "share": 5000, "persons": 50_000, "conversions": conversions, "orders": conversions,
            "revenue_minor": 25_000_000, "degraded": 3, "withdrew": 2})
    };
    let shown = json!({
        "name": "calm", "change": "popular", "currency": "EUR", "verdict": "harmful", "harmed": "withdrawals",
        "dealt_as_set": true, "arms": [arm("control", 5_000), arm("treatment", 5_600)],
        "conversion_difference": {"low": 55.2, "high": 184.8}, "revenue_difference_minor": null,
        "guards": [{"name": "withdrawals", "difference": {"low": 60.0, "high": 80.5}, "tolerated": 50.0}],
    });
    region.will_answer("GET /v1/admin/experiments/calm%2Fx", 200, shown.clone());
    let table = region.run(&["experiment", "show", "calm/x"]);
    assert_eq!(table.code, 0, "{}", table.err);
    for part in [
        "calm (popular): harmful (withdrawals); people are dealt out as set",
        "treatment  5000   50000    5600",
        "55.2 to 184.8",
        "too little to say",
        "60.0 to 80.5",
    ] {
        assert!(table.out.contains(part), "{part} is missing in\n{}", table.out);
    }
    let program = region.run(&["-o", "json", "experiment", "show", "calm/x"]);
    assert_eq!(serde_json::from_str::<Value>(&program.out).unwrap(), shown);
}

#[test]
fn completions_and_help_need_no_region() {
    let region = Region::start();
    for shell in ["bash", "zsh", "fish"] {
        let printed = region.run_with(&["completions", shell], &[]);
        assert_eq!(printed.code, 0, "{}", printed.err);
        assert!(printed.out.contains("reconcile"), "{shell}");
    }
    let help = region.run_with(&["--help"], &[]);
    assert!(help.out.contains("Exit codes:"), "{}", help.out);
    assert_eq!(region.asked().len(), 0);
}
