//! Webhooks in the books in memory: kept once, ended once, forgotten when they are old.

use chrono::{DateTime, Duration, Utc};

use super::memory::Books;
use crate::usecases::ports::{Finding, FindingKind, Kept, Webhook, WebhookEnd};
use crate::usecases::receive_webhook::{KEPT_DAYS, MOST_FORGOTTEN};

pub fn keep(books: &mut Books, hook: &Webhook) -> Kept {
    let key = (hook.gateway.clone(), hook.event_id.clone());
    match books.webhooks.get(&key).map(|(known, ..)| known.body == hook.body) {
        None => {
            books.webhooks.insert(key, (hook.clone(), None, hook.received_at));
            Kept::New
        }
        Some(true) => Kept::Again,
        Some(false) => {
            let finding = Finding {
                kind: FindingKind::WebhookClash,
                reference: hook.event_id.clone(),
                order: hook.order,
                detail: String::new(),
                happened_at: Some(hook.received_at),
            };
            books.findings.insert((finding.kind, finding.reference.clone()), (finding, true));
            Kept::Clash
        }
    }
}

pub fn due(books: &Books, now: DateTime<Utc>, limit: usize) -> Vec<Webhook> {
    let waiting = books.webhooks.values().filter(|(_, end, due_at)| end.is_none() && *due_at <= now);
    waiting.take(limit).map(|(hook, ..)| Webhook { body: Vec::new(), ..hook.clone() }).collect()
}

pub fn finish(books: &mut Books, ended: &[(Webhook, WebhookEnd)], now: DateTime<Utc>) {
    for (hook, end) in ended {
        if let Some((kept, known_end, due_at)) = books.webhooks.get_mut(&(hook.gateway.clone(), hook.event_id.clone()))
            && known_end.is_none()
        {
            kept.tries += 1;
            match end {
                WebhookEnd::Later(at) => *due_at = *at,
                end => *known_end = Some(*end),
            }
        }
    }
    forget(books, now - Duration::days(KEPT_DAYS.into()));
}

/// A person needs it for a finding that is open.
fn is_evidence(books: &Books, hook: &Webhook) -> bool {
    let has = |kind, reference: &str| books.findings.get(&(kind, reference.to_owned())).is_some_and(|(_, open)| *open);
    has(FindingKind::WebhookClash, &hook.event_id) || has(FindingKind::RefundRefused, &hook.intent)
}

/// The oldest first.
fn forget(books: &mut Books, before: DateTime<Utc>) {
    let done_with = books.webhooks.iter().filter(|(_, (hook, end, _))| {
        end.is_some_and(WebhookEnd::is_done_with) && hook.received_at < before && !is_evidence(books, hook)
    });
    let mut old: Vec<_> = done_with.map(|(key, (hook, ..))| (hook.received_at, key.clone())).collect();
    old.sort();
    for (_, key) in old.into_iter().take(MOST_FORGOTTEN.into()) {
        books.webhooks.remove(&key);
    }
}
