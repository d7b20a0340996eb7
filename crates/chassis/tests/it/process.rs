//! A whole process: command line, configuration errors, signals, exit codes. Runs the example service.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client;

/// Cargo builds examples with the tests, beside them.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let example = tests.parent().unwrap().parent().unwrap().join("examples/echo");
    assert!(example.exists(), "`cargo test -p chassis` builds the example; `--test it` alone does not");
    example
}

fn echo(arguments: &[&str]) -> Command {
    let mut command = Command::new(example());
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error of a process that ends by itself, within ten seconds.
fn outcome(mut command: Command) -> (Option<i32>, String, String) {
    let mut process = Running { child: command.spawn().unwrap(), lines: None };
    let code = process.exit_code();
    let (mut out, mut error) = (String::new(), String::new());
    process.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    process.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    (code, out, error)
}

/// A started process; killed if the test fails.
struct Running {
    child: Child,
    /// Standard output, when it is read line by line.
    lines: Option<std::io::Lines<BufReader<std::process::ChildStdout>>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines: Some(lines) }
    }

    /// Reads log lines until one has this message; each line must be JSON.
    fn until(&mut self, message: &str) -> Value {
        for line in self.lines.as_mut().unwrap() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["message"] == message {
                return line;
            }
        }
        panic!("the process ended without saying {message:?}");
    }

    fn http_address(&mut self) -> String {
        loop {
            let line = self.until("listening");
            if line["port.name"] == "http" {
                return line["address"].as_str().unwrap().to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the process does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_configuration_that_is_not_understood_is_one_line_and_exit_code_2() {
    let file = std::env::temp_dir().join(format!("chassis-{}.toml", std::process::id()));
    std::fs::write(&file, "[http]\nprot = 8101\n").unwrap();
    let (code, out, error) = outcome(echo(&["serve", "--config", file.to_str().unwrap()]));
    assert_eq!((code, &*out), (Some(2), ""), "no port was opened and nothing was logged");
    assert_eq!(error, format!("echo: configuration: unknown key http.prot in {}\n", file.display()));
    std::fs::remove_file(&file).unwrap();

    let mut command = echo(&["serve"]);
    command.env("SHOPSPHERE__ECHO__SLOW_MS", "soon");
    let (code, _, error) = outcome(command);
    assert_eq!(code, Some(2));
    assert_eq!(
        error,
        "echo: configuration: echo.slow_ms in environment variable SHOPSPHERE__ECHO__SLOW_MS: expected integer, found another text\n"
    );

    let mut command = echo(&["serve"]);
    command.env("SHOPSPHERE__ECHO__GREETING", "");
    assert_eq!(outcome(command).2, "echo: configuration: echo.greeting: must not be empty without echo.token\n");
    assert_eq!(outcome(echo(&["dance"])).0, Some(2));
    assert!(outcome(echo(&["serve", "--config", "/nowhere.toml"])).2.contains("cannot read /nowhere.toml"));
}

#[test]
fn the_effective_configuration_can_be_printed_without_its_secrets() {
    let mut command = echo(&["serve", "--print-config"]);
    command.env("SHOPSPHERE__ECHO__TOKEN", "tok-123456").env("SHOPSPHERE__HTTP__PORT", "8199");
    let (code, out, _) = outcome(command);
    assert_eq!(code, Some(0));
    assert!(out.contains("token = \"***\"") && out.contains("port = 8199") && out.contains("max_in_flight"), "{out}");
    assert!(!out.contains("tok-123456"), "{out}");
}

#[test]
fn one_shot_roles_end_with_what_they_came_to() {
    assert_eq!(outcome(echo(&["migrate"])).0, Some(0));
    let (code, out, _) = outcome(echo(&["check"]));
    assert!(code == Some(1) && out.contains("the database does not answer"), "{code:?} {out}");
    let (code, out, _) = outcome(echo(&["redrive", "m-1", "m-2"]));
    assert!(code == Some(1) && out.contains("m-2"), "{code:?} {out}");
}

#[test]
fn a_dead_critical_task_ends_the_process_with_its_reason() {
    let mut process = Running::start(echo(&["work"]));
    let line = process.until("process failed");
    assert_eq!(line["reason"], "task relay: the broker said no");
    assert_eq!(line["service"], "echo");
    assert_eq!(process.exit_code(), Some(1));
}

#[tokio::test]
async fn a_signal_lets_a_slow_request_finish_and_a_second_one_does_not() {
    for (second_signal, code) in [(false, Some(0)), (true, Some(1))] {
        let mut command = echo(&["serve"]);
        command.env("SHOPSPHERE__PROCESS__GRACE_MS", "300");
        let mut process = Running::start(command);
        let address = process.http_address();
        let slow = tokio::spawn(client().get(format!("http://{address}/v1/slow")).send());
        tokio::time::sleep(Duration::from_millis(200)).await;
        process.signal("TERM");
        process.until("process stopping");
        let in_grace = client().get(format!("http://{address}/v1/greeting")).send().await;
        assert_eq!(in_grace.unwrap().text().await.unwrap(), "hello", "it goes on serving during the grace time");
        if second_signal {
            process.signal("INT");
        }
        let answer = slow.await.unwrap();
        assert_eq!(answer.is_ok(), !second_signal, "{answer:?}");
        assert_eq!(process.exit_code(), code);
    }
}

#[test]
fn a_collector_that_is_away_neither_stops_nor_holds_up_the_process() {
    let mut command = echo(&["serve"]);
    command.env("SHOPSPHERE__TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:9").env("SHOPSPHERE__PROCESS__GRACE_MS", "0");
    let mut process = Running::start(command);
    process.until("process started");
    std::thread::sleep(Duration::from_millis(700));
    let begun = Instant::now();
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_busy_port_is_one_clear_failure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut command = echo(&["serve"]);
    command.env("SHOPSPHERE__HTTP__PORT", port.to_string());
    let mut process = Running::start(command);
    let reason = process.until("process failed")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(&format!("cannot open the http port 127.0.0.1:{port}")), "{reason}");
    assert_eq!(process.exit_code(), Some(1));
    let mut rest = String::new();
    process.child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[tokio::test]
async fn a_request_is_one_log_line_without_what_the_client_wrote() {
    let mut process = Running::start(echo(&["serve"]));
    let address = process.http_address();
    let request = client()
        .get(format!("http://{address}/v1/greeting?email=ada@example.com"))
        .header("x-request-id", "request-0001")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    let unmatched = client().get(format!("http://{address}/ada@example.com")).send().await.unwrap();
    let problem: Value = unmatched.json().await.unwrap();
    let answered = process.until("request answered");
    assert_eq!(
        (&answered["http.route"], &answered["http.response.status_code"]),
        (&"/v1/greeting".into(), &200.into())
    );
    assert_eq!(
        (&answered["trace_id"], &answered["request.id"]),
        (&"4bf92f3577b34da6a3ce929d0e0e4736".into(), &"request-0001".into())
    );
    assert!(answered["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0));
    let refused = process.until("request answered");
    assert_eq!((&refused["http.route"], &refused["problem.code"]), (&"unmatched".into(), &"not-found".into()));
    assert_eq!(refused["trace_id"], problem["trace_id"], "the answer names the trace of its log line");
    assert!(!format!("{answered}{refused}").contains("ada@"), "{answered} {refused}");
}
