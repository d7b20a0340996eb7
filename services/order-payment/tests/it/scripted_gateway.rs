//! A gateway that does one thing with every request: says it, late, drop by drop, without an end, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a server does with a connection once it has read the request.
#[derive(Clone)]
pub enum Script {
    Say(Vec<u8>),
    /// The same, after a while.
    Late(Duration, Vec<u8>),
    /// No answer; the connection is reset.
    Reset,
    /// One byte now and then.
    Drip(Vec<u8>),
    /// So many bytes of body.
    Flood(usize),
}

/// A server with one script. `asked` counts its requests.
pub async fn server(script: Script) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let script = script.clone();
            tokio::spawn(async move {
                // Requests of ours are smaller than this; whatever is left of one does not matter here.
                let mut request = vec![0; 16 * 1024];
                let _ = stream.read(&mut request).await;
                let _ = play(&mut stream, script).await;
            });
        }
    });
    (url, asked)
}

async fn play(stream: &mut tokio::net::TcpStream, script: Script) -> std::io::Result<()> {
    match script {
        Script::Say(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Script::Late(pause, bytes) => {
            tokio::time::sleep(pause).await;
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Script::Reset => stream.set_zero_linger(),
        Script::Drip(bytes) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        }
        Script::Flood(bytes) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let block = vec![b' '; 64 * 1024];
            for _ in 0..bytes / block.len() {
                stream.write_all(&block).await?;
            }
            Ok(())
        }
    }
}

pub fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body.as_bytes()].concat()
}

pub const JSON: &str = "content-type: application/json\r\n";
