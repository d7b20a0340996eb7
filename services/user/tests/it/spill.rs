//! Clicks that the broker does not confirm, and what tells of refused ones: on disk before the answer, with the broker when it is back,
//! never more than there is room for. The broker is a stand-in that is told when to be away; `click_log` has the real one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use contracts::topics::CLICKSTREAM_RAW;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;
use user::outbound::clicks::line::Line;
use user::outbound::clicks::spill::{Full, Spill};
use user::outbound::clicks::{Broker, DurableClicks, Records};
use user::usecases::ports::{ClickBatch, ClickLog as _, Down};

use crate::click_log;

const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: u64 = 1 << 20;
/// Held by tests that lose refused events: they are counted for the whole process.
static LOSES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

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

    fn refuses_refused(&self, refuses: bool) {
        *self.refuses_refused.lock().expect("a lock") = refuses;
    }

    fn kept(&self) -> Vec<String> {
        self.kept.lock().expect("a lock").clone()
    }

    /// Records of refused events, copies once.
    fn refused(&self) -> BTreeSet<String> {
        self.kept().into_iter().filter(|record| record.contains("unknown-field")).collect()
    }

    /// All others, copies once.
    fn good(&self) -> BTreeSet<String> {
        self.kept().into_iter().filter(|record| !record.contains("unknown-field")).collect()
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

    fn log(&self, broker: &Arc<StandIn>) -> DurableClicks {
        DurableClicks::new(broker.clone(), Some(self.spill.clone()), Records::Report)
    }

    async fn emptied(&self) {
        until("the spill to be empty", PATIENCE, async || match self.spill.bytes() {
            0 => Ok(()),
            bytes => Err(bytes),
        })
        .await;
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
    running.emptied().await;
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
async fn without_a_disk_refused_events_that_nobody_takes_cost_no_good_one_its_answer() {
    let _alone = LOSES.lock().await;
    let broker = Arc::new(StandIn::default());
    broker.refuses_refused(true);
    let lost = user::metrics::REFUSED_CLICKS_LOST.get();
    let log = DurableClicks::new(broker.clone(), None, Records::Report);
    log.append(&mixed()).await.expect("the good one is with the broker");
    assert_eq!((broker.kept().len(), user::metrics::REFUSED_CLICKS_LOST.get() - lost), (1, 1), "dropped and counted");
    let down = log.append(&bad()).await.expect_err("nobody has it, and nobody good is turned away");
    assert!(down.retry_after.is_some());
    broker.away(true);
    log.append(&mixed()).await.expect_err("nobody has either");
    assert_eq!(user::metrics::REFUSED_CLICKS_LOST.get() - lost, 1, "what is turned away comes again");
    broker.refuses_refused(false);
    broker.away(false);
    log.append(&mixed()).await.expect("the broker has both");
    assert_eq!((broker.kept().len(), broker.refused().len()), (3, 1));
}

#[tokio::test]
async fn refused_events_are_on_disk_before_the_answer_and_outlive_the_process_twice() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    broker.away(true);
    let running = Running::start(&folder.0, ROOM, &broker);
    let log = running.log(&broker);
    for _ in 0..3 {
        log.append(&mixed()).await.expect("both are on disk");
    }
    for _ in 0..2 {
        log.append(&bad()).await.expect("it is on disk");
    }
    running.kill().await;
    // The next process dies between the disk and the broker, when it has told half of it.
    *broker.strength.lock().expect("a lock") = Some(4);
    broker.away(false);
    let running = Running::start(&folder.0, ROOM, &broker);
    until("a part of it to be with the broker", PATIENCE, async || match broker.kept().len() {
        4 => Ok(()),
        kept => Err(kept),
    })
    .await;
    running.kill().await;
    *broker.strength.lock().expect("a lock") = None;
    let running = Running::start(&folder.0, ROOM, &broker);
    running.emptied().await;
    // Copies are told by their name, which is part of what was written once.
    assert_eq!(broker.refused().len(), 5, "each record of refused events is there");
    assert!(broker.kept().len() >= 8 && folder.files("clicks").is_empty());
    running.stop().await;
}

#[tokio::test]
async fn bad_traffic_that_fills_its_share_of_the_disk_costs_no_good_click() {
    let _alone = LOSES.lock().await;
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    broker.away(true);
    let running = Running::start(&folder.0, 8_000, &broker);
    let log = running.log(&broker);
    let mut told = 0;
    while log.append(&bad()).await.is_ok() {
        told += 1;
        assert!(told < 100, "there is a share");
    }
    assert!(told > 0 && running.spill.bytes() <= 2_000, "{told} records are more than a quarter of the room");
    // The share is that of the folder, also for the next process.
    running.kill().await;
    let running = Running::start(&folder.0, 8_000, &broker);
    let log = running.log(&broker);
    log.append(&bad()).await.expect_err("it is still full");
    let lost = user::metrics::REFUSED_CLICKS_LOST.get();
    for _ in 0..3 {
        log.append(&mixed()).await.expect("the good one has room");
    }
    assert_eq!(user::metrics::REFUSED_CLICKS_LOST.get() - lost, 3, "every drop is counted");
    let mut accepted = 3;
    while log.append(&batch()).await.is_ok() {
        accepted += 1;
        assert!(accepted < 100, "there is a bound");
    }
    assert!((7_000..=8_000).contains(&running.spill.bytes()), "good ones take all that is left");
    broker.away(false);
    running.emptied().await;
    assert_eq!((broker.refused().len(), broker.kept().len()), (told, told + accepted));
    running.stop().await;
}

#[tokio::test]
async fn a_topic_of_refused_events_that_cannot_be_written_holds_up_nobody_and_gets_all_when_it_can() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    let running = Running::start(&folder.0, ROOM, &broker);
    let arrived = async |count: usize| {
        until("the good ones to be with the broker", PATIENCE, async || match broker.good().len() {
            many if many == count => Ok(()),
            many => Err(many),
        })
        .await;
    };
    // Batches of another size are told from each other.
    let good = |events| ClickBatch { refused: Vec::new(), ..click_log::batch(events) };
    broker.refuses_refused(true);
    broker.away(true);
    let log = running.log(&broker);
    for events in 1..=3 {
        log.append(&click_log::batch(events)).await.expect("both are on disk");
    }
    broker.away(false);
    arrived(3).await;
    log.append(&click_log::batch(4)).await.expect("the good ones are with the broker, the refused on disk");
    assert_eq!(broker.good().len(), 4);
    // What is spilled later passes by what waits for the topic, in this process and in the next.
    broker.away(true);
    log.append(&good(5)).await.expect("on disk");
    broker.away(false);
    arrived(5).await;
    running.kill().await;
    broker.away(true);
    let running = Running::start(&folder.0, ROOM, &broker);
    running.log(&broker).append(&good(6)).await.expect("on disk");
    broker.away(false);
    arrived(6).await;
    assert!(broker.refused().is_empty() && running.spill.bytes() > 0, "refused events wait");
    broker.refuses_refused(false);
    running.emptied().await;
    assert_eq!((broker.refused().len(), broker.good().len()), (4, 6));
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
    running.emptied().await;
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
    running.emptied().await;
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
async fn a_click_now_and_then_in_a_long_outage_makes_few_files() {
    let (folder, broker) = (Folder::new(), Arc::new(StandIn::default()));
    broker.away(true);
    let running = Running::start(&folder.0, ROOM, &broker);
    let expected = names(6);
    for name in &expected {
        append_all(&running.spill, std::slice::from_ref(name)).await;
        // Longer than a file stays open without an append.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let files = folder.files("clicks").len();
    assert!(files <= 3, "{files}");
    broker.away(false);
    arrived(&broker, &expected).await;
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

/// A good event and one that was refused.
fn mixed() -> ClickBatch<'static> {
    click_log::batch(1)
}

/// Nothing but a refused one.
fn bad() -> ClickBatch<'static> {
    ClickBatch { clicks: Vec::new(), ..click_log::batch(1) }
}
