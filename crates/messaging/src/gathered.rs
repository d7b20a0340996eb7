//! Questions of one kind that wait at the same time are asked together.
//!
//! Decided here: that nobody waits for company, and who asks for whom. Whoever comes first asks for all that wait; meanwhile the next
//! gather. When a question for many fails, or takes longer than [`PATIENCE`], or whoever asked it goes away, each is asked alone, so that
//! nobody fails or waits for another. Each answer is from after its question was put. [`Together`](crate::Together) is the same for changes.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, oneshot};

/// How long those who wait for the next question wait for this one. One is some milliseconds; a database that vanished without a word would
/// be waited for until the connection is given up, by everybody.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers to many keys; a key that there is nothing under is not among them.
type AskAll<K, V, E> = Box<dyn Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, E>> + Send + Sync>;

/// Where questions of one kind meet.
pub struct Gathered<K, V, E> {
    ask: AskAll<K, V, E>,
    /// Keys of one question: bounds how long its first waits for its last.
    most: usize,
    /// As long as there are callers: who went away is dropped before the next question.
    waiting: Mutex<Vec<Waiting<K, V>>>,
    leader: Semaphore,
}

struct Waiting<K, V> {
    key: K,
    answer: oneshot::Sender<Option<V>>,
}

impl<K, V, E> fmt::Debug for Gathered<K, V, E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gathered").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash, V: Clone, E> Gathered<K, V, E> {
    /// One question at a time for at most `most` keys.
    #[must_use]
    pub fn new<F>(most: usize, ask: F) -> Self
    where
        F: Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, E>> + Send + Sync + 'static,
    {
        Self { ask: Box::new(ask), most, waiting: Mutex::default(), leader: Semaphore::new(1) }
    }

    /// What there is under `key`.
    ///
    /// # Errors
    /// As the question alone.
    pub async fn ask(&self, key: K) -> Result<Option<V>, E> {
        let (sender, mut answer) = oneshot::channel();
        self.queue().push(Waiting { key: key.clone(), answer: sender });
        tokio::select! {
            biased;
            told = &mut answer => return self.told_or_alone(told.ok(), key).await,
            // Closed never.
            leading = self.leader.acquire() => if leading.is_ok() {
                // Those who are ready in this moment come along.
                tokio::task::yield_now().await;
                loop {
                    match answer.try_recv() {
                        Ok(told) => return Ok(told),
                        Err(TryRecvError::Empty) if self.ask_next().await => {}
                        Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                    }
                }
            }
        }
        self.told_or_alone(answer.try_recv().ok(), key).await
    }

    async fn told_or_alone(&self, told: Option<Option<V>>, key: K) -> Result<Option<V>, E> {
        match told {
            Some(told) => Ok(told),
            None => (self.ask)(vec![key.clone()]).await.map(|mut answers| answers.remove(&key)),
        }
    }

    /// Asks for the next of those who wait. `false`: nobody does. A question that fails is dropped with those who asked it, and they notice.
    async fn ask_next(&self) -> bool {
        let batch: Vec<Waiting<K, V>> = {
            let mut queue = self.queue();
            queue.retain(|waiting| !waiting.answer.is_closed());
            let count = queue.len().min(self.most);
            queue.drain(..count).collect()
        };
        if batch.is_empty() {
            return false;
        }
        let keys: Vec<K> = batch.iter().map(|waiting| waiting.key.clone()).collect();
        if let Ok(Ok(answers)) = tokio::time::timeout(PATIENCE, (self.ask)(keys)).await {
            for Waiting { key, answer } in batch {
                // Who went away needs none.
                let _ = answer.send(answers.get(&key).cloned());
            }
        }
        true
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Vec<Waiting<K, V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    #[derive(Default)]
    struct Asked {
        questions: AtomicUsize,
        keys: AtomicUsize,
    }

    /// Knows the double of every even number; fails with any question that has a seven in it.
    fn doubles(asked: &Arc<Asked>) -> Gathered<u32, u32, &'static str> {
        let asked = Arc::clone(asked);
        Gathered::new(64, move |keys: Vec<u32>| {
            asked.questions.fetch_add(1, Ordering::Relaxed);
            asked.keys.fetch_add(keys.len(), Ordering::Relaxed);
            Box::pin(async move {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                if keys.contains(&7) {
                    return Err("seven");
                }
                Ok(keys.into_iter().filter(|key| key % 2 == 0).map(|key| (key, key * 2)).collect())
            })
        })
    }

    #[tokio::test(start_paused = true)]
    async fn sixty_who_ask_at_once_are_one_question_and_each_has_its_own_answer() {
        let asked = Arc::new(Asked::default());
        let doubles = doubles(&asked);
        let answers = join_all((0..60).filter(|key| *key != 7).map(|key| doubles.ask(key))).await;
        for (key, answer) in (0..60).filter(|key| *key != 7).zip(answers) {
            assert_eq!(answer, Ok((key % 2 == 0).then_some(key * 2)), "{key}");
        }
        assert_eq!(asked.keys.load(Ordering::Relaxed), 59, "nobody was asked for twice");
        assert_eq!(asked.questions.load(Ordering::Relaxed), 1);
        assert_eq!(doubles.ask(100).await, Ok(Some(200)));
        assert_eq!(asked.questions.load(Ordering::Relaxed), 2, "who comes alone waits for nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_fails_fails_for_the_one_at_fault_alone() {
        let asked = Arc::new(Asked::default());
        let doubles = doubles(&asked);
        let answers = join_all((0..10).map(|key| doubles.ask(key))).await;
        for (key, answer) in (0..10).zip(answers) {
            let expected = if key == 7 { Err("seven") } else { Ok((key % 2 == 0).then_some(key * 2)) };
            assert_eq!(answer, expected, "{key}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_is_never_answered_keeps_nobody_else() {
        let first = AtomicUsize::new(0);
        let answers = Gathered::<u32, u32, ()>::new(64, move |keys| {
            // The first question meets a connection whose other end is gone.
            let hangs = first.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(keys.into_iter().map(|key| (key, key * 2)).collect())
            })
        });
        let begun = tokio::time::Instant::now();
        assert_eq!(tokio::join!(answers.ask(1), answers.ask(2)), (Ok(Some(2)), Ok(Some(4))));
        assert!(begun.elapsed() <= PATIENCE * 2, "the clock of the test stood still but for these");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_for_who_has_gone_away() {
        let asked = Arc::new(Asked::default());
        let doubles = doubles(&asked);
        let first = doubles.ask(2);
        let gone = async {
            for key in 10..20 {
                let _ = tokio::time::timeout(std::time::Duration::from_millis(1), doubles.ask(key)).await;
            }
            doubles.ask(4).await
        };
        assert_eq!(tokio::join!(first, gone), (Ok(Some(4)), Ok(Some(8))));
        assert!(asked.keys.load(Ordering::Relaxed) < 12, "those who had left were asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asked_for_all_and_goes_away_takes_nobodys_answer_along() {
        let asked = Arc::new(Asked::default());
        let doubles = doubles(&asked);
        let hasty = tokio::time::timeout(std::time::Duration::from_millis(1), doubles.ask(2));
        let (hasty, patient) = tokio::join!(hasty, join_all([4, 6].map(|key| doubles.ask(key))));
        assert!(hasty.is_err(), "it led, and left before the answer");
        assert_eq!(patient, [Ok(Some(8)), Ok(Some(12))]);
    }
}
