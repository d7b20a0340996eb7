//! Latencies of a run, counted from when something was due, and whether they mean anything.

use std::time::Duration;

/// A send this much after its moment is late; with more than one in a thousand of these the percentiles mean nothing.
const LATE: Duration = Duration::from_millis(5);

#[derive(Default)]
pub struct Times {
    micros: Vec<u32>,
    /// In open loop.
    sends: u64,
    pub late: u64,
}

impl Times {
    /// Something was sent in open loop, `after` its moment.
    pub fn sent(&mut self, after: Duration) {
        self.sends += 1;
        self.late += u64::from(after > LATE);
    }

    /// Something was done, `after` its moment.
    pub fn done(&mut self, after: Duration) {
        self.micros.push(u32::try_from(after.as_micros()).unwrap_or(u32::MAX));
    }

    /// `None` when too many were sent late, or nothing was done.
    pub fn percentile_ms(&mut self, share: f64) -> Option<f64> {
        self.micros.sort_unstable();
        let place = ((self.micros.len() as f64 * share).ceil() as usize).saturating_sub(1);
        let meaningful = self.late * 1_000 <= self.sends;
        self.micros.get(place).filter(|_| meaningful).map(|micros| f64::from(*micros) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen_and_vanish_with_late_sends() {
        let mut times = Times::default();
        assert_eq!(times.percentile_ms(0.5), None, "nothing was done");
        for millis in (1..=100).rev() {
            times.sent(Duration::ZERO);
            times.done(Duration::from_millis(millis));
        }
        assert_eq!(times.percentile_ms(0.5), Some(50.0));
        assert_eq!(times.percentile_ms(0.99), Some(99.0));
        times.sent(Duration::from_millis(6));
        assert_eq!(times.percentile_ms(0.99), None, "one late send in a hundred");
    }
}
