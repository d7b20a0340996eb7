//! Crash points: named places at which a test may stop the process as a power cut would, to show that the next start goes
//! on from there. Every durable step of this crate has one before and after it; services add their own around calls to
//! the outside.
//!
//! Without the feature `crash-points` (testkit turns it on) a point is nothing at all.

/// The process stopped here. Whoever gets this error stops as well, without tidying up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process stopped at crash point {0}")]
pub struct Crashed(pub &'static str);

/// A place where a test may stop the process.
///
/// # Errors
/// [`Crashed`] when the test that runs this task chose this point.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_name: &'static str) -> Result<(), Crashed> {
    Ok(())
}

#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn carried<F: Future>(work: F) -> F {
    work
}

#[cfg(feature = "crash-points")]
pub use planned::{Plan, carried, point, under};

#[cfg(feature = "crash-points")]
mod planned {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::Crashed;

    /// What one run passed through, and where it is to stop.
    #[derive(Debug, Default)]
    pub struct Plan {
        /// Stop at the n-th point passed (from 0); `None` only records.
        stop_at: Option<usize>,
        passed: Mutex<Vec<&'static str>>,
    }

    tokio::task_local! {
        static PLAN: Arc<Plan>;
    }

    impl Plan {
        /// Only records the points passed.
        pub fn recording() -> Arc<Self> {
            Arc::default()
        }

        /// Stops at the `n`-th point, and at every later one: a stopped process does nothing more.
        pub fn stopping_at(n: usize) -> Arc<Self> {
            Arc::new(Self { stop_at: Some(n), passed: Mutex::default() })
        }

        pub fn passed(&self) -> Vec<&'static str> {
            self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        fn pass(&self, name: &'static str) -> Result<(), Crashed> {
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            passed.push(name);
            match self.stop_at {
                Some(stop_at) if passed.len() > stop_at => Err(Crashed(name)),
                _ => Ok(()),
            }
        }
    }

    /// A place where a test may stop the process.
    ///
    /// # Errors
    /// [`Crashed`] when the plan of this task stops here or stopped before.
    pub fn point(name: &'static str) -> Result<(), Crashed> {
        PLAN.try_with(|plan| plan.pass(name)).unwrap_or(Ok(()))
    }

    /// Runs `work` under `plan`.
    pub async fn under<F: Future>(plan: Arc<Plan>, work: F) -> F::Output {
        PLAN.scope(plan, work).await
    }

    /// Carries the plan of the current task into work that will run on another task.
    pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
        let plan = PLAN.try_with(Arc::clone).ok();
        async move {
            match plan {
                Some(plan) => PLAN.scope(plan, work).await,
                None => work.await,
            }
        }
    }
}
