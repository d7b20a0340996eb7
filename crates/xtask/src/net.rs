//! Is a server ready? One small question per wire protocol, spoken by hand over plain TCP: this crate is compiled before anything
//! starts, so it must not pull in five client libraries to say hello.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A healthy local server answers at once; a starting one may accept and stay silent, so every question has this limit.
const PATIENCE: Duration = Duration::from_secs(3);
/// No health answer is longer; what comes after is not read.
const MAX_ANSWER: u64 = 256 * 1024;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&local(port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Does anything accept connections on this port?
pub fn tcp_open(port: u16) -> bool {
    TcpStream::connect_timeout(&local(port), Duration::from_millis(300)).is_ok()
}

/// Could we listen on this port now? SO_REUSEADDR is set by the standard library, so closed connections do not count.
pub fn tcp_free(port: u16) -> bool {
    TcpListener::bind(local(port)).is_ok()
}

/// An answer to `http_get`.
#[derive(Debug)]
pub struct HttpAnswer {
    pub status: u16,
    pub body: String,
}

/// A plain GET over HTTP/1.0, so that the end of the answer is the end of the connection.
///
/// # Errors
/// When nobody answers in time or the answer is not HTTP.
pub fn http_get(port: u16, path: &str) -> Result<HttpAnswer> {
    let mut stream = connect(port)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n")?;
    answer(stream)
}

/// POST of JSON.
///
/// # Errors
/// As [`http_get`].
pub fn http_post_json(port: u16, path: &str, body: &str) -> Result<HttpAnswer> {
    let mut stream = connect(port)?;
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    answer(stream)
}

fn answer(stream: TcpStream) -> Result<HttpAnswer> {
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end of headers")?;
    let status =
        head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).context("the answer has no status")?;
    Ok(HttpAnswer { status, body: body.to_owned() })
}

/// GET must answer 200.
///
/// # Errors
/// When it does not; the text names the status and the first words of the body.
pub fn http_ok(port: u16, path: &str) -> Result<()> {
    let answer = http_get(port, path)?;
    if answer.status != 200 {
        let start: String = answer.body.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
        bail!("{path} answers {} {start}", answer.status);
    }
    Ok(())
}

/// Redis says PONG (and not LOADING).
///
/// # Errors
/// When it does not.
pub fn redis_ping(port: u16) -> Result<()> {
    let mut stream = connect(port)?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0_u8; 7];
    stream.read_exact(&mut answer)?;
    if &answer != b"+PONG\r\n" {
        bail!("redis answers {}", String::from_utf8_lossy(&answer).trim());
    }
    Ok(())
}

/// Asks Redis one thing and gives the text of its answer: a status, a number, or a bulk of text.
///
/// # Errors
/// When it does not answer, with an error, or with something else.
pub fn redis_say(port: u16, words: &[&str]) -> Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let mut stream = connect(port)?;
    stream.write_all(request.as_bytes())?;
    read_redis(&mut BufReader::new(stream.take(MAX_ANSWER)))
}

fn read_redis(answer: &mut impl std::io::BufRead) -> Result<String> {
    let mut first = String::new();
    answer.read_line(&mut first)?;
    let line = first.trim_end();
    match line.split_at_checked(1) {
        Some(("+" | ":", text)) => Ok(text.to_owned()),
        Some(("$", length)) => {
            let mut text = vec![0; length.parse().context("redis says no length")?];
            answer.read_exact(&mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        _ => bail!("redis answers {line}"),
    }
}

/// Kafka answers ApiVersions (key 18, version 0): the broker takes requests only after its start is complete.
///
/// # Errors
/// When it does not answer, or with an error code.
pub fn kafka_versions(port: u16) -> Result<()> {
    let mut stream = connect(port)?;
    let client = b"dev";
    let mut request = Vec::new();
    request.extend_from_slice(&18_i16.to_be_bytes());
    request.extend_from_slice(&0_i16.to_be_bytes());
    request.extend_from_slice(&7_i32.to_be_bytes());
    request.extend_from_slice(&3_i16.to_be_bytes());
    request.extend_from_slice(client);
    let length = i32::try_from(request.len()).context("request length")?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&request)?;
    // length, correlation id, error code
    let mut answer = [0_u8; 10];
    stream.read_exact(&mut answer)?;
    if answer[4..8] != 7_i32.to_be_bytes() || answer[8..10] != [0, 0] {
        bail!("kafka answers with an error");
    }
    Ok(())
}

/// A MongoDB-wire server answers `{ping: 1}` on database `admin` (OP_MSG).
///
/// # Errors
/// When it does not answer.
pub fn mongo_ping(port: u16) -> Result<()> {
    let mut document = vec![0_u8; 4];
    document.extend_from_slice(b"\x10ping\0\x01\0\0\0");
    document.extend_from_slice(b"\x02$db\0\x06\0\0\0admin\0\0");
    let length = i32::try_from(document.len()).context("document length")?;
    document[..4].copy_from_slice(&length.to_le_bytes());
    let total = 16 + 4 + 1 + length;
    let mut message = Vec::new();
    // header: length, request id, response to, opcode 2013; then flags and one section of kind 0
    for word in [total, 1, 0, 2013, 0] {
        message.extend_from_slice(&word.to_le_bytes());
    }
    message.push(0);
    message.extend_from_slice(&document);
    let mut stream = connect(port)?;
    stream.write_all(&message)?;
    let mut header = [0_u8; 16];
    stream.read_exact(&mut header)?;
    if header[12..16] != 2013_i32.to_le_bytes() {
        bail!("the answer is no OP_MSG");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_redis_are_read_and_its_errors_are_errors() {
        let read = |text: &str| read_redis(&mut text.as_bytes()).ok();
        assert_eq!(read("+OK\r\n").as_deref(), Some("OK"));
        assert_eq!(read(":12\r\n").as_deref(), Some("12"));
        assert_eq!(read("$7\r\na:1\r\nb\r\n").as_deref(), Some("a:1\r\nb\r"));
        for wrong in ["", "-ERR unknown\r\n", "$-1\r\n", "$9\r\nshort\r\n", "*1\r\n"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
