//! Kill -9 of any one of our processes in the middle of the demo: after a restart the closing check still balances to 0.00.
//!
//! The demo is the program that people run; its own exit code is the verdict, its check reads the databases and the
//! gateway's books and asks no service.

use std::process::Stdio;
use std::time::Duration;

use testkit::servers;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use xtask::stack::Stack;

/// Every process of ours whose death a shopper could feel.
const PROCESSES: [&str; 9] = [
    "user-serve",
    "user-work",
    "catalog-serve",
    "catalog-work",
    "order-payment-serve",
    "order-payment-work",
    "personalization-serve",
    "personalization-work",
    "payment-simulator",
];

#[tokio::test]
async fn a_killed_process_changes_no_total() {
    let stack = Stack::from_env().expect("the test stack is described by the environment");
    for (n, name) in PROCESSES.into_iter().enumerate() {
        demo_survives(&stack, name, n).await;
    }
}

async fn demo_survives(stack: &Stack, name: &str, n: usize) {
    let before = stack.running(name).unwrap_or_else(|| panic!("{name} runs before it is killed")).pid;
    let program = stack.layout.binaries(stack.release).join("demo");
    let mut demo = Command::new(program)
        .args(["run", "--orders", "60", "--concurrency", "6", "--declined-percent", "10"])
        .args(["--seed", &format!("{}", 100 + n), "--offset", &servers().ports.offset().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the demo was built");
    let mut lines = BufReader::new(demo.stdout.take().expect("its output is piped")).lines();
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            all.push(line);
        }
        all
    });

    // In the middle: once orders are being placed and some are still open.
    let open_orders = fleet::operator::database("order_payment");
    testkit::wait::until("orders under way", Duration::from_secs(90), async || {
        let open: i64 =
            sqlx::query_scalar("SELECT count(*) FROM orders WHERE status IN ('CREATED', 'PAYMENT_PENDING')")
                .fetch_one(&open_orders)
                .await
                .expect("orders can be counted");
        if open >= 3 { Ok(()) } else { Err(open) }
    })
    .await;
    assert!(stack.kill(name), "{name} was running");
    let stack_again = stack.clone();
    let restarted = name.to_owned();
    tokio::task::spawn_blocking(move || stack_again.start(&restarted))
        .await
        .expect("starting does not panic")
        .unwrap_or_else(|error| panic!("{name} starts again: {error:#}"));
    assert_ne!(stack.running(name).map(|record| record.pid), Some(before), "{name} was really replaced");

    let status = tokio::time::timeout(Duration::from_secs(400), demo.wait())
        .await
        .expect("the demo ends")
        .expect("its end can be awaited");
    let output = reading.await.expect("reading does not panic").join("\n");
    assert!(status.success(), "the demo with {name} killed:\n{output}");
    assert!(output.contains("0.00"), "the closing check was printed:\n{output}");
}
