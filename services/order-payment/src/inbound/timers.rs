//! What happens without being asked: payments go on, deadlines pass, books are compared. Each duty is a loop that looks at
//! the state, does what is due, and waits for a signal or its timer.
//!
//! A duty that fails is logged and tried again at its next turn; nothing it would have done is lost, because the state says
//! what is due.

use std::sync::Arc;
use std::time::Duration;

use chrono::Timelike as _;
use common::Explain as _;
use messaging::crash;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::Attempt;
use crate::metrics;
use crate::usecases::backlog::see_backlog;
use crate::usecases::change_cart::sweep_carts;
use crate::usecases::compensate_order::sweep_deadlines;
use crate::usecases::orphan_money::refund_orphans;
use crate::usecases::process_payment::{CONCURRENCY, carry_claimed, claim_payments, give_back};
use crate::usecases::receive_webhook::{MOST_TOGETHER as MOST_WEBHOOKS, process_webhooks};
use crate::usecases::reconcile::{reconcile, reconcile_recent};
use crate::usecases::seal_ledger::{MOST_LEAVES, seal_ledger};
use crate::usecases::settle_day::settle_recent_days;
use crate::usecases::store_credit::sweep_paid_by_credit;
use crate::usecases::{App, Failure};

/// The longest a due payment waits when no signal came: it was made due by another process. One indexed read each time.
const PAYMENTS_EVERY: Duration = Duration::from_millis(250);
/// Places that are free before more is claimed under load: a claim is a commit, and one for each payment that ends would be as
/// many commits more. With fewer free places the timer claims.
const CLAIM_TOGETHER: usize = CONCURRENCY / 4;
/// Tries to give a claim back, and the pause between two: half of the lease, after which it is free anyway.
const RETURNS: usize = 10;
const RETURN_PAUSE: Duration = Duration::from_secs(1);
/// Webhooks come in through another process, so only the timer tells. A hint is worth less than the state it hints at: most payments have
/// ended when their webhook is looked at, and those of half a second share one hint and one commit.
const WEBHOOKS_EVERY: Duration = Duration::from_millis(500);
/// Deadlines are minutes away; two seconds more are nothing.
const DEADLINES_EVERY: Duration = Duration::from_secs(2);
/// Two days of orders are many: comparing all of them each minute took most of a core at two hundred thousand. What is older than an hour
/// has been compared sixty times.
const WHOLE_EVERY: Duration = Duration::from_secs(900);
/// A day is settled once; ten minutes more or less are nothing to a file that comes once a day.
const SETTLEMENTS_EVERY: Duration = Duration::from_secs(600);
/// What was written meanwhile can still be changed unseen by somebody with all rights; a few seconds leave little room and
/// make few seals.
const SEALS_EVERY: Duration = Duration::from_secs(5);
/// Orphans wait a day; ten seconds more are nothing.
const ORPHANS_EVERY: Duration = Duration::from_secs(10);
/// Nobody waits for a forgotten basket to be gone.
const CARTS_EVERY: Duration = Duration::from_secs(60);
/// Metrics are scraped about as often.
const BACKLOG_EVERY: Duration = Duration::from_secs(10);

/// Carries due payments, several at a time: one that waits for the gateway does not hold up the others. At the end those
/// under way are finished.
///
/// Each is a task of its own. While this loop waits for a connection to claim the next ones, nobody would look at those under way
/// otherwise, and the pool would hand its free connections to them, one after the other, for nothing.
pub async fn payments(app: Arc<App>, shutdown: CancellationToken) {
    let mut under_way = JoinSet::new();
    let mut looked: Option<Instant> = None;
    while !shutdown.is_cancelled() {
        let free = CONCURRENCY.saturating_sub(under_way.len());
        let overdue = looked.is_none_or(|at| at.elapsed() >= PAYMENTS_EVERY);
        if free >= CLAIM_TOGETHER || (free > 0 && overdue) {
            looked = Some(Instant::now());
            match claim_payments(&app, free).await {
                Ok(claimed) => {
                    for attempt in claimed {
                        let app = Arc::clone(&app);
                        under_way.spawn(crash::carried(async move { carry(&app, attempt).await }));
                    }
                }
                Err(failure) => complain("payments", &failure),
            }
        }
        tokio::select! {
            Some(ended) = under_way.join_next(), if !under_way.is_empty() => broken_off(ended),
            () = app.signals.payments.notified() => {}
            () = tokio::time::sleep(PAYMENTS_EVERY) => {}
            () = shutdown.cancelled() => {}
        }
    }
    while let Some(ended) = under_way.join_next().await {
        broken_off(ended);
    }
}

