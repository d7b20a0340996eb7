//! A supervised process: known again, left alone, restarted, killed; and never confused with one that only has the same pid.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::layout::Layout;
use xtask::os;
use xtask::ports::{Port, Ports, TABLE};
use xtask::stack::process::{self, Health, Spec};
use xtask::stack::{down, wipe};

struct Place {
    layout: Layout,
}

impl Place {
    fn new(name: &str) -> Place {
        let state = std::env::temp_dir().join(format!("shopsphere-process-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        Place { layout: Layout::open(Path::new("/"), &state).expect("a state folder") }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        down(&self.layout);
        let _ = fs::remove_dir_all(&self.layout.state);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn shell(name: &str, script: &str) -> Spec {
    Spec {
        name: name.to_owned(),
        role: "tool",
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: Vec::new(),
        folder: PathBuf::from("/"),
        account: None,
        ports: Vec::new(),
        health: Health::Tcp(free_port()),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(2),
        ready_within: Duration::from_secs(2),
        ours: false,
        depends_on: String::new(),
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(5), "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_running_process_is_left_alone_by_a_second_start() {
    let place = Place::new("second");
    let spec = shell("sleeper", "exec sleep 60");
    assert!(spec.start(&place.layout).expect("it starts"));
    let first = process::running(&place.layout, "sleeper").expect("it runs");
    assert!(!spec.start(&place.layout).expect("nothing to do"));
    assert_eq!(process::running(&place.layout, "sleeper").expect("it runs").pid, first.pid);
}

#[test]
fn a_changed_configuration_restarts_the_process() {
    let place = Place::new("changed");
    let mut spec = shell("sleeper", "exec sleep 60");
    spec.start(&place.layout).expect("it starts");
    let first = process::running(&place.layout, "sleeper").expect("it runs");
    "port = 2".clone_into(&mut spec.depends_on);
    assert!(spec.start(&place.layout).expect("it starts again"));
    assert!(!first.alive(), "the old process has ended");
    assert!(process::running(&place.layout, "sleeper").is_some());
}

#[test]
fn a_newer_program_of_ours_restarts_the_process() {
    let place = Place::new("newer");
    let program = place.layout.state.join("program");
    fs::copy("/bin/sleep", &program).expect("a program");
    let mut spec = shell("sleeper", "");
    spec.ours = true;
    spec.program = program.clone();
    spec.args = vec!["60".to_owned()];
    spec.start(&place.layout).expect("it starts");
    assert!(!spec.start(&place.layout).expect("nothing to do"));
    std::thread::sleep(Duration::from_millis(20));
    fs::remove_file(&program).expect("replaced as cargo does it");
    fs::copy("/bin/sleep", &program).expect("a newer program");
    fs::File::options()
        .append(true)
        .open(&program)
        .expect("open")
        .set_modified(std::time::SystemTime::now())
        .expect("its age");
    assert!(spec.start(&place.layout).expect("it starts again"));
}

#[test]
fn a_killed_process_comes_back_with_the_next_start() {
    let place = Place::new("killed");
    let spec = shell("sleeper", "exec sleep 60");
    spec.start(&place.layout).expect("it starts");
    let first = process::running(&place.layout, "sleeper").expect("it runs");
    process::kill(&first);
    assert!(process::running(&place.layout, "sleeper").is_none());
    assert!(spec.start(&place.layout).expect("it starts again"));
    assert_ne!(process::running(&place.layout, "sleeper").expect("it runs").pid, first.pid);
}

#[test]
fn killing_a_process_ends_its_children_too() {
    let place = Place::new("children");
    let spec = shell("parent", "sleep 61 & sleep 62 & wait");
    spec.start(&place.layout).expect("it starts");
    let record = process::running(&place.layout, "parent").expect("it runs");
    eventually("two children", || os::group_members(record.pid).len() == 3);
    process::kill(&record);
    eventually("nobody is left", || os::group_members(record.pid).is_empty());
}

#[test]
fn children_left_behind_by_a_dead_leader_are_ended_before_a_new_start() {
    let place = Place::new("orphans");
    let spec = shell("launcher", "sleep 63 & wait");
    spec.start(&place.layout).expect("it starts");
    let record = process::running(&place.layout, "launcher").expect("it runs");
    eventually("a child", || os::group_members(record.pid).len() == 2);
    os::signal(record.pid, libc::SIGKILL);
    eventually("the leader is gone", || !record.alive());
    assert_eq!(os::group_members(record.pid).len(), 1, "the child lives on");
    assert!(spec.start(&place.layout).expect("it starts again"));
    assert!(os::group_members(record.pid).is_empty(), "the old child has ended");
}

#[test]
fn a_process_that_ignores_the_request_to_end_is_forced() {
    let place = Place::new("stubborn");
    let mut spec = shell("stubborn", "trap '' TERM; touch ready; while true; do sleep 0.05; done");
    spec.folder.clone_from(&place.layout.state);
    spec.stop_within = Duration::from_millis(300);
    spec.start(&place.layout).expect("it starts");
    eventually("the trap is set", || place.layout.state.join("ready").exists());
    let record = process::running(&place.layout, "stubborn").expect("it runs");
    assert_eq!(down(&place.layout), ["stubborn"]);
    assert!(!record.alive());
}

#[test]
fn a_reused_pid_is_not_touched() {
    let place = Place::new("reused");
    let spec = shell("sleeper", "exec sleep 60");
    spec.start(&place.layout).expect("it starts");
    let record = process::running(&place.layout, "sleeper").expect("it runs");
    // The same pid with another start time: what a record looks like after a restart of the machine.
    let stale = process::Record { started: record.started - 1, ..record.clone() };
    assert!(!stale.alive());
    process::stop(&place.layout, &stale);
    process::kill(&stale);
    assert!(record.alive(), "a process that is not ours must live");
    process::kill(&record);
}

#[test]
fn a_busy_port_is_one_line_with_the_holder_and_what_to_do() {
    let place = Place::new("busy");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let mut spec = shell("server", "exec sleep 60");
    spec.ports = vec![port];
    let error = spec.start(&place.layout).expect_err("the port is busy").to_string();
    assert!(error.contains(&format!("port {port}")), "{error}");
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    assert!(error.contains("--offset"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_process_that_ends_while_starting_is_reported_with_its_last_words() {
    let place = Place::new("dies");
    let spec = shell("dies", "echo no licence to serve; exit 3");
    spec.start(&place.layout).expect("it starts");
    let error = spec.wait_ready(&place.layout).expect_err("it ended").to_string();
    assert!(error.contains("ended while starting") && error.contains("no licence to serve"), "{error}");
}

#[test]
fn a_process_that_never_becomes_ready_is_reported_with_what_was_seen() {
    let place = Place::new("slow");
    let mut spec = shell("slow", "exec sleep 60");
    spec.ready_within = Duration::from_millis(200);
    spec.start(&place.layout).expect("it starts");
    let error = spec.wait_ready(&place.layout).expect_err("never ready").to_string();
    assert!(error.contains("not ready after") && error.contains("does not accept"), "{error}");
}

#[test]
fn a_broken_record_of_an_earlier_run_is_cleaned_up() {
    let place = Place::new("broken");
    let path = place.layout.state.join("run/half.json");
    fs::write(&path, "{\"pid\": 12").expect("half a record");
    assert!(process::records(&place.layout).is_empty());
    assert!(!path.exists());
}

#[test]
fn data_is_not_wiped_under_a_running_process() {
    let place = Place::new("wipe");
    let spec = shell("sleeper", "exec sleep 60");
    spec.start(&place.layout).expect("it starts");
    assert!(wipe(&place.layout).is_err());
    down(&place.layout);
    fs::write(place.layout.state.join("data/file"), "x").expect("data");
    wipe(&place.layout).expect("nothing runs");
    assert!(!place.layout.state.join("data/file").exists());
}

#[test]
fn ports_are_distinct_and_move_together() {
    let (here, there) = (Ports::at(0).expect("offset 0"), Ports::at(2000).expect("offset 2000"));
    let mut all: Vec<u16> = TABLE.iter().map(|(port, _, _)| here.of(*port)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), TABLE.len());
    assert!(TABLE.iter().all(|(port, _, _)| there.of(*port) == here.of(*port) + 2000));
    assert_eq!(here.of(Port::Edge), 8080);
    assert!(Ports::at(60_000).is_err());
}

#[test]
fn a_checkout_that_others_may_not_enter_keeps_its_state_where_they_may() {
    use std::os::unix::fs::PermissionsExt;
    let private = std::env::temp_dir().join(format!("shopsphere-private-{}", std::process::id()));
    let checkout = private.join("checkout");
    fs::create_dir_all(&checkout).expect("a checkout");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("a private folder, as a home of root is");
    let layout = Layout::open(&checkout, Path::new(".dev/offset-7")).expect("a layout");
    if os::is_root() {
        assert!(xtask::layout::reachable(&layout.state), "{}", layout.state.display());
        let again = Layout::open(&checkout, Path::new(".dev/offset-7")).expect("the same layout");
        assert_eq!(again.state, layout.state);
        assert!(checkout.join(".dev/offset-7/run").is_dir(), ".dev leads there");
        fs::remove_dir_all(fs::read_link(checkout.join(".dev")).expect(".dev is a link")).expect("removed");
    } else {
        assert_eq!(layout.state, checkout.join(".dev/offset-7"), "our own servers run as ourselves");
    }
    fs::remove_dir_all(&private).expect("removed");
}

/// A server whose first thread is gone while another one still listens: the kernel shows it as a zombie.
const HEADLESS: &str = r#"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static void *listen_on(void *port) {
    int one = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(one, (struct sockaddr *)&at, sizeof at) || listen(one, 1)) exit(1);
    pause();
    return 0;
}
int main(int count, char **words) {
    pthread_t thread;
    if (count < 2 || pthread_create(&thread, 0, listen_on, words[1])) return 1;
    pthread_exit(0);
}
"#;

#[test]
fn a_process_counts_as_alive_until_its_last_thread_is_gone() {
    let place = Place::new("headless");
    let (source, program) = (place.layout.state.join("headless.c"), place.layout.state.join("headless"));
    fs::write(&source, HEADLESS).expect("the source");
    let built = Command::new("gcc").arg(&source).arg("-o").arg(&program).arg("-pthread").status().expect("gcc runs");
    assert!(built.success());
    let port = free_port();
    let mut headless = Command::new(&program).arg(port.to_string()).spawn().expect("it starts");
    let pid = i32::try_from(headless.id()).expect("a pid");
    let zombie = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    eventually("its first thread is gone and the other listens", || zombie() && !xtask::net::tcp_free(port));
    assert!(os::process(pid).is_some(), "it still holds its port");
    headless.kill().expect("it can be killed");
    eventually("it is gone", || os::process(pid).is_none());
    assert!(xtask::net::tcp_free(port), "what counts as gone holds no port");
    let _ = headless.wait();
}
