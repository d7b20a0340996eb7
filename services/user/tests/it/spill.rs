//! Clicks that the broker does not confirm: on disk before they are called accepted, with the broker when it is back, never more than
//! there is room for. The broker is a stand-in that is told when to be away; `click_log` has the real one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use contracts::topics::CLICKSTREAM_RAW;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;
use user::domain::RefusedClick;
use user::outbound::clicks::line::Line;
use user::outbound::clicks::spill::{Full, Spill};
use user::outbound::clicks::{Broker, DurableClicks, Records};
use user::usecases::ports::{ClickBatch, ClickLog as _, Down};

use crate::click_log;

const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: u64 = 1 << 20;

/// Keeps what it is given, unless it is away.
#[derive(Default)]
struct StandIn {
    away: Mutex<bool>,
    /// Publishes this many more and is away from then on.
    strength: Mutex<Option<usize>>,
    /// Takes no refused events.
    refuses_refused: Mutex<bool>,
    kept: Mutex<Vec<String>>,
}

impl StandIn {
    fn away(&self, away: bool) {
        *self.away.lock().expect("a lock") = away;
    }

    fn kept(&self) -> Vec<String> {
        self.kept.lock().expect("a lock").clone()
    }
}

#[async_trait]
impl Broker for StandIn {
    async fn publish(&self, lines: &[Line<'_>]) -> Result<(), Down> {
        let down = || Down { target: "the stand-in", retry_after: None, source: anyhow::anyhow!("away") };
        if *self.refuses_refused.lock().expect("a lock") && lines.iter().any(Line::is_refused) {
            return Err(down());
        }
        for line in lines {
            let mut strength = self.strength.lock().expect("a lock");
            if *self.away.lock().expect("a lock") || *strength == Some(0) {
                return Err(down());
            }
            *strength = strength.map(|left| left - 1);
            self.kept.lock().expect("a lock").push(String::from_utf8_lossy(&line.payload).into_owned());
        }
        Ok(())
    }
}

/// A folder of the test's own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("spill-{}", common::ids::random().simple()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("the folder").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A spill with its two tasks.
struct Running {
    spill: Spill,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    fn start(folder: &Path, room: u64, broker: &Arc<StandIn>) -> Self {
        let (spill, writer, replay) = Spill::open(folder, room).expect("a spill");
        let stop = CancellationToken::new();
        let writer = tokio::spawn(writer.run(stop.clone()));
        let replay = tokio::spawn(replay.run(broker.clone(), stop.clone()));
        Self { spill, stop, tasks: vec![writer, replay] }
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("a task that ends in order");
        }
    }

    /// Ends as a killed process does: nothing more is done, and the folder is free.
    async fn kill(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

fn line(payload: &str) -> Line<'_> {
    Line { topic: &CLICKSTREAM_RAW, key: "k".into(), payload: payload.as_bytes().into() }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number:05}")).collect()
}

async fn append_all(spill: &Spill, names: &[String]) {
    for name in names {
        spill.append(&[line(name)]).await.expect("room on the disk");
    }
}

async fn arrived(broker: &StandIn, expected: &[String]) {
    until("all spilled lines to be with the broker", PATIENCE, async || {
        let kept = broker.kept();
        if kept.len() >= expected.len() { Ok(()) } else { Err(kept.len()) }
    })
    .await;
    assert_eq!(broker.kept(), expected);
}

#[tokio::test]
async fn what_the_broker_does_not_confirm_is_accepted_on_disk_and_follows_in_order() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    let running = Running::start(&folder.0, ROOM, &broker);
    broker.away(true);
    let log = DurableClicks::new(broker.clone(), Some(running.spill.clone()), Records::Report);
    for _ in 0..3 {
        log.append(&batch()).await.expect("accepted without a broker");
    }
    assert!(running.spill.bytes() > 0 && broker.kept().is_empty());
    broker.away(false);
    until("the spill to be empty", PATIENCE, async || match running.spill.bytes() {
        0 => Ok(()),
        bytes => Err(bytes),
    })
    .await;
    assert_eq!(broker.kept().len(), 3);
    assert!(folder.files("clicks").is_empty(), "what is confirmed is gone");

    broker.away(true);
    let expected = names(500);
    append_all(&running.spill, &expected).await;
    broker.kept.lock().expect("a lock").clear();
    broker.away(false);
    arrived(&broker, &expected).await;
    running.stop().await;
}