/// A payment whose task panicked is claimed again when its lease ends.
fn broken_off(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panicked) = ended {
        tracing::error!(error = %panicked, "a payment was broken off; it goes on when its lease ends");
    }
}

/// Carries one attempt; a claim that cannot be given back yet is tried again while its lease lasts.
async fn carry(app: &App, attempt: Attempt) {
    let Some(held) = carry_claimed(app, attempt).await else { return };
    for _ in 0..RETURNS {
        tokio::time::sleep(RETURN_PAUSE).await;
        if give_back(app, &held).await {
            return;
        }
    }
}

/// Works off kept webhooks.
pub async fn webhooks(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match process_webhooks(&app).await {
            Ok(count) if count < usize::from(MOST_WEBHOOKS) => {}
            Ok(_) => continue,
            Err(failure) => complain("webhooks", &failure),
        }
        pause(WEBHOOKS_EVERY, &shutdown).await;
    }
}

/// Gives up on orders that are past their deadline.
pub async fn deadlines(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(failure) = sweep_deadlines(&app).await {
            complain("deadlines", &failure);
        }
        if let Err(failure) = sweep_paid_by_credit(&app).await {
            complain("store credit", &failure);
        }
        pause(DEADLINES_EVERY, &shutdown).await;
    }
}

/// Forgets visitors' baskets that are over.
pub async fn carts(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match sweep_carts(&app).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(failure) => complain("carts", &failure),
        }
        pause(CARTS_EVERY, &shutdown).await;
    }
}

/// Compares the gateway's books with ours: what is recent each time, everything now and then.
pub async fn reconciler(app: Arc<App>, every: Duration, shutdown: CancellationToken) {
    let mut whole: Option<Instant> = None;
    loop {
        pause(every, &shutdown).await;
        if shutdown.is_cancelled() {
            return;
        }
        if let Err(failure) = reconcile_recent(&app).await {
            complain("reconciler", &failure);
        }
        if whole.is_none_or(|last| last.elapsed() >= WHOLE_EVERY) {
            whole = Some(Instant::now());
            if let Err(failure) = reconcile(&app).await {
                complain("reconciler", &failure);
            }
        }
    }
}

/// Settles the days that the gateways have closed, from this hour (UTC) on.
pub async fn settlements(app: Arc<App>, hour_utc: u8, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if app.clock.now().hour() >= u32::from(hour_utc)
            && let Err(failure) = settle_recent_days(&app).await
        {
            complain("settlements", &failure);
        }
        pause(SETTLEMENTS_EVERY, &shutdown).await;
    }
}

/// Sends back money that belongs to no order and whose deadline has passed.
pub async fn orphans(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(failure) = refund_orphans(&app).await {
            complain("orphans", &failure);
        }
        pause(ORPHANS_EVERY, &shutdown).await;
    }
}

/// Seals what was committed to the books.
pub async fn sealer(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match seal_ledger(&app).await {
            Ok(Some(seal)) if seal.last - seal.first + 1 >= i64::from(MOST_LEAVES) => continue,
            Ok(_) => {}
            Err(failure) if failure.is_lost() => {}
            Err(failure) => complain("sealer", &failure),
        }
        pause(SEALS_EVERY, &shutdown).await;
    }
}

/// Shows what is open.
pub async fn backlog(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match see_backlog(&app).await {
            Ok(backlog) => metrics::show_backlog(&backlog),
            Err(failure) => complain("backlog", &failure),
        }
        pause(BACKLOG_EVERY, &shutdown).await;
    }
}

fn complain(duty: &'static str, failure: &Failure) {
    tracing::warn!(duty, code = failure.code(), error = %failure, "a duty could not be done; it is tried again");
}

async fn pause(length: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = shutdown.cancelled() => {}
    }
}
