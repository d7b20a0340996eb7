//! The payment gateway with books of its own: keys and their stored answers, intents, captures, refunds, webhooks. It keeps
//! its word and its contract (one effect and one answer per key, refusals included); the network before it does not.
//!
//! There are two of it. They share these books, so that the checks read one truth, but neither knows what was made at the other: a call or
//! a look that goes to the wrong one finds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use common::{OrderId, Region};
use order_payment::domain::{Answer, Attempt, Call, Intent, IntentStatus, Look, Via, keys};
use order_payment::usecases::ports::{Gateway, Webhook};
use order_payment::usecases::receive_webhook::receive_webhook;

use crate::checks;
use crate::coverage::Rare;
use crate::extras::Stray;
use crate::faults::{CallFault, HookFault};
use crate::setup::Card;
use crate::world::{Here, Moment, OUTSIDE, SERVE, World, lock};

pub const REGION: Region = Region::Eu;
/// What our adapter waits for an answer.
const TIME_OUT_US: i64 = 10_000_000;
/// Deliveries of one webhook before the gateway gives up, and the pause between two.
const HOOK_TRIES: u32 = 8;
const HOOK_PAUSE_US: i64 = 5_000_000;

/// The second gateway. It speaks as the first does; another flow is tried by the suite that both adapters must pass.
pub const SECOND: &str = "second";
/// Calls that time out before the breaker in front of the first gateway opens.
const BREAKS_AFTER: u32 = 2;

/// From then on refunds work: everything has to come to its end.
const LAST_FAULT_US: i64 = 3_600_000_000;

/// One intent as the gateway knows it.
#[derive(Clone, Debug)]
pub struct Charge {
    pub intent: Intent,
    /// The gateway that made it.
    pub at: String,
    pub card: Card,
    /// Money taken, ever.
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// Taken after a cancel had been accepted: no word of the gateway's to rely on.
    pub in_spite: bool,
    /// No order of ours asked for it.
    pub stray: bool,
}

#[derive(Default)]
pub struct GatewayBooks {
    pub charges: BTreeMap<String, Charge>,
    answers: BTreeMap<String, Answer>,
    under_way: BTreeSet<String>,
    /// Refunds by key.
    pub refunds: BTreeMap<String, (String, i64)>,
    events: u64,
    /// The first gateway answers nobody.
    pub first_is_away: bool,
    /// Calls that it left without an answer since then.
    unanswered: u32,
    /// An operator has let new payments begin at the second.
    pub second_is_chosen: bool,
}

impl GatewayBooks {
    /// What was taken for an order, less what was given back.
    pub fn net_of(&self, order: OrderId) -> i64 {
        self.of(order).map(|charge| charge.captured_minor - charge.refunded_minor).sum()
    }

    /// The gateway broke its word about this order: it accepted a cancel and took the money.
    pub fn broke_its_word(&self, order: OrderId) -> bool {
        self.of(order).any(|charge| charge.in_spite)
    }

    /// The charge of an attempt, if the gateway that the attempt goes to made it.
    pub fn charge_of(&mut self, attempt: &Attempt) -> Option<&mut Charge> {
        let known = attempt.intent.as_ref().and_then(|id| self.charges.get_mut(id));
        known.filter(|charge| charge.at == attempt.via.name)
    }

    fn next_id(&self, at: &str) -> String {
        format!("{}_{}", if at == SECOND { "sq" } else { "pi" }, self.charges.len() + 1)
    }

    pub fn of(&self, order: OrderId) -> impl Iterator<Item = &Charge> {
        let order = order.to_string();
        self.charges.values().filter(move |charge| charge.intent.order.as_ref() == Some(&order))
    }
}

pub struct SimGateway {
    pub here: Here,
}

/// Each gateway knows its own keys.
pub fn key_of(call: Call, attempt: &Attempt) -> String {
    format!("{}/{}", attempt.via.name, keys::call_key(REGION, attempt, call))
}