#[tokio::test]
async fn refused_events_that_nobody_takes_cost_no_good_one_its_answer_or_its_place() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    let running = Running::start(&folder.0, ROOM, &broker);
    *broker.refuses_refused.lock().expect("a lock") = true;
    let refused = RefusedClick { index: 1, code: "unknown-field", sample: String::new() };
    let mixed = ClickBatch { refused: vec![refused], ..batch() };
    let lost = user::metrics::REFUSED_CLICKS_LOST.get();
    let alone = DurableClicks::new(broker.clone(), None, Records::Report);
    alone.append(&mixed).await.expect("the good one is with the broker");
    assert_eq!((broker.kept().len(), user::metrics::REFUSED_CLICKS_LOST.get() - lost), (1, 1));
    alone.append(&ClickBatch { clicks: Vec::new(), ..mixed.clone() }).await.expect("nothing was promised");
    // Nor do they stand in the way of what is spilled.
    broker.away(true);
    let log = DurableClicks::new(broker.clone(), Some(running.spill.clone()), Records::Report);
    log.append(&mixed).await.expect("the good one is on disk");
    broker.away(false);
    until("the spill to be empty", PATIENCE, async || match running.spill.bytes() {
        0 => Ok(()),
        bytes => Err(bytes),
    })
    .await;
    assert_eq!(broker.kept().len(), 2);
    *broker.refuses_refused.lock().expect("a lock") = false;
    log.append(&mixed).await.expect("the broker has both");
    assert_eq!(broker.kept().len(), 4);
    running.stop().await;
}

#[tokio::test]
async fn without_broker_and_without_room_the_caller_hears_it_and_when_to_come_again() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    let running = Running::start(&folder.0, 2_000, &broker);
    broker.away(true);
    let log = DurableClicks::new(broker.clone(), Some(running.spill.clone()), Records::Report);
    let mut accepted = 0;
    let down = loop {
        match log.append(&batch()).await {
            Ok(()) => accepted += 1,
            Err(down) => break down,
        }
        assert!(accepted < 100, "there is a bound");
    };
    assert!(accepted > 0 && down.retry_after.is_some(), "{accepted}");
    assert!(running.spill.bytes() <= 2_000);
    assert_eq!(running.spill.append(&[line(&"x".repeat(2_000))]).await, Err(Full::NoRoom));
    let alone = DurableClicks::new(broker.clone(), None, Records::Report);
    assert!(alone.append(&batch()).await.expect_err("nobody has it").retry_after.is_some());
    // When the broker is back there is room again, and nothing that was accepted is missing.
    broker.away(false);
    until("the spill to be empty", PATIENCE, async || match running.spill.bytes() {
        0 => Ok(()),
        bytes => Err(bytes),
    })
    .await;
    assert_eq!(broker.kept().len(), accepted);
    running.stop().await;
}

