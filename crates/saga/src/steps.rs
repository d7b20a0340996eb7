//! The table: each step with who takes it, on what, in which states, what it makes of them and what it tells.
//!
//! A step of ours is one commit. What a worker knows of the gateway it has from an answer or from a look, so its steps name
//! the intent's state as a condition; what it sends is a call, which may arrive, be lost, or arrive long after.

use crate::state::{Call, Charge, Intent, Message, Order, Participant, Refund, Reservation};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    SignUp,
    PlaceOrder,
    CancelOrder,
    /// Money of a sale that stands goes back, in part or whole, as often as there is some left.
    RefundOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The stock took too long.
    StockDeadline,
    /// The payment took too long.
    PaymentDeadline,
    /// The payment worker goes on with an attempt: after an answer, a webhook or a pause.
    Payment,
}

/// What sets a step off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    Command(Command),
    Message(Message),
    Timer(Timer),
    /// A call of ours that reached the gateway.
    Call(Call),
    /// The bank behind the gateway made up its mind.
    Bank,
    /// A time-out, or an answer that says nothing.
    NoAnswer,
}

/// In which states a step is taken; an empty list means any.
#[derive(Clone, Copy, Debug)]
pub struct When {
    pub order: &'static [Order],
    pub charge: &'static [Charge],
    pub refund: &'static [Refund],
    pub reservation: &'static [Reservation],
    pub intent: &'static [Intent],
    pub giving_up: Option<bool>,
    pub capture_requested: Option<bool>,
    /// Whether a unit is for sale.
    pub in_stock: Option<bool>,
}

/// What a step commits; `None` leaves a thing as it is.
#[derive(Clone, Copy, Debug)]
pub struct Then {
    pub order: Option<Order>,
    pub charge: Option<Charge>,
    pub refund: Option<Refund>,
    pub reservation: Option<Reservation>,
    pub intent: Option<Intent>,
    pub gives_up: bool,
    pub requests_capture: bool,
    /// Units that become for sale (or stop being so).
    pub units: i8,
    pub tells: &'static [Message],
    pub calls: &'static [Call],
    pub in_spite: bool,
}

const ANY: When = When {
    order: &[],
    charge: &[],
    refund: &[],
    reservation: &[],
    intent: &[],
    giving_up: None,
    capture_requested: None,
    in_stock: None,
};

const NOTHING: Then = Then {
    order: None,
    charge: None,
    refund: None,
    reservation: None,
    intent: None,
    gives_up: false,
    requests_capture: false,
    units: 0,
    tells: &[],
    calls: &[],
    in_spite: false,
};

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub name: &'static str,
    pub at: Participant,
    pub on: Trigger,
    pub when: When,
    pub then: Then,
    /// Something that goes wrong; an exploration may allow only so many of them.
    pub fault: bool,
}

const fn step(name: &'static str, at: Participant, on: Trigger, when: When, then: Then) -> Step {
    Step { name, at, on, when, then, fault: false }
}

const fn fault(name: &'static str, at: Participant, on: Trigger, when: When, then: Then) -> Step {
    Step { name, at, on, when, then, fault: true }
}

use Participant::{Catalog, Gateway, OrderPayment, User};

const OPEN: &[Charge] = &[Charge::Prepared, Charge::Sent, Charge::Authorised, Charge::Unknown];
/// Something that could move money was sent.
const UNDER_WAY: &[Charge] = &[Charge::Sent, Charge::Authorised, Charge::Unknown];
const ON_PAYMENT: Trigger = Trigger::Timer(Timer::Payment);
const COMPENSATED: Then = Then { order: Some(Order::Compensated), tells: &[Message::OrderCompensated], ..NOTHING };

