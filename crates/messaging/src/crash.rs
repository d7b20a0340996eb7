//! Crash points: named places at which a test may stop the process as a power cut would, to show that the next start goes
//! on from there. Every durable step of the saga is a [`Boundary`] and goes through [`around`], which has a point before and
//! one after it; a step inside a step may have a [`point`] of its own.
//!
//! Without the feature `crash-points` (testkit turns it on) a point is nothing at all. With it, a test stops the task it
//! runs (`Plan`), or a program made for it watches each point and may end itself there (`watch`); no program of ours that
//! is deployed calls `watch`, so none has a setting that could.

pub use crate::boundary::{Boundary, Surrounds};

/// The process stopped here. Whoever gets this error stops as well, without tidying up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process stopped at crash point {0}")]
pub struct Crashed(pub &'static str);

/// Takes a durable step, with a crash point before and one after it.
///
/// # Errors
/// [`Crashed`] when the test that runs this task stops at one of the two. The step was taken, or not; that is the point.
#[inline]
pub async fn around<F: Future>(boundary: Boundary, step: F) -> Result<F::Output, Crashed> {
    point(boundary.before())?;
    let output = step.await;
    point(boundary.after())?;
    Ok(output)
}

/// [`around`] for a step that waits for nobody.
///
/// # Errors
/// As [`around`].
#[inline]
pub fn around_now<T>(boundary: Boundary, step: impl FnOnce() -> T) -> Result<T, Crashed> {
    point(boundary.before())?;
    let output = step();
    point(boundary.after())?;
    Ok(output)
}

#[cfg(not(feature = "crash-points"))]
pub(crate) use nothing::{about, around_commit, around_commits, kind, member};
#[cfg(not(feature = "crash-points"))]
pub use nothing::{carried, point};

#[cfg(feature = "crash-points")]
pub use planned::{Plan, Watch, about, carried, point, under, watch};
#[cfg(feature = "crash-points")]
pub(crate) use planned::{around_commit, around_commits, kind, member};

/// What the above is in every build that is deployed.
#[cfg(not(feature = "crash-points"))]
mod nothing {
    use super::Crashed;
    use crate::commit::Cause;

    /// A place where a test may stop the process.
    ///
    /// # Errors
    /// None in this build.
    #[inline(always)]
    pub fn point(_name: &'static str) -> Result<(), Crashed> {
        Ok(())
    }

    #[inline(always)]
    pub fn carried<F: Future>(work: F) -> F {
        work
    }

    #[inline(always)]
    pub(crate) async fn around_commit<F: Future>(_cause: &Cause, step: F) -> Result<F::Output, Crashed> {
        Ok(step.await)
    }

    #[inline(always)]
    pub(crate) async fn around_commits<'c, F: Future>(
        _causes: impl Iterator<Item = (&'c Cause, Option<&'static str>)>,
        step: F,
    ) -> Result<F::Output, Crashed> {
        Ok(step.await)
    }

    #[inline(always)]
    pub(crate) fn kind() -> Option<&'static str> {
        None
    }

    #[inline(always)]
    pub(crate) fn about<F: Future>(_kind: &'static str, work: F) -> F {
        work
    }

    #[inline(always)]
    pub(crate) fn member() -> Option<&'static str> {
        None
    }
}

#[cfg(feature = "crash-points")]
mod planned {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};

    use super::{Boundary, Crashed};
    use crate::commit::Cause;

    /// What one run passed through, and where it is to stop.
    #[derive(Debug, Default)]
    pub struct Plan {
        /// Stop at the n-th point passed (from 0); `None` only records.
        stop_at: Option<usize>,
        passed: Mutex<Vec<&'static str>>,
    }

    /// Sees every point of the whole process.
    pub struct Watch {
        pub passing: Box<dyn Fn(&'static str) + Send + Sync>,
        /// Name under which this process joins its consumer groups. A killed process that comes back under its name goes on at
        /// once, where the group would else wait for ten seconds whether it is really gone.
        pub member: String,
    }

    static WATCH: OnceLock<Watch> = OnceLock::new();

    tokio::task_local! {
        static PLAN: Arc<Plan>;
        /// The kind of event that is being handled.
        static KIND: &'static str;
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

    /// From now on `watch` sees every point of this process. The first one stays.
    pub fn watch(watch: Watch) {
        let _ = WATCH.set(watch);
    }

    pub(crate) fn member() -> Option<&'static str> {
        WATCH.get().map(|watch| watch.member.as_str())
    }

    /// A place where a test may stop the process.
    ///
    /// # Errors
    /// [`Crashed`] when the plan of this task stops here or stopped before.
    pub fn point(name: &'static str) -> Result<(), Crashed> {
        if let Some(watch) = WATCH.get() {
            (watch.passing)(name);
        }
        PLAN.try_with(|plan| plan.pass(name)).unwrap_or(Ok(()))
    }

    /// [`super::around`] for a commit, whose boundary is told by its cause. What has no row in the table (a service outside the
    /// saga, a test) passes `commit.before` and `commit.after_commit`.
    pub(crate) async fn around_commit<F: Future>(cause: &Cause, step: F) -> Result<F::Output, Crashed> {
        let boundary = boundary_of(cause, None);
        point(boundary.map_or("commit.before", Boundary::before))?;
        let output = step.await;
        point(boundary.map_or("commit.after_commit", Boundary::after))?;
        Ok(output)
    }

    /// [`super::around`] for a commit of many changes: a point for each row of the table that is among them. Each comes with the kind of
    /// event it is about: whoever commits for others handles another one.
    pub(crate) async fn around_commits<'c, F: Future>(
        causes: impl Iterator<Item = (&'c Cause, Option<&'static str>)>,
        step: F,
    ) -> Result<F::Output, Crashed> {
        let boundaries: BTreeSet<Boundary> = causes.filter_map(|(cause, about)| boundary_of(cause, about)).collect();
        boundaries.iter().try_for_each(|boundary| point(boundary.before()))?;
        let output = step.await;
        boundaries.iter().try_for_each(|boundary| point(boundary.after()))?;
        Ok(output)
    }

    fn boundary_of(cause: &Cause, about: Option<&'static str>) -> Option<Boundary> {
        let name = match cause {
            Cause::Request(request) => format!("{} {}", request.method, request.route),
            Cause::Message { consumer, .. } => format!("{} > {consumer}", about.or_else(kind)?),
            Cause::Duty(name) => (*name).to_owned(),
        };
        Boundary::ALL.iter().copied().find(|boundary| boundary.name() == name)
    }

    /// The kind of event that the present task handles.
    pub(crate) fn kind() -> Option<&'static str> {
        KIND.try_get().ok()
    }

    /// Runs the handling of an event, so that commits within it know of which kind it is.
    pub fn about<F: Future>(kind: &'static str, work: F) -> impl Future<Output = F::Output> {
        KIND.scope(kind, work)
    }

    /// Runs `work` under `plan`.
    pub async fn under<F: Future>(plan: Arc<Plan>, work: F) -> F::Output {
        PLAN.scope(plan, work).await
    }

    /// Carries the plan of the current task into work that will run on another task.
    pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
        let (plan, kind) = (PLAN.try_with(Arc::clone).ok(), KIND.try_get().ok());
        async move {
            let work = async move {
                match plan {
                    Some(plan) => PLAN.scope(plan, work).await,
                    None => work.await,
                }
            };
            match kind {
                Some(kind) => KIND.scope(kind, work).await,
                None => work.await,
            }
        }
    }
}