#[tokio::test]
async fn a_process_that_dies_between_disk_and_broker_leaves_everything_to_the_next() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    broker.away(true);
    let expected = names(700);
    let (first, second) = expected.split_at(300);
    let running = Running::start(&folder.0, ROOM, &broker);
    append_all(&running.spill, first).await;
    assert!(Spill::open(&folder.0, ROOM).is_err(), "a folder has one process");
    running.kill().await;
    // The next process has no broker either, adds its own, and dies in the middle of its replay.
    let running = Running::start(&folder.0, ROOM, &broker);
    append_all(&running.spill, second).await;
    *broker.strength.lock().expect("a lock") = Some(280);
    broker.away(false);
    until("a part of it to be with the broker", PATIENCE, async || match broker.kept().len() {
        280 => Ok(()),
        kept => Err(kept),
    })
    .await;
    running.kill().await;
    broker.kept.lock().expect("a lock").clear();
    *broker.strength.lock().expect("a lock") = None;
    let running = Running::start(&folder.0, ROOM, &broker);
    // The file that was half replayed comes again from its beginning, and then the rest: each line in its order, none missing.
    arrived(&broker, &expected).await;
    until("the spill to be empty", PATIENCE, async || match running.spill.bytes() {
        0 => Ok(()),
        bytes => Err(bytes),
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn the_torn_end_of_a_file_is_kept_beside_it_and_costs_no_line_before_it() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    broker.away(true);
    let running = Running::start(&folder.0, ROOM, &broker);
    let expected = names(20);
    append_all(&running.spill, &expected).await;
    running.kill().await;
    let file = folder.files("clicks").pop().expect("a file");
    let mut bytes = std::fs::read(&file).expect("the file");
    bytes.extend_from_slice(&[200, 0, 0, 0, 1, 2, 3, 4, 5]);
    std::fs::write(&file, bytes).expect("the file with a torn end");
    broker.away(false);
    let running = Running::start(&folder.0, ROOM, &broker);
    arrived(&broker, &expected).await;
    until("the file to be gone", PATIENCE, async || match folder.files("clicks").len() {
        0 => Ok(()),
        files => Err(files),
    })
    .await;
    let rest = folder.files("rest").pop().expect("the torn end");
    assert_eq!(std::fs::read(rest).expect("the rest").len(), 9);
    until("the room to be free", PATIENCE, async || match running.spill.bytes() {
        9 => Ok(()),
        bytes => Err(bytes),
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn files_that_are_gone_or_cannot_be_read_hold_up_no_other() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    broker.away(true);
    // A folder under the name of a file can be read by nobody.
    let unreadable = folder.0.join("0000000000000000.clicks");
    std::fs::create_dir(&unreadable).expect("a folder");
    let expected = names(20);
    for names in expected.chunks(10) {
        let running = Running::start(&folder.0, ROOM, &broker);
        append_all(&running.spill, names).await;
        running.kill().await;
    }
    let running = Running::start(&folder.0, ROOM, &broker);
    std::fs::remove_file(&folder.files("clicks")[1]).expect("a file less");
    broker.away(false);
    arrived(&broker, &expected[10..]).await;
    let left = std::fs::metadata(&unreadable).expect("still there").len();
    until("the room of the others to be free", PATIENCE, async || match running.spill.bytes() {
        bytes if bytes == left => Ok(()),
        bytes => Err(bytes),
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn many_who_spill_at_once_are_all_kept() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    broker.away(true);
    let running = Running::start(&folder.0, ROOM, &broker);
    let all = names(1_000);
    let spill = &running.spill;
    let appends = all.iter().map(|name| async move { spill.append(&[line(name)]).await.expect("room") });
    futures::future::join_all(appends).await;
    broker.away(false);
    until("all of them", PATIENCE, async || match broker.kept().len() {
        1_000 => Ok(()),
        kept => Err(kept),
    })
    .await;
    let mut kept = broker.kept();
    kept.sort();
    assert_eq!(kept, all);
    running.stop().await;
}

/// The process that `what_a_killed_process_has_acknowledged_is_all_there` kills: it says each line after it was acknowledged.
#[test]
#[ignore = "started by the test below, in a process of its own"]
fn a_process_that_spills_until_it_is_killed() {
    let Some(folder) = std::env::var_os("SPILL_FOLDER") else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let broker = Arc::new(StandIn::default());
        broker.away(true);
        let running = Running::start(Path::new(&folder), 64 << 20, &broker);
        let spill = &running.spill;
        let lanes = (0..16).map(|lane| async move {
            for number in 0.. {
                let name = format!("{lane} {number}");
                spill.append(&[line(&name)]).await.expect("room on the disk");
                println!("acknowledged {name}");
            }
        });
        futures::future::join_all(lanes).await;
    });
}

#[tokio::test]
async fn what_a_killed_process_has_acknowledged_is_all_there() {
    let folder = Folder::new();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "spill::a_process_that_spills_until_it_is_killed", "--ignored", "--nocapture"])
            .env("SPILL_FOLDER", &folder.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let mut said = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("its output")));
        let mut heard = 0;
        for text in said.by_ref().map_while(Result::ok) {
            if let Some(name) = text.strip_prefix("acknowledged ") {
                acknowledged.push(name.to_owned());
                heard += 1;
            }
            if heard == 400 + round * 50 {
                child.kill().expect("kill -9");
            }
        }
        child.wait().expect("its end");
        assert!(heard >= 400, "it spilled before it was killed");
    }
    let broker = Arc::new(StandIn::default());
    let running = Running::start(&folder.0, 64 << 20, &broker);
    until("the spill to be empty", PATIENCE, async || match folder.files("clicks").len() {
        0 => Ok(()),
        files => Err(files),
    })
    .await;
    let kept = broker.kept();
    let times = |all: &[String], name: &String| all.iter().filter(|one| *one == name).count();
    let missing: Vec<&String> =
        acknowledged.iter().filter(|name| times(&kept, name) < times(&acknowledged, name)).collect();
    assert!(missing.is_empty(), "{} of {} acknowledged are missing", missing.len(), acknowledged.len());
    running.stop().await;
}

fn batch() -> ClickBatch<'static> {
    ClickBatch { refused: Vec::new(), ..click_log::batch(1) }
}
