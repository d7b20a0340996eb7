//! Tasks, readiness, stopping: the process as an object, without a process.

use std::time::Duration;

use chassis::lifecycle::Ending;
use serde_json::Value;

use crate::support::{client, eventually, process, settings};

#[tokio::test]
async fn a_critical_task_that_ends_takes_the_process_with_it() {
    for (name, task) in [("ends", 0), ("fails", 1), ("panics", 2)] {
        let process = process(&settings(""));
        process.spawn(name, async move {
            match task {
                0 => Ok(()),
                1 => Err(anyhow::anyhow!("broker gone").context("relay")),
                _ => panic!("index out of range"),
            }
        });
        let ending = tokio::time::timeout(Duration::from_secs(3), process.run(async { Ok(()) })).await.unwrap();
        let Ending::Failed(reason) = ending else { panic!("{name}: {ending:?}") };
        let expected =
            ["task ends: ended", "task fails: relay: broker gone", "task panics: panic: index out of range"][task];
        assert_eq!(reason, expected);
    }
}

#[tokio::test]
async fn a_task_that_ends_after_the_shutdown_is_a_good_one() {
    let process = process(&settings(""));
    let shutdown = process.shutdown();
    process.spawn("relay", async move { shutdown.cancelled().await });
    process.stop();
    assert_eq!(process.run(async { Ok(()) }).await, Ending::Done);
}

#[tokio::test]
async fn work_that_does_not_end_is_named_when_the_drain_time_is_over() {
    let process = process(&settings("[process]\ndrain_ms = 100\n"));
    process.spawn("stubborn", std::future::pending::<()>());
    process.stop();
    let Ending::Failed(reason) = process.run(async { Ok(()) }).await else { panic!("it must not wait for ever") };
    assert!(reason.contains("stubborn"), "{reason}");
}

#[tokio::test]
async fn a_role_that_cannot_start_fails_with_its_reason() {
    let process = process(&settings(""));
    let ending = process.run(async { Err(anyhow::anyhow!("refused").context("database.url")) }).await;
    assert_eq!(ending, Ending::Failed("database.url: refused".to_owned()));
}

#[tokio::test]
async fn a_panic_in_one_piece_of_work_is_not_the_end() {
    let process = process(&settings(""));
    process.spawn_work(async { panic!("one connection") });
    tokio::time::sleep(Duration::from_millis(50)).await;
    process.stop();
    assert_eq!(process.run(async { Ok(()) }).await, Ending::Done);
}

#[tokio::test]
async fn the_admin_port_tells_readiness_site_health_and_liveness_apart() {
    let process = process(&settings("[process]\ngrace_ms = 400\n"));
    let base = format!("http://{}", chassis::admin::serve(&process).await.unwrap());
    let ask = async |path: &str| {
        let response = client().get(format!("{base}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(ask("/readyz").await.0, 503, "not ready before it is wired up");
    assert_eq!(ask("/livez").await.0, 200);

    let running = process.clone();
    let ending = tokio::spawn(async move { running.run(async { Ok(()) }).await });
    eventually("ready", async || ask("/readyz").await.0 == 200).await;
    assert_eq!(ask("/healthz/site").await.0, 200);

    process.writable().add("fence", || async { Err::<(), _>("epoch 2 holds this region") });
    assert_eq!((ask("/readyz").await.0, ask("/healthz/site").await.0), (200, 503));

    process.readiness().add("postgres", || async { Err::<(), _>("connection refused") });
    let (status, body) = ask("/readyz").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["checks"][0]["name"], &body["checks"][0]["reason"]),
        (503, &"postgres".into(), &"connection refused".into())
    );
    assert_eq!(ask("/livez").await.0, 200, "liveness looks at no dependency");
    assert!(ask("/metrics").await.1.contains("process_resident_memory_bytes"));
    assert!(ask("/version").await.1.contains("\"role\":\"serve\""));

    process.stop();
    let (status, body) = ask("/readyz").await;
    assert!(status == 503 && body.contains("stopping"), "it answers during the grace time: {status} {body}");
    assert_eq!(ending.await.unwrap(), Ending::Done);
}

#[tokio::test]
async fn at_a_standby_what_only_a_led_region_has_holds_nothing_back_and_still_decides_who_is_the_active_site() {
    for (file, ready) in [("", 503), ("[site]\nstands_by = true\n", 200)] {
        let process = process(&settings(file));
        let base = format!("http://{}", chassis::admin::serve(&process).await.unwrap());
        let ask = async |path: &str| client().get(format!("{base}{path}")).send().await.unwrap().status().as_u16();
        let running = process.clone();
        let ending = tokio::spawn(async move { running.run(async { Ok(()) }).await });
        eventually("ready", async || ask("/readyz").await == 200).await;
        process.led().add("jwks", || async { Err::<(), _>("the issuer is not there before a promotion") });
        assert_eq!((ask("/readyz").await, ask("/healthz/site").await), (ready, 503), "{file:?}");
        process.stop();
        assert_eq!(ending.await.unwrap(), Ending::Done);
    }
}
