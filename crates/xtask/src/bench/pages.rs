//! Product pages: our hits against nginx, which serves the same bytes from files; many products against few; what a hundred thousand
//! pages take of the memory.
//!
//! The service's page code runs over a generated catalog (`services/catalog/examples/bench_catalog.rs`), because a hit asks no store. Both
//! servers have processor 0, one after the other; the generator has the rest.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::results::{Pair, Side};
use super::rig::Fsync;
use super::{Invalid, Measured, Missing, Options, cpu};
use crate::layout::{self, Layout};
use crate::provision::debian;
use crate::{net, os};

/// The service's page code over a generated catalog.
pub const PROGRAM: &str = "bench_catalog";
const NGINX: &str = "/usr/sbin/nginx";
const TESTED: &str = "0";
/// Pages that are asked for: more than fit a processor's caches.
const HOT: u64 = 1_000;
const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;
const IN_MEMORY: u64 = 100_000;
/// Connections of the browsers' edge.
const CONNECTIONS: usize = 64;
/// In open loop nobody waits for a free connection: with 64 of them at 40,000 requests a second a server that stands still for two
/// milliseconds would have the generator send late, and be spared what it delays.
const OPEN_CONNECTIONS: usize = 512;
/// What the service has by default.
const MAX_BYTES: u64 = 256 << 20;
/// No page grows old during a bench: misses are not what is measured.
const FRESH_S: u64 = 86_400;
/// What a hundred thousand pages may take.
const MEMORY_MB: f64 = 400.0;
/// Ports of ours, of a second of ours, and of nginx, above the bench's offset.
const OUR_PORT: u16 = 8_111;
const SECOND_PORT: u16 = 8_112;
const NGINX_PORT: u16 = 8_113;

pub const NGINX_SETTINGS: &[&str] = &[
    "1,000 product pages of 1.5 kB, asked for in turn over 64 kept-alive connections; hits only, no encoding",
    "ours: the catalog's pages behind chassis' server, tags, identifying headers and metrics as in the service; products are generated, the stores are not asked by a hit; one worker thread",
    "ours writes no log line for a hit and records no trace, as without a collector; nginx has its access log off",
    "against: nginx of Debian, one worker, sendfile, tcp_nopush, open_file_cache, the same bodies from files, the same header names",
    "checked before: every body is the same at both; no answer but 200 counts",
    "processor 0: the server; the others: the generator",
];

pub const MILLION_SETTINGS: &[&str] = &[
    "1,000 product pages asked for in turn over 512 kept-alive connections in open loop, at half of what saturates",
    "ours: after each of 1,000,000 products was asked for once, through a cache of 256 MB that holds a part of them",
    "against: the same program with a catalog of 1,000 products",
    "processor 0: the server; the others: the generator",
];

pub const MEMORY_SETTINGS: &[&str] = &[
    "resident memory of the page process after each of 100,000 products was asked for once, all of them kept; 400 MB divided by it",
    "the page process has no clients of stores and no broker; these take some 30 MB more in the service",
];

