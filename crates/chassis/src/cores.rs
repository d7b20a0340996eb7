//! One runtime per processor, each a thread of its own with nothing stolen from it and nothing stolen by it: for a port whose requests are
//! many, short and alike. Decided here: who gets a connection, and how long the threads live.
//!
//! A connection goes to the core that has the fewest and stays there. What is connected while a request runs (a store that connects when
//! it is first used) may live on a core and be used by all; therefore no core ends before every task of the process has ended.
//!
//! Not decided here: which requests are answered on a core (`server`), and whether there are cores at all; without any, everything is on
//! the runtime of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use tokio::runtime::{Builder, Handle};

use crate::lifecycle::Process;

/// What threads of cores are called, before their number.
const NAME: &str = "core-";

/// The cores of one port.
#[derive(Default)]
pub(crate) struct Cores(Vec<Arc<Core>>);

struct Core {
    runtime: Handle,
    /// Connections that it has.
    open: AtomicUsize,
}

/// A connection's place on a core, until it is dropped.
pub(crate) struct Place(Arc<Core>);

impl Cores {
    /// Starts `count` of them; 0 starts as many as this process may use processors.
    ///
    /// # Errors
    /// A thread that cannot be had.
    pub(crate) fn start(process: &Process, count: usize) -> anyhow::Result<Self> {
        let count = if count == 0 { processors() } else { count };
        tracing::info!(cores = count, "one runtime per core");
        (0..count).map(|number| core(process, number).map(Arc::new)).collect::<anyhow::Result<Vec<_>>>().map(Self)
    }

    /// A place on the core that has the fewest connections; `None` without cores.
    pub(crate) fn place(&self) -> Option<Place> {
        let core = self.0.iter().min_by_key(|core| core.open.load(Ordering::Relaxed))?;
        core.open.fetch_add(1, Ordering::Relaxed);
        Some(Place(core.clone()))
    }
}

impl Place {
    pub(crate) fn runtime(&self) -> Handle {
        self.0.runtime.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// As many as the machine has, or as the quota of the container gives, rounded down to whole ones.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn core(process: &Process, number: usize) -> anyhow::Result<Core> {
    // Names are resolved and files read by the runtime of the process; whatever blocks here all the same gets one thread.
    let runtime = Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    let runtime = runtime.context("cannot make the runtime of a core")?;
    let handle = runtime.handle().clone();
    let process = process.clone();
    std::thread::Builder::new()
        .name(format!("{NAME}{number}"))
        .spawn(move || runtime.block_on(process.drained()))
        .context("cannot start the thread of a core")?;
    Ok(Core { runtime: handle, open: AtomicUsize::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_goes_to_the_core_that_has_the_fewest() {
        let core = || Arc::new(Core { runtime: Handle::current(), open: AtomicUsize::new(0) });
        let cores = Cores(vec![core(), core(), core()]);
        let open = || cores.0.iter().map(|core| core.open.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let mut places: Vec<_> = (0..7).filter_map(|_| cores.place()).collect();
        assert_eq!(open(), [3, 2, 2]);
        // The second core loses both of its connections and gets the next two.
        places.remove(4);
        places.remove(1);
        assert_eq!(open(), [3, 0, 2]);
        places.extend((0..2).filter_map(|_| cores.place()));
        assert_eq!(open(), [3, 2, 2]);
        places.clear();
        assert_eq!(open(), [0, 0, 0]);
        assert!(Cores::default().place().is_none());
    }
}
