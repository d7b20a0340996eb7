//! The crash harness: a step is stopped at each of its crash points in turn, on a fresh world each time, then done again
//! as a redelivery would, twice. Whatever the check says of the faultless run must hold after every one of these.

use std::sync::Arc;

use messaging::crash::{Plan, under};

/// What a run of the harness went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survived {
    /// Crash points of one undisturbed step, in order; each was a stop once.
    pub points: Vec<&'static str>,
}

/// Shows that `step` may stop anywhere.
///
/// * `setup` makes a fresh world.
/// * `step` does one thing in it, the way a delivery or a request would; its result is not looked at, as nobody would see it.
/// * `check` asserts what must hold once the step has been repeated to its end.
///
/// # Panics
/// When the step passes no crash point (then the harness would prove nothing), or when `check` does.
pub async fn survives_every_crash<World>(
    setup: impl AsyncFn() -> World,
    step: impl AsyncFn(&World),
    check: impl AsyncFn(&World, &str),
) -> Survived {
    let recording = Plan::recording();
    let world = setup().await;
    under(Arc::clone(&recording), step(&world)).await;
    check(&world, "without a crash").await;
    step(&world).await;
    check(&world, "done twice").await;

    let points = recording.passed();
    assert!(!points.is_empty(), "the step passes no crash point, so stopping at each would prove nothing");
    for (n, point) in points.iter().enumerate() {
        let world = setup().await;
        let plan = Plan::stopping_at(n);
        under(Arc::clone(&plan), step(&world)).await;
        assert_eq!(plan.passed().get(n), Some(point), "the step takes another way when it is watched");
        step(&world).await;
        check(&world, &format!("stopped at {point} (point {n}), then repeated")).await;
        step(&world).await;
        check(&world, &format!("stopped at {point} (point {n}), then repeated twice")).await;
    }
    Survived { points }
}

/// Every order of `items`, for shuffled deliveries. Keep the list short: six items have 720 orders.
pub fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(place);
        for mut tail in permutations(&rest) {
            tail.insert(0, first.clone());
            all.push(tail);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A step with a planted bug: it adds before it remembers that it has added.
    #[tokio::test]
    #[should_panic(expected = "stopped at between")]
    async fn the_harness_catches_a_step_that_is_not_atomic() {
        struct World {
            sum: AtomicU32,
            done: AtomicU32,
        }
        survives_every_crash(
            async || World { sum: AtomicU32::new(0), done: AtomicU32::new(0) },
            async |world: &World| {
                if world.done.load(Ordering::Relaxed) == 0 {
                    world.sum.fetch_add(1, Ordering::Relaxed);
                    if messaging::crash::point("between").is_err() {
                        return;
                    }
                    world.done.store(1, Ordering::Relaxed);
                }
            },
            async |world: &World, when: &str| assert_eq!(world.sum.load(Ordering::Relaxed), 1, "{when}"),
        )
        .await;
    }

    #[test]
    fn permutations_are_all_there() {
        assert_eq!(permutations(&[1, 2, 3]).len(), 6);
        assert_eq!(permutations::<u8>(&[]), vec![Vec::<u8>::new()]);
    }
}