/// The effect of a call, once per key; and the answer, the same at every repetition.
fn obey(
    world: &Arc<World>,
    call: Call,
    attempt: &Attempt,
    in_spite: bool,
    hook: &mut Vec<(HookKind, Charge)>,
) -> Answer {
    let key = key_of(call, attempt);
    let mut books = lock(&world.gateway);
    if let Some(answer) = books.answers.get(&key) {
        return answer.clone();
    }
    let answer = match call {
        Call::Create => books.create(world, attempt),
        Call::Refund => books.refund(&key, attempt, hook),
        Call::Confirm | Call::Capture | Call::Cancel => books.step(world, call, attempt, in_spite, hook),
    };
    books.answers.insert(key, answer.clone());
    drop(books);
    world.note(OUTSIDE, || format!("gateway {call:?} for {}: {}", short(attempt), say(&answer)));
    world.mix(call as u64);
    checks::after_effect(world);
    answer
}

pub fn short(attempt: &Attempt) -> String {
    format!("order {} attempt {}", &attempt.order.to_string()[..8], attempt.number)
}

fn say(answer: &Answer) -> String {
    match answer {
        Answer::Intent(intent) | Answer::Declined(Some(intent)) | Answer::StateRefused(Some(intent)) => {
            format!("{} {:?}", answer.label(), intent.status)
        }
        other => other.label().to_owned(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HookKind {
    Capturable,
    Succeeded,
    Failed,
    Canceled,
}

impl HookKind {
    fn code(self) -> &'static str {
        match self {
            Self::Capturable => "payment_intent.amount_capturable_updated",
            Self::Succeeded => "payment_intent.succeeded",
            Self::Failed => "payment_intent.payment_failed",
            Self::Canceled => "payment_intent.canceled",
        }
    }
}

impl GatewayBooks {
    fn create(&mut self, world: &World, attempt: &Attempt) -> Answer {
        let card = Card::of(attempt.token.open().as_str());
        if card == Card::Unknown {
            return Answer::TokenRefused;
        }
        let intent = Intent {
            id: self.next_id(&attempt.via.name),
            status: IntentStatus::RequiresConfirmation,
            declined: false,
            amount_minor: attempt.amount.minor(),
            currency: attempt.amount.currency().code().to_owned(),
            order: Some(attempt.order.to_string()),
            attempt: Some(attempt.number),
            created_unix: crate::setup::start_s() + world.now_us() / 1_000_000,
            refunded_minor: None,
        };
        let charge = Charge {
            intent: intent.clone(),
            at: attempt.via.name.clone(),
            card,
            captured_minor: 0,
            refunded_minor: 0,
            in_spite: false,
            stray: false,
        };
        self.charges.insert(intent.id.clone(), charge);
        Answer::Intent(intent)
    }

    fn step(
        &mut self,
        world: &Arc<World>,
        call: Call,
        attempt: &Attempt,
        in_spite: bool,
        hook: &mut Vec<(HookKind, Charge)>,
    ) -> Answer {
        use IntentStatus::{
            Canceled, Declined, Processing, RequiresAction, RequiresCapture, RequiresConfirmation, Succeeded,
        };
        let late_at_first = self.second_is_chosen && attempt.via.name != SECOND;
        let Some(charge) = self.charge_of(attempt) else {
            return Answer::NotFound;
        };
        let status = charge.intent.status;
        if late_at_first && matches!(call, Call::Capture | Call::Cancel) && status == RequiresCapture {
            world.count(Rare::EndedAtFirst);
        }
        match (call, status) {
            (Call::Confirm, RequiresConfirmation | Declined) => match charge.card {
                Card::Declined => {
                    charge.intent.status = Declined;
                    charge.intent.declined = true;
                    hook.push((HookKind::Failed, charge.clone()));
                    return Answer::Declined(Some(charge.intent.clone()));
                }
                Card::Slow | Card::SlowNo => {
                    charge.intent.status = Processing;
                    let (id, yes) = (charge.intent.id.clone(), charge.card == Card::Slow);
                    decide_later(world, id, yes, RequiresCapture);
                }
                Card::Action => charge.intent.status = RequiresAction,
                Card::Good | Card::DeclinedAtCapture | Card::Unknown => {
                    charge.intent.status = RequiresCapture;
                    hook.push((HookKind::Capturable, charge.clone()));
                }
            },
            (Call::Capture, RequiresCapture) if charge.card == Card::DeclinedAtCapture => {
                charge.intent.declined = true;
                hook.push((HookKind::Failed, charge.clone()));
                world.count(Rare::DeclinedAtCapture);
                return Answer::Declined(Some(charge.intent.clone()));
            }
            (Call::Capture, RequiresCapture) => {
                if charge.at == SECOND {
                    world.count(Rare::CapturedBySecond);
                }
                charge.take(hook);
            }
            (Call::Capture, Canceled) if in_spite => {
                world.count(Rare::ChargedInSpite);
                charge.in_spite = true;
                charge.take(hook);
            }
            (Call::Cancel, RequiresConfirmation | Declined | RequiresCapture | RequiresAction) => {
                charge.intent.status = Canceled;
                hook.push((HookKind::Canceled, charge.clone()));
            }
            (Call::Cancel, Canceled) | (Call::Capture, Succeeded) => {}
            _ => return Answer::StateRefused(Some(charge.intent.clone())),
        }
        Answer::Intent(charge.intent.clone())
    }

    fn refund(&mut self, key: &str, attempt: &Attempt, _hook: &mut [(HookKind, Charge)]) -> Answer {
        let Some(charge) = self.charge_of(attempt) else {
            return Answer::NotFound;
        };
        let amount = attempt.amount.minor();
        if charge.captured_minor - charge.refunded_minor < amount {
            return Answer::StateRefused(None);
        }
        charge.refunded_minor += amount;
        let id = charge.intent.id.clone();
        self.refunds.insert(key.to_owned(), (id, amount));
        Answer::Refunded { amount_minor: amount }
    }
}

impl Charge {
    fn take(&mut self, hook: &mut Vec<(HookKind, Self)>) {
        self.intent.status = IntentStatus::Succeeded;
        self.captured_minor += self.intent.amount_minor;
        hook.push((HookKind::Succeeded, self.clone()));
    }
}

/// The bank decides about a confirmation within seconds.
fn decide_later(world: &Arc<World>, id: String, yes: bool, next: IntentStatus) {
    let us = lock(&world.rng).between(50_000, 20_000_000);
    let here = Arc::clone(world);
    world.later(us, async move {
        let mut hook = Vec::new();
        if let Some(charge) = lock(&here.gateway).charges.get_mut(&id)
            && charge.intent.status == IntentStatus::Processing
        {
            charge.intent.status = if yes { next } else { IntentStatus::Declined };
            charge.intent.declined = !yes;
            hook.push((if yes { HookKind::Capturable } else { HookKind::Failed }, charge.clone()));
            here.count(Rare::ChargedLate);
        }
        here.note(OUTSIDE, || format!("the bank decides about {id}: {}", if yes { "yes" } else { "no" }));
        tell(&here, hook, false);
    });
}

/// Money is taken at a gateway although no order of ours asked for it: by a site that has forgotten the order, or by somebody with our
/// key. It names an order that does not exist, and nobody is told.
pub fn take_unasked(world: &World, stray: Stray) {
    let at = if stray.second { SECOND.to_owned() } else { Via::default().name };
    let order = uuid::Uuid::from_u128(u128::from(lock(&world.rng).draw()));
    {
        let mut books = lock(&world.gateway);
        let intent = Intent {
            id: books.next_id(&at),
            status: IntentStatus::Succeeded,
            declined: false,
            amount_minor: stray.minor,
            currency: REGION.currency().code().to_owned(),
            order: Some(order.to_string()),
            attempt: Some(1),
            created_unix: crate::setup::start_s() + world.now_us() / 1_000_000,
            refunded_minor: None,
        };
        let charge = Charge {
            intent: intent.clone(),
            at,
            card: Card::Good,
            captured_minor: stray.minor,
            refunded_minor: 0,
            in_spite: false,
            stray: true,
        };
        books.charges.insert(intent.id, charge);
    }
    world.count(Rare::StrayTaken);
    world.note(OUTSIDE, || format!("a gateway takes {} for an order that does not exist", stray.minor));
}

/// What becomes of a call or a look while the first gateway is away: the first ones time out, and then its breaker is open.
async fn away(world: &Arc<World>, attempt: &Attempt) -> Option<Answer> {
    let open = {
        let mut books = lock(&world.gateway);
        if !books.first_is_away || attempt.via.name == SECOND {
            return None;
        }
        books.unanswered += 1;
        books.unanswered > BREAKS_AFTER
    };
    if open {
        world.count(Rare::FirstAway);
        return Some(Answer::NotSent);
    }
    world.sleep(TIME_OUT_US).await;
    Some(Answer::Unknown("timed out".to_owned()))
}

#[async_trait]
impl Gateway for SimGateway {
    fn choice(&self) -> Via {
        let first = Via::default();
        if lock(&self.here.world.gateway).second_is_chosen { Via { name: SECOND.to_owned(), ..first } } else { first }
    }

    fn names(&self) -> Vec<String> {
        vec![Via::default().name, SECOND.to_owned()]
    }

    fn via(&self, name: &str) -> Option<Via> {
        self.names().into_iter().find(|known| known == name).map(|name| Via { name, ..Via::default() })
    }

    async fn send(&self, call: Call, attempt: &Attempt) -> Answer {
        let (here, world) = (&self.here, &self.here.world);
        // Refunds are so rare that waiting for a drawn fault would never show one going wrong.
        let fault = lock(&world.plan).call().or_else(|| (call == Call::Refund).then(|| refund_fault(world)).flatten());
        if fault == Some(CallFault::NotSent) {
            return Answer::NotSent;
        }
        here.moment(Moment::BeforeSend).await;
        if let Some(answer) = away(world, attempt).await {
            return answer;
        }
        let key = key_of(call, attempt);
        if lock(&world.gateway).under_way.contains(&key) {
            world.count(Rare::KeyInProgress);
            return Answer::InProgress;
        }
        world.note(here.process, || {
            format!(
                "sends {call:?} for {} {}",
                short(attempt),
                fault.map_or(String::new(), |fault| format!("({fault:?})"))
            )
        });
        let answer = match fault {
            Some(CallFault::Throttled) => Answer::Throttled(Some(std::time::Duration::from_secs(2))),
            Some(CallFault::LostRequest) => {
                world.sleep(TIME_OUT_US).await;
                Answer::Unknown("timed out".to_owned())
            }
            Some(CallFault::ErrorBefore) => Answer::Unknown("500".to_owned()),
            Some(CallFault::LostAnswer) => {
                done(world, call, attempt, false);
                world.sleep(TIME_OUT_US).await;
                Answer::Unknown("timed out".to_owned())
            }
            Some(CallFault::ErrorAfter) => {
                done(world, call, attempt, false);
                Answer::Unknown("500".to_owned())
            }
            Some(CallFault::Late { ms }) => {
                late(world, call, attempt, ms, false);
                world.sleep(TIME_OUT_US).await;
                Answer::Unknown("timed out".to_owned())
            }
            Some(CallFault::LateInSpite { ms }) => {
                late(world, call, attempt, ms, true);
                world.sleep(TIME_OUT_US).await;
                Answer::Unknown("timed out".to_owned())
            }
            Some(CallFault::NotSent) | None => done(world, call, attempt, false),
        };
        if call == Call::Refund && matches!(answer, Answer::Unknown(_)) {
            world.count(Rare::RefundUnknown);
        }
        here.moment(Moment::AfterEffect).await;
        answer
    }

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer {
        let (here, world) = (&self.here, &self.here.world);
        let lost = lock(&world.plan).look();
        here.moment(Moment::BeforeSend).await;
        if lost {
            world.sleep(TIME_OUT_US).await;
            return Answer::Unknown("timed out".to_owned());
        }
        if let Some(answer) = away(world, attempt).await {
            return answer;
        }
        let answer = lock(&world.gateway).shows(look, attempt);
        if look == Look::Refund {
            return answer;
        }
        world.note(here.process, || format!("looks ({look:?}) for {}: {}", short(attempt), say(&answer)));
        here.moment(Moment::AfterEffect).await;
        answer
    }

    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String> {
        Ok(self.made_between(from, to).await?.into_iter().map(|(_, intent)| intent).collect())
    }

    async fn made_between(&self, from: i64, to: i64) -> Result<Vec<(Via, Intent)>, String> {
        self.here.moment(Moment::BeforeSend).await;
        let books = lock(&self.here.world.gateway);
        if books.first_is_away {
            return Err("the first gateway does not answer".to_owned());
        }
        Ok(books.list(from, to))
    }
}

/// Half of the refunds meet something of their own, while it is still time for faults.
fn refund_fault(world: &World) -> Option<CallFault> {
    if world.now_us() > LAST_FAULT_US {
        return None;
    }
    match lock(&world.rng).below(6) {
        0 => Some(CallFault::LostRequest),
        1 => Some(CallFault::LostAnswer),
        2 => Some(CallFault::ErrorAfter),
        _ => None,
    }
}

fn done(world: &Arc<World>, call: Call, attempt: &Attempt, in_spite: bool) -> Answer {
    let mut hook = Vec::new();
    let answer = obey(world, call, attempt, in_spite, &mut hook);
    tell(world, hook, true);
    answer
}

/// The request was only delayed: it has its effect when nobody waits for it any more.
fn late(world: &Arc<World>, call: Call, attempt: &Attempt, ms: i64, in_spite: bool) {
    let key = key_of(call, attempt);
    // One that overtakes an accepted cancel was accepted before and is not found by its twin.
    if !in_spite {
        lock(&world.gateway).under_way.insert(key.clone());
    }
    let (here, attempt) = (Arc::clone(world), attempt.clone());
    world.later(ms * 1_000, async move {
        lock(&here.gateway).under_way.remove(&key);
        here.note(OUTSIDE, || format!("a late {call:?} arrives"));
        done(&here, call, &attempt, in_spite);
    });
}

/// Sends webhooks about changes, as good or bad as the plan wants them.
fn tell(world: &Arc<World>, changes: Vec<(HookKind, Charge)>, answer_pending: bool) {
    for (kind, charge) in changes {
        let mut fault = lock(&world.plan).hook();
        // A gateway that breaks its word often does not tell either: then the comparison of the books has to find it.
        if charge.in_spite && fault.is_none() && lock(&world.rng).percent(60) {
            fault = Some(HookFault::Lost);
        }
        let number = {
            let mut books = lock(&world.gateway);
            books.events += 1;
            books.events
        };
        let hook = |event_id: String, event_type: &str, amount: i64, body: &str| Webhook {
            gateway: charge.at.clone(),
            event_id,
            event_type: event_type.to_owned(),
            intent: charge.intent.id.clone(),
            order: charge.intent.order.as_ref().and_then(|order| order.parse().ok()),
            amount_minor: Some(amount),
            currency: Some(charge.intent.currency.clone()),
            body: body.as_bytes().to_vec(),
            received_at: chrono::DateTime::UNIX_EPOCH,
            tries: 0,
        };
        let amount = charge.intent.amount_minor;
        let id = format!("evt_{number}");
        let usual = lock(&world.rng).between(1_000, 400_000);
        let mut sent = vec![(usual, hook(id.clone(), kind.code(), amount, "1"))];
        match fault {
            None => {}
            Some(HookFault::Lost) => sent.clear(),
            Some(HookFault::Twice) => sent.push((usual * 2, hook(id, kind.code(), amount, "1"))),
            Some(HookFault::Late { ms }) => sent[0].0 = ms * 1_000,
            Some(HookFault::First) => {
                sent[0].0 = 0;
                if answer_pending {
                    world.count(Rare::WebhookFirst);
                }
            }
            Some(HookFault::OtherAmount) => {
                sent.push((usual * 2, hook(format!("{id}_x"), kind.code(), amount + 1, "1")))
            }
            Some(HookFault::Clash) => sent.push((usual * 2, hook(id, kind.code(), amount, "2"))),
            Some(HookFault::Contradicts) => {
                sent.push((usual * 2, hook(format!("{id}_no"), HookKind::Failed.code(), amount, "1")))
            }
        }
        for (us, hook) in sent {
            let here = Arc::clone(world);
            world.later(us, deliver(here, hook));
        }
    }
}

/// Delivers one webhook until our side has kept it.
async fn deliver(world: Arc<World>, hook: Webhook) {
    for _ in 0..HOOK_TRIES {
        let app = lock(&world.apps).serve.clone();
        if let Some(app) = app
            && world.is_alive(SERVE)
        {
            let mut hook = hook.clone();
            hook.received_at = app.clock.now();
            let kept = Arc::new(std::sync::Mutex::new(false));
            let (inside, told) = (Arc::clone(&world), Arc::clone(&kept));
            world.spawn(SERVE, async move {
                if let Ok(outcome) = receive_webhook(&app, hook, Some(REGION.code())).await {
                    if outcome == order_payment::usecases::ports::Kept::Clash {
                        inside.count(Rare::WebhookClash);
                    }
                    *lock(&told) = true;
                    inside.notify(crate::world::Channel::Webhooks);
                }
            });
            world.sleep(HOOK_PAUSE_US).await;
            if *lock(&kept) {
                return;
            }
        } else {
            world.sleep(HOOK_PAUSE_US).await;
        }
    }
    world.note(OUTSIDE, || "a webhook was never taken".to_owned());
}
