//! What was answered is on disk: the process may die at any moment.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use payment_simulator::{Settings, start};

use crate::support::{Shop, quick, state_file};

/// The real process on a free port, killed when dropped.
struct Process {
    child: Child,
    base_url: String,
}

impl Process {
    fn start(state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_payment-simulator"))
            .args(["--port", "0", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.next().expect("a first line of log").unwrap();
        let line: serde_json::Value = serde_json::from_str(&ready).unwrap();
        let base_url = line["url"].as_str().unwrap_or_else(|| panic!("no url in {ready}")).to_owned();
        Self { child, base_url }
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_has_forgotten_nothing_it_answered() {
    let state = state_file("killed");
    let mut answered = Vec::new();
    for round in 0..3 {
        let process = Process::start(&state);
        let shop = Shop::at(&process.base_url);
        let killer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            process.kill();
        });
        for number in 0..10_000 {
            let order = format!("o-{round}-{number}");
            let form = format!("amount=4990&currency=eur&payment_method=tok_ok&metadata[order_id]={order}");
            let Ok(created) = shop.try_post("/v1/payment_intents", Some(&order), &form).await else { break };
            let intent = created.text("/id").to_owned();
            let confirm = format!("/v1/payment_intents/{intent}/confirm");
            let Ok(confirmed) = shop.try_post(&confirm, Some(&format!("c-{order}")), "").await else { break };
            assert_eq!(confirmed.text("/status"), "succeeded");
            answered.push((order, intent, confirmed.body));
        }
        killer.await.unwrap();
    }
    assert!(answered.len() > 10, "only {} charges before the kills", answered.len());

    let process = Process::start(&state);
    let shop = Shop::at(&process.base_url);
    for (order, intent, body) in &answered {
        assert_eq!(shop.movements(order).await, ["capture"], "{order}");
        let again = shop.post(&format!("/v1/payment_intents/{intent}/confirm"), Some(&format!("c-{order}")), "").await;
        assert!(again.replayed() && again.body == *body);
    }
    assert_eq!(shop.get("/__books/summary").await.number("/orders_charged_twice"), 0);
}

#[tokio::test]
async fn a_reopened_file_goes_on_with_its_keys_faults_and_settlements() {
    let state = state_file("reopened");
    let running = start(quick(Settings::new(&state))).await.unwrap();
    let shop = Shop::at(&running.base_url);
    let reset = shop.authorise("o-1", "tok_reset").await;
    assert!(shop.try_capture("o-1", &reset).await.is_err());
    let later = shop.authorise("o-2", "tok_webhook_only").await;
    assert_eq!(shop.capture("o-2", &later).await.text("/status"), "processing");
    running.stop().await;

    let running = start(quick(Settings::new(&state))).await.unwrap();
    let shop = Shop::at(&running.base_url);
    assert!(shop.capture("o-2", &later).await.replayed());
    assert_eq!(shop.capture("o-1", &reset).await.text("/status"), "succeeded");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(shop.status(&later).await, "succeeded");
    running.stop().await;
}

#[tokio::test]
async fn a_state_file_in_use_is_refused_with_its_name() {
    let state = state_file("in-use");
    let _running = start(quick(Settings::new(&state))).await.unwrap();
    let Err(error) = start(quick(Settings::new(&state))).await else { panic!("opened twice") };
    assert!(error.to_string().contains("in-use"), "{error}");
}
