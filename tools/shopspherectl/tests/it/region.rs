//! A fake region: answers what the test told it to, and remembers what it was asked. And the program run against it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path with query.
    pub line: String,
    pub token: String,
    pub body: Value,
}

#[derive(Default)]
struct Shared {
    /// By method and path without query; the last answer of a list stays.
    answers: Mutex<HashMap<String, Vec<(u16, Value)>>>,
    asked: Mutex<Vec<Asked>>,
}

pub struct Region {
    shared: Arc<Shared>,
    url: String,
    home: PathBuf,
}

pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Region {
    pub fn start() -> Self {
        static HOMES: AtomicUsize = AtomicUsize::new(0);
        let shared = Arc::new(Shared::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        // Its thread ends with the test's process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        let name = format!("shopspherectl-{}-{}", std::process::id(), HOMES.fetch_add(1, Ordering::Relaxed));
        Self { shared, url, home: std::env::temp_dir().join(name) }
    }

    /// The next answer to `line` (method and path without query); the last one told is given again and again.
    pub fn will_answer(&self, line: &str, status: u16, body: Value) {
        self.shared.answers.lock().unwrap().entry(line.to_owned()).or_default().push((status, body));
    }

    /// From now on the one answer to `line`.
    pub fn answers(&self, line: &str, status: u16, body: Value) {
        self.shared.answers.lock().unwrap().insert(line.to_owned(), vec![(status, body)]);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub fn home(&self) -> &PathBuf {
        &self.home
    }

    /// Runs the program with a token in its environment.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[("SHOPSPHERE_TOKEN", "token-1")])
    }

    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_shopspherectl"))
            .args(arguments)
            .env_clear()
            .env("SHOPSPHERE_URL", &self.url)
            .env("SHOPSPHERECTL_HOME", &self.home)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    request: Request,
) -> (StatusCode, axum::Json<Value>) {
    let method = request.method().clone();
    let (path, full) = (request.uri().path().to_owned(), request.uri().to_string());
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1_000_000).await.unwrap();
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    shared.asked.lock().unwrap().push(Asked {
        line: format!("{method} {full}"),
        token,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let mut answers = shared.answers.lock().unwrap();
    let (status, body) = match answers.get_mut(&format!("{method} {path}")) {
        Some(list) if list.len() > 1 => list.remove(0),
        Some(list) => list[0].clone(),
        None => (404, problem("not-found", "there is nothing here for you", 404)),
    };
    (StatusCode::from_u16(status).unwrap(), axum::Json(body))
}

pub fn problem(code: &str, detail: &str, status: u16) -> Value {
    json!({ "title": "t", "code": code, "detail": detail, "status": status, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736" })
}
