//! Whether memory stays flat while very many clicks are counted. Decided here: the last quarter of the samples is compared with the second
//! one. The first is left out, because caches, lists and profiles fill up in it.

use super::told::{Fed, Sample};

/// The mean of the last quarter may exceed that of the second by so much: allocators breathe, what grows with each click does not fit in.
const GROWTH: f64 = 1.10;
/// In each quarter; with fewer one breath of an allocator would be the mean.
pub const SAMPLES_OF_A_QUARTER: usize = 4;
/// What is judged among processes: the ones of ours on the path. The broker's heap has a limit of its own and is told.
const OURS: &str = "personalization";

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pub what: String,
    /// Means of the second and of the last quarter, in bytes.
    pub second: f64,
    pub last: f64,
    /// Bytes per million events, by least squares from the second quarter to the end.
    pub slope: f64,
    pub judged: bool,
}

impl Curve {
    pub fn is_flat(&self) -> bool {
        self.last <= self.second * GROWTH
    }
}

/// The curve of every process, of Redis and of one person; empty with too few samples.
pub fn curves(fed: &Fed) -> Vec<Curve> {
    if fed.samples.len() < 4 * SAMPLES_OF_A_QUARTER {
        return Vec::new();
    }
    let names = fed.samples.first().map(|sample| sample.rss.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut curves: Vec<Curve> = names
        .into_iter()
        .map(|name| {
            let judged = name.starts_with(OURS);
            // A process that is gone has no memory, and its curve would look flat: `broken` looks for that.
            let bytes = |sample: &Sample| sample.rss.get(&name).copied().unwrap_or(0);
            curve(&format!("{name}, resident"), judged, &fed.samples, bytes)
        })
        .collect();
    curves.push(curve("Redis, used", true, &fed.samples, |sample| sample.redis));
    curves.push(curve("one person", true, &fed.samples, |sample| sample.person));
    curves
}

fn curve(what: &str, judged: bool, samples: &[Sample], bytes: impl Fn(&Sample) -> u64) -> Curve {
    let quarter = samples.len() / 4;
    let mean = |part: &[Sample]| part.iter().map(|sample| bytes(sample) as f64).sum::<f64>() / part.len().max(1) as f64;
    Curve {
        what: what.to_owned(),
        second: mean(&samples[quarter..2 * quarter]),
        last: mean(&samples[samples.len() - quarter..]),
        slope: slope(&samples[quarter..], &bytes),
        judged,
    }
}

fn slope(samples: &[Sample], bytes: &impl Fn(&Sample) -> u64) -> f64 {
    let count = samples.len() as f64;
    let millions = |sample: &Sample| sample.events as f64 / 1e6;
    let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), one| (x + millions(one), y + bytes(one) as f64));
    let (x, y) = (x / count, y / count);
    let (mut over, mut under) = (0.0, 0.0);
    for one in samples {
        let step = millions(one) - x;
        over += step * (bytes(one) as f64 - y);
        under += step * step;
    }
    if under > 0.0 { over / under } else { 0.0 }
}

/// Every sentence of the promise that is broken; none when it is held. `events`: how many were to be counted.
pub fn broken(fed: &Fed, curves: &[Curve], events: u64) -> Vec<String> {
    let mut broken = Vec::new();
    if fed.events < events {
        broken.push(format!("only {} of {events} events were counted", fed.events));
    }
    if curves.is_empty() {
        broken.push(format!("{} samples are too few", fed.samples.len()));
    }
    if fed.evicted > 0 {
        broken.push(format!("a full Redis threw out {} entries", fed.evicted));
    }
    let missing =
        |sample: &&Sample| sample.redis == 0 || sample.person == 0 || sample.rss.values().any(|rss| *rss == 0);
    let missing = fed.samples.iter().filter(missing).count();
    if missing > 0 || fed.samples.iter().any(|sample| !sample.rss.keys().any(|name| name.starts_with(OURS))) {
        broken.push(format!("{missing} samples found a process gone, or no process of ours"));
    }
    for curve in curves.iter().filter(|curve| curve.judged && !curve.is_flat()) {
        broken.push(format!("{} grew by {:.0} %", curve.what, (curve.last / curve.second - 1.0) * 100.0));
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A hundred samples in fifty million events; `growth` in bytes per sample of the scorer.
    fn fed(growth: u64) -> Fed {
        let samples = (1..=100_u64).map(|place| {
            // It fills in the first quarter, and breathes.
            let filled = 60 * MIB * place.min(25) / 25 + (place % 7) * MIB;
            let rss = BTreeMap::from([
                ("kafka".to_owned(), 500 * MIB + place * MIB),
                ("personalization-work".to_owned(), filled + growth * place),
            ]);
            Sample { events: place * 500_000, rss, redis: 160 * MIB, person: 8_000 }
        });
        Fed { events: 50_000_000, people: 20_000, samples: samples.collect(), ..Fed::default() }
    }

    #[test]
    fn what_fills_up_and_breathes_is_flat_and_what_leaks_is_not() {
        let flat = fed(0);
        assert_eq!(broken(&flat, &curves(&flat), 50_000_000), Vec::<String>::new());
        // Planted: 0.4 bytes of each event stay.
        let leaking = fed(200_000);
        let found = curves(&leaking);
        let said = broken(&leaking, &found, 50_000_000);
        assert!(said.len() == 1 && said[0].starts_with("personalization-work, resident grew by "), "{said:?}");
        let scorer = found.iter().find(|curve| curve.what.starts_with("personalization")).expect("its curve");
        assert!((scorer.slope - 400_000.0).abs() < 40_000.0, "{scorer:?}");
    }

    #[test]
    fn people_and_redis_are_judged_and_the_brokers_heap_is_told() {
        let mut fed = fed(0);
        for sample in &mut fed.samples {
            sample.person += sample.events / 10_000;
            sample.redis += sample.events * 4;
        }
        let said = broken(&fed, &curves(&fed), 50_000_000);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("Redis, used grew") && said[1].starts_with("one person grew"), "{said:?}");
    }

    #[test]
    fn a_feed_that_shows_nothing_keeps_no_promise() {
        let told = |change: fn(&mut Fed)| {
            let mut fed = fed(0);
            change(&mut fed);
            broken(&fed, &curves(&fed), 50_000_000)
        };
        assert_eq!(told(|fed| fed.events -= 1), ["only 49999999 of 50000000 events were counted"]);
        assert_eq!(told(|fed| fed.evicted = 3), ["a full Redis threw out 3 entries"]);
        assert_eq!(told(|fed| fed.samples.truncate(15)), ["15 samples are too few"]);
        let gone = told(|fed| fed.samples[99].rss.values_mut().for_each(|rss| *rss = 0));
        assert_eq!(gone, ["1 samples found a process gone, or no process of ours"]);
    }
}
