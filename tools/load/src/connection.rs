//! One kept-alive HTTP/1.1 connection, as thin as it can be: on two cores the generator takes its time from whom it measures.

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Answers of ours have some kilobytes; more is a mistake.
const MOST_BYTES: usize = 1 << 20;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    /// Sends a rendered request and gives the status of its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
            if let Some(status) = whole(&self.buffer)? {
                return Ok(status);
            }
        }
    }
}

/// A whole answer, taken apart.
pub struct Answer {
    pub status: u16,
    /// Names of its headers, in order.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Connection {
    /// As [`Self::exchange`], and gives the bytes of the whole answer. Where `known` says how many these are, nothing is looked at but the
    /// status: that many bytes are the answer.
    pub async fn whole_answer(&mut self, request: &[u8], known: usize) -> Result<(u16, usize)> {
        if known == 0 {
            let status = self.exchange(request).await?;
            return Ok((status, self.buffer.len()));
        }
        self.stream.write_all(request).await?;
        self.buffer.clear();
        while self.buffer.len() < known {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
        }
        if self.buffer.len() != known || !self.buffer.starts_with(b"HTTP/1.1 200 ") {
            bail!("an answer of another length or status");
        }
        Ok((200, known))
    }

    /// Sends a rendered request and takes its answer apart.
    pub async fn answer(&mut self, request: &[u8]) -> Result<Answer> {
        let status = self.exchange(request).await?;
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n").context("a head")?;
        let head = std::str::from_utf8(&self.buffer[..end]).context("the head of an answer is not text")?;
        let names = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let headers = names.map(|(name, _)| name.to_ascii_lowercase()).collect();
        Ok(Answer { status, headers, body: self.buffer[end + 4..].to_vec() })
    }
}

/// The status, once head and body are there.
fn whole(bytes: &[u8]) -> Result<Option<u16>> {
    if bytes.len() > MOST_BYTES {
        bail!("an answer of more than {MOST_BYTES} bytes");
    }
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("the head of an answer is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().context("an answer's length")?);
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            // Chunks end with an empty one; nobody here sends trailers.
            return Ok(bytes.ends_with(b"\r\n0\r\n\r\n").then_some(status));
        }
    }
    let length = length.context("an answer without a length")?;
    Ok((bytes.len() >= end + 4 + length).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_when_all_of_it_is_there() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..answer.len() {
            assert_eq!(whole(&answer[..cut]).unwrap(), None, "cut at {cut}");
        }
        assert_eq!(whole(answer).unwrap(), Some(201));
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(whole(&chunks[..chunks.len() - 1]).unwrap(), None);
        assert_eq!(whole(chunks).unwrap(), Some(200));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "a length is needed to know the end");
    }
}
