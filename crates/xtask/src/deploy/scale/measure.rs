//! `cargo xtask scale --measure`: starts each program that grows by itself beside a running region, again and again, and notes how long it
//! takes until it is ready. Decided here: one at a time, on ports that nobody else has, with the region's own settings and stores; each
//! start includes the program's connections, as the start of a pod does. Not measured here: a node's work for a pod.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::start_times::{StartTimes, p95};
use crate::campaign::{commit, today};
use crate::drill::rolling::fleet::{Role, spare};
use crate::os;
use crate::stack::Stack;

/// What grows by itself, as the charts have it: all that serve, and the consumers of three services.
const PROGRAMS: [(&str, Role); 7] = [
    ("catalog", Role::Serve),
    ("catalog", Role::Work),
    ("order-payment", Role::Serve),
    ("order-payment", Role::Work),
    ("personalization", Role::Serve),
    ("personalization", Role::Work),
    ("user", Role::Serve),
];

/// Starts each of them `starts` times.
///
/// # Errors
/// When the region does not run, its programs are not the release builds, or one of them does not become ready.
pub fn measure(stack: &Stack, starts: usize) -> Result<StartTimes> {
    if starts == 0 {
        bail!("a time needs at least one start");
    }
    if stack.running("postgres").is_none() || stack.running("kafka").is_none() {
        bail!("the region at port offset {} does not run; start it with ./dev up --release", stack.ports.offset());
    }
    let mut p95_ms = BTreeMap::new();
    for (service, role) in PROGRAMS {
        let spec = spare(stack, service, role)?;
        if !spec.program.is_file() {
            bail!("{} is not built; run ./dev up --release", spec.program.display());
        }
        let mut times = Vec::new();
        for _ in 0..starts {
            os::check_interrupted()?;
            let began = Instant::now();
            let ready = spec.start(&stack.layout).and_then(|_| spec.wait_ready(&stack.layout));
            times.push(u32::try_from(began.elapsed().as_millis())?);
            // Also one that is not ready: nobody else would end it.
            stack.stop(&spec.name);
            ready?;
        }
        let name = format!("{service}-{}", role.name());
        let slow = p95(times).context("nothing was started")?;
        println!("{name}: {slow} ms from start to ready, {starts} starts");
        p95_ms.insert(name, slow);
    }
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let told = format!("measured {}, commit {}, {starts} starts each, {cores} cores", today()?, commit()?);
    Ok(StartTimes { told, p95_ms })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::deploy::objects;
    use crate::layout::checkout;

    #[test]
    fn whatever_grows_by_itself_somewhere_is_measured() {
        let measured: BTreeSet<String> =
            PROGRAMS.iter().map(|(service, role)| format!("{service}-{}", role.name())).collect();
        let sites = objects::read(&checkout()).unwrap();
        let objects = sites.iter().flat_map(|site| &site.objects).filter(|object| object.kind() == "ScaledObject");
        let grows: BTreeSet<String> = objects.map(|object| object.name().to_owned()).collect();
        assert_eq!(measured, grows);
    }
}
