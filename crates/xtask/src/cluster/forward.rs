//! Passes connections on between this machine and the throw-away one: a socket in a folder that both see stands between two addresses
//! that only one of them has. Decided here: bytes are copied and not looked at, and nobody listens on anything but loopback here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Connections of one rule at once; each has two threads. Four services with pools of eight to sixteen connections need a tenth.
const MOST: usize = 1_000;

/// Who connects to us has been let in before we connect for it, so we have to try again where it would have: a pod that is leaving refuses until
/// the rules of its service have followed, a tenth of a second later.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// `tcp:127.0.0.1:9101` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    fn parse(text: &str) -> Result<Address> {
        match text.split_once(':') {
            Some(("tcp", address)) => Ok(Address::Tcp(address.to_owned())),
            Some(("unix", path)) => Ok(Address::Unix(PathBuf::from(path))),
            _ => bail!("{text} is neither tcp:HOST:PORT nor unix:PATH"),
        }
    }

    fn connect(&self) -> io::Result<Line> {
        for _ in 1..TRIES {
            match self.connect_once() {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::thread::sleep(PAUSE),
                done => return done,
            }
        }
        self.connect_once()
    }

    fn connect_once(&self) -> io::Result<Line> {
        match self {
            Address::Tcp(address) => TcpStream::connect(address).and_then(tcp),
            Address::Unix(path) => UnixStream::connect(path).map(Line::Unix),
        }
    }
}

/// One end of a connection.
enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
}

fn tcp(stream: TcpStream) -> io::Result<Line> {
    // questions are small and are waited for
    stream.set_nodelay(true)?;
    Ok(Line::Tcp(stream))
}

impl Line {
    fn again(&self) -> io::Result<Line> {
        Ok(match self {
            Line::Tcp(stream) => Line::Tcp(stream.try_clone()?),
            Line::Unix(stream) => Line::Unix(stream.try_clone()?),
        })
    }

    /// No more will be written; what is on its way still arrives.
    fn end(&self) {
        // the other side may have gone already
        let _ = match self {
            Line::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Line::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Tcp(stream) => stream.read(into),
            Line::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Tcp(stream) => stream.write(bytes),
            Line::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    fn open(address: &Address) -> Result<Door> {
        match address {
            Address::Tcp(text) => TcpListener::bind(text).map(Door::Tcp).with_context(|| format!("listen on {text}")),
            Address::Unix(path) => {
                // left by one that was killed
                let _ = std::fs::remove_file(path);
                UnixListener::bind(path).map(Door::Unix).with_context(|| format!("listen on {}", path.display()))
            }
        }
    }

    fn next(&self) -> io::Result<Line> {
        match self {
            Door::Tcp(door) => door.accept().and_then(|(stream, _)| tcp(stream)),
            Door::Unix(door) => door.accept().map(|(stream, _)| Line::Unix(stream)),
        }
    }
}

/// Passes on until it is ended: each rule is `LISTEN=TO`.
///
/// # Errors
/// A rule that is none, an address that cannot be listened on.
pub fn run(rules: &[String]) -> Result<()> {
    let mut doors = Vec::new();
    for rule in rules {
        let (listen, to) = rule.split_once('=').with_context(|| format!("{rule} is no LISTEN=TO"))?;
        doors.push((Door::open(&Address::parse(listen)?)?, Address::parse(to)?));
    }
    std::thread::scope(|scope| {
        for (door, to) in doors {
            scope.spawn(move || serve(&door, &to));
        }
    });
    Ok(())
}

fn serve(door: &Door, to: &Address) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok(line) = door.next() else {
            // too many open files, most likely: a moment later some are closed
            std::thread::sleep(PAUSE);
            continue;
        };
        if open.load(Ordering::Relaxed) >= MOST {
            // closed at once, which the caller sees
            continue;
        }
        let (to, open) = (to.clone(), Arc::clone(&open));
        open.fetch_add(1, Ordering::Relaxed);
        std::thread::spawn(move || {
            // whoever cannot be reached is told apart by the closed connection
            let _ = to.connect().and_then(|other| both_ways(line, other));
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn both_ways(one: Line, other: Line) -> io::Result<()> {
    let (mut from, mut back) = (one.again()?, other.again()?);
    let (mut one, mut other) = (one, other);
    let there = std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut other);
        other.end();
    });
    let _ = io::copy(&mut back, &mut one);
    one.end();
    // a panic of the other half ends nothing but this connection
    let _ = there.join();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_on_one_side_is_heard_on_the_other_and_answered_after_the_end() {
        let folder = std::env::temp_dir().join(format!("shopsphere-forward-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (middle, server) = (folder.join("middle.sock"), TcpListener::bind("127.0.0.1:0").unwrap());
        let rule = format!("unix:{}=tcp:{}", middle.display(), server.local_addr().unwrap());
        std::thread::spawn(move || run(&[rule]));
        std::thread::spawn(move || {
            let (mut caller, _) = server.accept().unwrap();
            let mut said = String::new();
            caller.read_to_string(&mut said).unwrap();
            caller.write_all(format!("heard {said}").as_bytes()).unwrap();
        });
        let mut line = loop {
            if let Ok(line) = UnixStream::connect(&middle) {
                break line;
            }
            std::thread::yield_now();
        };
        line.write_all(b"hello").unwrap();
        line.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "heard hello");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn who_is_let_in_reaches_a_server_that_listens_a_moment_later() {
        let folder = std::env::temp_dir().join(format!("shopsphere-forward-later-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let middle = folder.join("middle.sock");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let rule = format!("unix:{}=tcp:{free}", middle.display());
        std::thread::spawn(move || run(&[rule]));
        let mut line = loop {
            if let Ok(line) = UnixStream::connect(&middle) {
                break line;
            }
            std::thread::yield_now();
        };
        std::thread::sleep(PAUSE);
        let server = TcpListener::bind(free).unwrap();
        std::thread::spawn(move || server.accept().unwrap().0.write_all(b"here").unwrap());
        let mut answer = String::new();
        line.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "here");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_rule_that_is_none_is_refused() {
        for rule in ["tcp:127.0.0.1:1", "udp:127.0.0.1:1=unix:/x"] {
            assert!(run(&[rule.to_owned()]).is_err(), "{rule}");
        }
    }
}