/// Requests per processor second.
pub fn vs_nginx(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let ours = bench.ours(OUR_PORT, HOT)?;
    let theirs = bench.nginx(&ours)?;
    let turn = |server: &Server, seconds: u64| {
        let (said, used) = bench.load(&[&ours, &theirs], server, seconds, None)?;
        let answered = number(&said, "answered")?;
        let value = answered / used.tested.max(0.01);
        Ok(Turn { side: Side { per_second: value, per_cpu_second: value, cpu: used.by }, foreign: used.foreign })
    };
    turn(&ours, options.warm_up_s)?;
    turn(&theirs, options.warm_up_s)?;
    let facts = vec![bench.compared.borrow().clone()];
    let pairs = abba::pairs(
        count,
        ("requests per processor second", Better::More),
        &mut || turn(&ours, options.side_s),
        &mut || turn(&theirs, options.side_s),
    )?;
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

/// 99th percentile in open loop.
pub fn p99(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let ours = bench.ours(OUR_PORT, HOT)?;
    let theirs = bench.nginx(&ours)?;
    bench.latencies(options, (&ours, &theirs), count)
}

/// The same hits, beside a million products and beside a thousand.
pub fn million(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let (many, few) = (bench.ours(OUR_PORT, MANY)?, bench.ours(SECOND_PORT, FEW)?);
    let all = bench.folder.join("all-paths");
    fs::write(&all, paths(0..MANY))?;
    bench.once(&many, &all)?;
    let kept = bench.kept(&many)?;
    if number(&kept, "bytes")? > MAX_BYTES as f64 {
        bail!(Invalid(format!("the pages take more than their memory: {kept}")));
    }
    let mut measured = bench.latencies(options, (&many, &few), count)?;
    measured.facts.push(format!("after a million products: {kept} kept, {:.0} MB resident", many.resident_mb()));
    Ok(measured)
}

/// 400 MB by what 100,000 pages take.
pub fn memory(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    let bench = Bench::open(options)?;
    let all = bench.folder.join("all-paths");
    fs::write(&all, paths(0..IN_MEMORY))?;
    let (mut pairs, mut facts) = (Vec::new(), Vec::new());
    for number_of_pair in 0..count {
        os::check_interrupted()?;
        let server = bench.ours(OUR_PORT, IN_MEMORY)?;
        let empty = server.resident_mb();
        bench.once(&server, &all)?;
        let (kept, full) = (bench.kept(&server)?, server.resident_mb());
        if number(&kept, "pages")? < IN_MEMORY as f64 {
            bail!(Invalid(format!("not all pages are kept: {kept}")));
        }
        println!("pair {}: {full:.0} MB resident, {empty:.0} MB of them before the first page", number_of_pair + 1);
        let side = |value| Side { per_second: value, cpu: Vec::new(), per_cpu_second: 0.0 };
        pairs.push(Pair { ours: side(full), theirs: side(MEMORY_MB), ratio: MEMORY_MB / full, foreign: 0.0 });
        facts = vec![format!("{kept} kept, {full:.0} MB resident, {empty:.0} MB before the first page")];
    }
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

struct Bench {
    layout: Layout,
    folder: PathBuf,
    offset: u16,
    release: bool,
    compared: RefCell<String>,
}

/// A running server; it ends with this.
struct Server {
    name: &'static str,
    child: Child,
    port: u16,
}

impl Server {
    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn resident_mb(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default();
        kilobytes * 1024.0 / 1e6
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx ends its worker when it is asked to, and leaves it behind when it is killed.
        os::signal(self.pid(), libc::SIGTERM);
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bench {
    fn open(options: &Options) -> Result<Self> {
        let layout = Layout::open(&layout::checkout(), &options.state)?;
        let folder = layout.state.join("pages");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("paths"), paths(0..HOT))?;
        Ok(Self { layout, folder, offset: options.offset, release: !options.debug, compared: RefCell::default() })
    }

    fn ours(&self, port: u16, products: u64) -> Result<Server> {
        let port = port + self.offset;
        let program = self.layout.binaries(self.release).join("examples").join(PROGRAM);
        let log = fs::File::create(self.folder.join(format!("{port}.log")))?;
        let mut child = Command::new("taskset")
            .args(["-c", TESTED])
            .arg(program)
            .arg("pages")
            .args([port.to_string(), products.to_string(), MAX_BYTES.to_string(), FRESH_S.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start the page server")?;
        let said = child.stdout.take().context("its output")?;
        let server = Server { name: if port == OUR_PORT + self.offset { "catalog" } else { "second" }, child, port };
        for line in BufReader::new(said).lines() {
            if line?.trim() == "ready" {
                return Ok(server);
            }
        }
        bail!("the page server ended; see {}", self.folder.display())
    }

    /// nginx over files that hold what `ours` answered.
    fn nginx(&self, ours: &Server) -> Result<Server> {
        if !Path::new(NGINX).is_file() {
            debian::install(&["nginx-light"]).map_err(|error| Missing(format!("nginx: {error:#}")))?;
        }
        let root = self.folder.join("root/v1/products");
        fs::create_dir_all(&root)?;
        for number in 0..HOT {
            let answer = net::http_get(ours.port, &path(number))?;
            if answer.status != 200 {
                bail!(Invalid(format!("{} answered {}", path(number), answer.status)));
            }
            fs::write(root.join(sku(number)), answer.body)?;
        }
        let port = NGINX_PORT + self.offset;
        let config = self.folder.join("nginx.conf");
        fs::write(&config, configuration(&self.folder, port))?;
        readable(&self.folder)?;
        let log = fs::File::create(self.folder.join("nginx.log"))?;
        let child = Command::new("taskset")
            .args(["-c", TESTED, NGINX, "-p"])
            .arg(&self.folder)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start nginx")?;
        let server = Server { name: "nginx", child, port };
        for _ in 0..100 {
            if net::tcp_open(port) {
                self.compare(ours, &server)?;
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("nginx does not answer; see {}", self.folder.join("nginx.log").display())
    }

    fn compare(&self, ours: &Server, theirs: &Server) -> Result<()> {
        let said = self.said(ours, &["--same-as", &theirs.address()]).map_err(|error| Invalid(format!("{error:#}")))?;
        if number(&said, "same")? < HOT as f64 {
            bail!(Invalid(format!("not all pages are the same: {said}")));
        }
        *self.compared.borrow_mut() = format!(
            "{} pages of {} bytes are the same at both; our headers {}, theirs {}",
            said["same"], said["bytes_each"], said["headers"], said["their_headers"]
        );
        Ok(())
    }

    /// One run of the generator, with the processor time of everybody meanwhile.
    fn load(&self, all: &[&Server], server: &Server, seconds: u64, rate: Option<f64>) -> Result<(Value, cpu::Used)> {
        let parties = || -> Vec<(String, f64)> {
            let servers = all.iter().map(|server| (server.name.to_owned(), cpu::of_tree(server.pid())));
            servers.chain([("load".to_owned(), cpu::of_ended_children())]).collect()
        };
        let connections = if rate.is_some() { OPEN_CONNECTIONS } else { CONNECTIONS };
        let (seconds, connections) = (seconds.to_string(), connections.to_string());
        let rate = rate.map(|rate| format!("{rate:.0}"));
        let mut words = vec!["--connections", &connections, "--seconds", &seconds];
        if let Some(rate) = &rate {
            words.extend(["--rate", rate]);
        }
        let (said, used) = cpu::watched(&parties, &[server.name], || self.said(server, &words))?;
        if said["others"].as_object().is_some_and(|others| !others.is_empty()) {
            bail!(Invalid(format!("not every answer was a page: {}", said["others"])));
        }
        Ok((said, used))
    }

    fn latencies(&self, options: &Options, (ours, theirs): (&Server, &Server), count: usize) -> Result<Measured> {
        let all = [ours, theirs];
        let mut slower = f64::INFINITY;
        for server in all {
            // The first run learns the pages, the second finds out what saturates.
            self.load(&all, server, options.warm_up_s, None)?;
            slower = slower.min(number(&self.load(&all, server, options.warm_up_s, None)?.0, "answered_per_s")?);
        }
        let rate = slower / 2.0;
        let turn = |server: &Server| {
            let (said, used) = self.load(&all, server, options.side_s, Some(rate))?;
            let p99 = said["p99_ms"].as_f64();
            let value = p99.with_context(|| Invalid(format!("too much was sent late: {said}")))?;
            let per_cpu_second = number(&said, "answered")? / used.tested.max(0.01);
            Ok(Turn { side: Side { per_second: value, per_cpu_second, cpu: used.by }, foreign: used.foreign })
        };
        let pairs = abba::pairs(count, ("ms", Better::Less), &mut || turn(ours), &mut || turn(theirs))?;
        let mut facts = vec![format!("the slower answers {slower:.0} requests per second; measured at {rate:.0}")];
        facts.extend(Some(self.compared.borrow().clone()).filter(|compared| !compared.is_empty()));
        Ok(Measured { fdatasync_us: 0.0, pairs, facts })
    }

    /// Asks for each of `paths` once.
    fn once(&self, server: &Server, paths: &Path) -> Result<()> {
        let paths = paths.to_string_lossy();
        let said = self.said(server, &["--once", "--connections", "64", "--paths", &paths])?;
        if said["others"].as_object().is_some_and(|others| !others.is_empty()) {
            bail!(Invalid(format!("not every answer was a page: {}", said["others"])));
        }
        Ok(())
    }

    fn kept(&self, server: &Server) -> Result<Value> {
        let answer = net::http_get(server.port, "/__pages")?;
        serde_json::from_str(&answer.body).context("how many pages are kept")
    }

    fn said(&self, server: &Server, words: &[&str]) -> Result<Value> {
        let mut command = self.generator();
        command.arg(self.layout.binaries(self.release).join("load")).args(["pages", "--address", &server.address()]);
        if !words.contains(&"--paths") {
            command.arg("--paths").arg(self.folder.join("paths"));
        }
        Ok(serde_json::from_str(&os::output(command.args(words))?)?)
    }

    /// Never on the processor of what is tested, unless there is no other.
    fn generator(&self) -> Command {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let rest = if count > 1 { format!("1-{}", count - 1) } else { TESTED.to_owned() };
        let mut command = Command::new("taskset");
        command.args(["-c", &rest]).current_dir(&self.folder).stdin(Stdio::null());
        command
    }
}

fn sku(number: u64) -> String {
    format!("B{number:07}")
}

fn path(number: u64) -> String {
    format!("/v1/products/{}", sku(number))
}

fn paths(numbers: std::ops::Range<u64>) -> String {
    numbers.fold(String::new(), |mut paths, number| {
        // Writing into a String cannot fail.
        let _ = writeln!(paths, "{}", path(number));
        paths
    })
}

fn number(said: &Value, key: &str) -> Result<f64> {
    said[key].as_f64().with_context(|| format!("{key} is missing in {said}"))
}

/// nginx as one would run it for files of this kind, with the header names of our answers.
fn configuration(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 65;
    keepalive_requests 100000000;
    open_file_cache max=20000 inactive=1h;
    open_file_cache_valid 1h;
    server_tokens off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/root;
        default_type application/json;
        add_header Content-Language de;
        add_header Vary \"Accept-Language, Accept-Encoding\";
        add_header Cache-Control \"public, max-age=0, s-maxage=10, stale-while-revalidate=30\";
        add_header Cache-Tag \"p-B0000000,c-office,c-office/kind-0\";
        add_header X-Request-Id $request_id;
        add_header ShopSphere-Site rdc-a;
        add_header ShopSphere-Epoch 1;
    }}
}}
"
    )
}

/// The worker of nginx is an account of its own.
fn readable(folder: &Path) -> Result<()> {
    let mut open = Command::new("chmod");
    open.args(["-R", "a+rX"]).arg(folder);
    os::output(&mut open).map(drop)
}
