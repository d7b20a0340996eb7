//! The cache of tools: filled once however many ask, never seen half-filled, and refused when a download is not what was pinned.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use xtask::layout::Layout;
use xtask::provision::{cached, require_space, verify};

struct Place {
    layout: Layout,
}

impl Place {
    fn new(name: &str) -> Place {
        let state = std::env::temp_dir().join(format!("shopsphere-cache-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        let mut layout = Layout::open(Path::new("/"), &state).expect("a state folder");
        layout.cache = state.join("cache");
        Place { layout }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.layout.state);
    }
}

#[test]
fn two_checkouts_that_ask_at_once_fill_the_cache_once() {
    let place = Place::new("once");
    let fills = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let home = cached(&place.layout, "tool", "1", 1, |work, _| {
                    fills.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(100));
                    Ok(fs::write(work.join("program"), "x")?)
                });
                assert!(home.expect("the tool").join("program").is_file());
            });
        }
    });
    assert_eq!(fills.load(Ordering::SeqCst), 1);
}

#[test]
fn a_tool_that_could_not_be_filled_is_not_there_and_is_tried_again() {
    let place = Place::new("again");
    let failed = cached(&place.layout, "tool", "1", 1, |work, _| {
        fs::write(work.join("half"), "x")?;
        anyhow::bail!("the network went away")
    });
    assert!(failed.is_err_and(|error| error.to_string().contains("network")));
    assert!(!place.layout.cache.join("tool-1").exists());
    let home =
        cached(&place.layout, "tool", "1", 1, |work, _| Ok(fs::write(work.join("whole"), "x")?)).expect("the tool");
    assert!(home.join("whole").is_file() && !home.join("half").exists());
}

#[test]
fn what_a_killed_run_left_half_filled_is_not_used() {
    let place = Place::new("killed");
    let partial = place.layout.cache.join(".tool-1.partial");
    fs::create_dir_all(&partial).expect("a folder");
    fs::write(partial.join("half"), "x").expect("half a tool");
    let home =
        cached(&place.layout, "tool", "1", 1, |work, _| Ok(fs::write(work.join("whole"), "x")?)).expect("the tool");
    assert!(home.join("whole").is_file() && !home.join("half").exists());
}

#[test]
fn a_download_with_another_sum_is_refused() {
    let place = Place::new("sum");
    let file = place.layout.state.join("download");
    fs::write(&file, "abc").expect("a file");
    verify(&file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").expect("the sum of abc");
    fs::write(&file, "abd").expect("a damaged file");
    let refused = verify(&file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert!(refused.is_err_and(|error| error.to_string().contains("expected ba7816bf")));
}

#[test]
fn too_little_disk_is_one_line_with_numbers() {
    let error = require_space(Path::new("/"), u64::MAX / 2).expect_err("no disk is that large").to_string();
    assert!(error.contains("not enough disk") && error.contains("XDG_CACHE_HOME") && !error.contains('\n'), "{error}");
}
