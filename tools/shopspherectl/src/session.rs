//! Whose token is sent: the environment's, a file's, or that of the last login, which is renewed before it ends. Tokens live
//! five minutes; a session is renewed for as long as the region allows.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::Utc;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Api;
use crate::command::Login;
use crate::failure::Failure;

/// A token with less left is renewed first: longer than a request takes.
const RENEW_BEFORE_S: i64 = 30;
/// A password or token file is a line.
const MOST_BYTES: u64 = 64 * 1024;

/// One login.
#[derive(Clone, Deserialize, Serialize)]
struct Session {
    access_token: String,
    /// Unix seconds.
    access_until: i64,
    refresh_token: String,
}

/// Sessions by base URL.
type Sessions = BTreeMap<String, Session>;

pub async fn log_in(api: &Api, login: Login) -> Result<(), Failure> {
    let password = match &login.password_file {
        Some(file) => read_line(file)?,
        None => std::env::var("SHOPSPHERE_PASSWORD")
            .map_err(|_| Failure::Here("no password: set SHOPSPHERE_PASSWORD or give --password-file".to_owned()))?,
    };
    let body = json!({ "email": login.email, "password": password });
    let answer = api.send(Method::POST, "/v1/sessions", Some(&body), None).await?;
    keep(&api.base, session(&answer)?)?;
    println!("logged in at {}", api.base);
    Ok(())
}

/// The token to send.
pub async fn token(api: &Api, file: Option<&Path>) -> Result<String, Failure> {
    if let Some(file) = file {
        return read_line(file);
    }
    if let Some(token) = std::env::var("SHOPSPHERE_TOKEN").ok().filter(|token| !token.is_empty()) {
        return Ok(token);
    }
    let Some(known) = load()?.remove(&api.base) else {
        return Err(Failure::NotLoggedIn(format!("you are not logged in at {}", api.base)));
    };
    if known.access_until - Utc::now().timestamp() > RENEW_BEFORE_S {
        return Ok(known.access_token);
    }
    let body = json!({ "refresh_token": known.refresh_token });
    match api.send(Method::POST, "/v1/sessions/refresh", Some(&body), None).await {
        Ok(answer) => {
            let fresh = session(&answer)?;
            keep(&api.base, fresh.clone())?;
            Ok(fresh.access_token)
        }
        Err(Failure::Refused(refusal)) if refusal.status < 500 => {
            Err(Failure::NotLoggedIn(format!("your session at {} has ended", api.base)))
        }
        Err(failure) => Err(failure),
    }
}

fn session(answer: &Value) -> Result<Session, Failure> {
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    match (text("access_token"), answer["expires_in"].as_i64(), text("refresh_token")) {
        (Some(access_token), Some(expires_in), Some(refresh_token)) => {
            Ok(Session { access_token, access_until: Utc::now().timestamp() + expires_in, refresh_token })
        }
        _ => Err(Failure::Here("the region's answer to the login has no tokens".to_owned())),
    }
}

/// First line of a file, `-` for standard input.
fn read_line(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let failed = |error: std::io::Error| Failure::Here(format!("{}: {error}", file.display()));
    if file.as_os_str() == "-" {
        std::io::stdin().take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    } else {
        fs::File::open(file).map_err(failed)?.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn folder() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("SHOPSPHERECTL_HOME")
        .or_else(|| set("XDG_CONFIG_HOME").map(|folder| folder.join("shopspherectl")))
        .or_else(|| set("HOME").map(|folder| folder.join(".config/shopspherectl")))
        .ok_or_else(|| Failure::Here("no place for the session: set SHOPSPHERECTL_HOME".to_owned()))
}

fn load() -> Result<Sessions, Failure> {
    match fs::read(folder()?.join("sessions.json")) {
        // A file that cannot be read is as good as none: the next login writes a new one.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Sessions::new()),
        Err(error) => Err(error.into()),
    }
}

/// Written beside and renamed, readable by its owner only from its first byte on.
fn keep(base: &str, session: Session) -> Result<(), Failure> {
    let folder = folder()?;
    fs::create_dir_all(&folder)?;
    let mut sessions = load()?;
    sessions.insert(base.to_owned(), session);
    let fresh = folder.join(format!(".sessions.{}.json", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(&sessions).map_err(|error| Failure::Here(error.to_string()))?)?;
    fs::rename(&fresh, folder.join("sessions.json"))?;
    Ok(())
}