/// The whole saga.
pub static STEPS: &[Step] = &[
    step(
        "sign up",
        User,
        Trigger::Command(Command::SignUp),
        ANY,
        Then { tells: &[Message::UserRegistered], ..NOTHING },
    ),
    step("know the owner", OrderPayment, Trigger::Message(Message::UserRegistered), ANY, NOTHING),
    step(
        "place the order",
        OrderPayment,
        Trigger::Command(Command::PlaceOrder),
        When { order: &[Order::None], ..ANY },
        Then { order: Some(Order::Created), tells: &[Message::OrderCreated], ..NOTHING },
    ),
    // the catalog holds or refuses
    step(
        "hold all lines",
        Catalog,
        Trigger::Message(Message::OrderCreated),
        When { reservation: &[Reservation::None], in_stock: Some(true), ..ANY },
        Then { reservation: Some(Reservation::Held), units: -1, tells: &[Message::StockReserved], ..NOTHING },
    ),
    step(
        "refuse: out of stock",
        Catalog,
        Trigger::Message(Message::OrderCreated),
        When { reservation: &[Reservation::None], in_stock: Some(false), ..ANY },
        Then { reservation: Some(Reservation::Rejected), tells: &[Message::StockRejected], ..NOTHING },
    ),
    step(
        "nothing to hold any more",
        Catalog,
        Trigger::Message(Message::OrderCreated),
        When {
            reservation: &[Reservation::Held, Reservation::Rejected, Reservation::Released, Reservation::Finalised],
            ..ANY
        },
        NOTHING,
    ),
    // order-payment hears of it
    step(
        "begin the payment",
        OrderPayment,
        Trigger::Message(Message::StockReserved),
        When { order: &[Order::Created], ..ANY },
        Then {
            order: Some(Order::PaymentPending),
            charge: Some(Charge::Prepared),
            tells: &[Message::OrderPaymentPending],
            ..NOTHING
        },
    ),
    step(
        "held too late or twice",
        OrderPayment,
        Trigger::Message(Message::StockReserved),
        When { order: &[Order::PaymentPending, Order::Completed, Order::Compensated], ..ANY },
        NOTHING,
    ),
    step(
        "give up: out of stock",
        OrderPayment,
        Trigger::Message(Message::StockRejected),
        When { order: &[Order::Created], ..ANY },
        COMPENSATED,
    ),
    step(
        "refused too late or twice",
        OrderPayment,
        Trigger::Message(Message::StockRejected),
        When { order: &[Order::Compensated], ..ANY },
        NOTHING,
    ),
    // before the payment an order ends on the spot
    step(
        "cancel before the payment",
        OrderPayment,
        Trigger::Command(Command::CancelOrder),
        When { order: &[Order::Created], ..ANY },
        COMPENSATED,
    ),
    step(
        "expire before the payment",
        OrderPayment,
        Trigger::Timer(Timer::StockDeadline),
        When { order: &[Order::Created], ..ANY },
        COMPENSATED,
    ),
    // during it, it is asked to
    step(
        "ask to cancel",
        OrderPayment,
        Trigger::Command(Command::CancelOrder),
        When {
            order: &[Order::PaymentPending],
            charge: OPEN,
            giving_up: Some(false),
            capture_requested: Some(false),
            ..ANY
        },
        Then { gives_up: true, ..NOTHING },
    ),
    step(
        "ask to expire",
        OrderPayment,
        Trigger::Timer(Timer::PaymentDeadline),
        When { order: &[Order::PaymentPending], charge: OPEN, giving_up: Some(false), ..ANY },
        Then { gives_up: true, ..NOTHING },
    ),
    // the payment worker
    step(
        "create the intent",
        OrderPayment,
        ON_PAYMENT,
        When { charge: &[Charge::Prepared], intent: &[Intent::None], giving_up: Some(false), ..ANY },
        Then { calls: &[Call::Create], ..NOTHING },
    ),
    step(
        "give up: no such card",
        OrderPayment,
        ON_PAYMENT,
        When { order: &[Order::PaymentPending], charge: &[Charge::Prepared], intent: &[Intent::NoSuchCard], ..ANY },
        Then { charge: Some(Charge::Declined), ..COMPENSATED },
    ),
    step(
        "give up before anything was sent",
        OrderPayment,
        ON_PAYMENT,
        When { order: &[Order::PaymentPending], charge: &[Charge::Prepared], giving_up: Some(true), ..ANY },
        Then { charge: Some(Charge::Voided), calls: &[Call::Cancel], ..COMPENSATED },
    ),
    step(
        "commit to confirm",
        OrderPayment,
        ON_PAYMENT,
        When { charge: &[Charge::Prepared], intent: &[Intent::Open], giving_up: Some(false), ..ANY },
        Then { charge: Some(Charge::Sent), ..NOTHING },
    ),
    step(
        "confirm",
        OrderPayment,
        ON_PAYMENT,
        When { charge: &[Charge::Sent, Charge::Unknown], intent: &[Intent::Open], giving_up: Some(false), ..ANY },
        Then { calls: &[Call::Confirm], ..NOTHING },
    ),
    step(
        "commit to capture",
        OrderPayment,
        ON_PAYMENT,
        When { charge: &[Charge::Sent, Charge::Unknown], intent: &[Intent::Authorised], giving_up: Some(false), ..ANY },
        Then { charge: Some(Charge::Authorised), requests_capture: true, ..NOTHING },
    ),
    step(
        "capture",
        OrderPayment,
        ON_PAYMENT,
        When {
            charge: &[Charge::Authorised],
            intent: &[Intent::Authorised],
            giving_up: Some(false),
            capture_requested: Some(true),
            ..ANY
        },
        Then { calls: &[Call::Capture], ..NOTHING },
    ),
    step(
        "learn that it is declined",
        OrderPayment,
        ON_PAYMENT,
        When { charge: UNDER_WAY, intent: &[Intent::Declined], giving_up: Some(false), ..ANY },
        Then { gives_up: true, ..NOTHING },
    ),
    step(
        "cancel at the gateway",
        OrderPayment,
        ON_PAYMENT,
        When {
            charge: UNDER_WAY,
            intent: &[Intent::Open, Intent::Authorised, Intent::Declined],
            giving_up: Some(true),
            ..ANY
        },
        Then { calls: &[Call::Cancel], ..NOTHING },
    ),
    step(
        "give up with the gateway's word",
        OrderPayment,
        ON_PAYMENT,
        When { order: &[Order::PaymentPending], charge: UNDER_WAY, intent: &[Intent::Canceled], ..ANY },
        Then { charge: Some(Charge::Voided), ..COMPENSATED },
    ),
    step(
        "complete the order",
        OrderPayment,
        ON_PAYMENT,
        When { order: &[Order::PaymentPending], charge: UNDER_WAY, intent: &[Intent::Captured], ..ANY },
        Then {
            order: Some(Order::Completed),
            charge: Some(Charge::Captured),
            tells: &[Message::OrderCompleted],
            ..NOTHING
        },
    ),
    fault(
        "lose an answer",
        OrderPayment,
        Trigger::NoAnswer,
        When { charge: &[Charge::Sent, Charge::Authorised], ..ANY },
        Then { charge: Some(Charge::Unknown), ..NOTHING },
    ),
    // late money goes back
    step(
        "book late money and prepare its return",
        OrderPayment,
        ON_PAYMENT,
        When {
            order: &[Order::Compensated],
            charge: &[Charge::Declined, Charge::Voided],
            intent: &[Intent::Captured],
            ..ANY
        },
        Then { charge: Some(Charge::Captured), refund: Some(Refund::Prepared), ..NOTHING },
    ),
    step(
        "commit to refund",
        OrderPayment,
        ON_PAYMENT,
        When { refund: &[Refund::Prepared], ..ANY },
        Then { refund: Some(Refund::Sent), ..NOTHING },
    ),
    step(
        "refund",
        OrderPayment,
        ON_PAYMENT,
        When { refund: &[Refund::Sent, Refund::Unknown], intent: &[Intent::Captured], ..ANY },
        Then { calls: &[Call::Refund], ..NOTHING },
    ),
    step(
        "book the refund",
        OrderPayment,
        ON_PAYMENT,
        When { refund: &[Refund::Sent, Refund::Unknown], intent: &[Intent::Refunded], ..ANY },
        Then { refund: Some(Refund::Captured), ..NOTHING },
    ),
    fault(
        "lose the answer to a refund",
        OrderPayment,
        Trigger::NoAnswer,
        When { refund: &[Refund::Sent], ..ANY },
        Then { refund: Some(Refund::Unknown), ..NOTHING },
    ),
    // the gateway
    step(
        "make an intent",
        Gateway,
        Trigger::Call(Call::Create),
        When { intent: &[Intent::None], ..ANY },
        Then { intent: Some(Intent::Open), ..NOTHING },
    ),
    fault(
        "know no such card",
        Gateway,
        Trigger::Call(Call::Create),
        When { intent: &[Intent::None], ..ANY },
        Then { intent: Some(Intent::NoSuchCard), ..NOTHING },
    ),
    step(
        "authorise",
        Gateway,
        Trigger::Call(Call::Confirm),
        When { intent: &[Intent::Open], ..ANY },
        Then { intent: Some(Intent::Authorised), ..NOTHING },
    ),
    fault(
        "decline",
        Gateway,
        Trigger::Call(Call::Confirm),
        When { intent: &[Intent::Open], ..ANY },
        Then { intent: Some(Intent::Declined), ..NOTHING },
    ),
    fault(
        "decide later",
        Gateway,
        Trigger::Call(Call::Confirm),
        When { intent: &[Intent::Open], ..ANY },
        Then { intent: Some(Intent::Processing), ..NOTHING },
    ),
    step(
        "decide: yes",
        Gateway,
        Trigger::Bank,
        When { intent: &[Intent::Processing], ..ANY },
        Then { intent: Some(Intent::Authorised), ..NOTHING },
    ),
    step(
        "decide: no",
        Gateway,
        Trigger::Bank,
        When { intent: &[Intent::Processing], ..ANY },
        Then { intent: Some(Intent::Declined), ..NOTHING },
    ),
    step(
        "take the money",
        Gateway,
        Trigger::Call(Call::Capture),
        When { intent: &[Intent::Authorised], ..ANY },
        Then { intent: Some(Intent::Captured), ..NOTHING },
    ),
    fault(
        "decline to take it",
        Gateway,
        Trigger::Call(Call::Capture),
        When { intent: &[Intent::Authorised], ..ANY },
        Then { intent: Some(Intent::Declined), ..NOTHING },
    ),
    fault(
        "take it in spite of the cancel",
        Gateway,
        Trigger::Call(Call::Capture),
        When { intent: &[Intent::Canceled], ..ANY },
        Then { intent: Some(Intent::Captured), in_spite: true, ..NOTHING },
    ),
    step(
        "cancel the intent",
        Gateway,
        Trigger::Call(Call::Cancel),
        When { intent: &[Intent::Open, Intent::Authorised, Intent::Declined], ..ANY },
        Then { intent: Some(Intent::Canceled), ..NOTHING },
    ),
    step(
        "give the money back",
        Gateway,
        Trigger::Call(Call::Refund),
        When { intent: &[Intent::Captured], ..ANY },
        Then { intent: Some(Intent::Refunded), ..NOTHING },
    ),
    // the owner of the deadline says that the order is still open
    step(
        "extend the hold",
        Catalog,
        Trigger::Message(Message::OrderPaymentPending),
        When { reservation: &[Reservation::Held], ..ANY },
        Then { reservation: Some(Reservation::Held), ..NOTHING },
    ),
    step(
        "no hold to extend, or long enough",
        Catalog,
        Trigger::Message(Message::OrderPaymentPending),
        When {
            reservation: &[Reservation::Held, Reservation::Rejected, Reservation::Released, Reservation::Finalised],
            ..ANY
        },
        NOTHING,
    ),
    // the end, at the catalog
    step(
        "sell and send",
        Catalog,
        Trigger::Message(Message::OrderCompleted),
        When { reservation: &[Reservation::Held], ..ANY },
        Then {
            reservation: Some(Reservation::Finalised),
            tells: &[Message::StockFinalised, Message::ShipmentCreated],
            ..NOTHING
        },
    ),
    step(
        "sold already",
        Catalog,
        Trigger::Message(Message::OrderCompleted),
        When { reservation: &[Reservation::Finalised], ..ANY },
        NOTHING,
    ),
    step(
        "release",
        Catalog,
        Trigger::Message(Message::OrderCompensated),
        When { reservation: &[Reservation::Held], ..ANY },
        Then { reservation: Some(Reservation::Released), units: 1, tells: &[Message::StockReleased], ..NOTHING },
    ),
    step(
        "leave a tombstone",
        Catalog,
        Trigger::Message(Message::OrderCompensated),
        When { reservation: &[Reservation::None], ..ANY },
        Then { reservation: Some(Reservation::Released), ..NOTHING },
    ),
    step(
        "nothing to release",
        Catalog,
        Trigger::Message(Message::OrderCompensated),
        When { reservation: &[Reservation::Rejected, Reservation::Released], ..ANY },
        NOTHING,
    ),
    step(
        "show the shipment",
        OrderPayment,
        Trigger::Message(Message::ShipmentCreated),
        When { order: &[Order::Completed], ..ANY },
        NOTHING,
    ),
    // after the sale
    step(
        "tell of a refund",
        OrderPayment,
        Trigger::Command(Command::RefundOrder),
        When { order: &[Order::Completed], ..ANY },
        Then { tells: &[Message::OrderRefunded], ..NOTHING },
    ),
    step(
        "take goods back, or leave them",
        Catalog,
        Trigger::Message(Message::OrderRefunded),
        When { reservation: &[Reservation::Finalised], ..ANY },
        NOTHING,
    ),
];
