//! The words of the saga: who takes part, what is said, and everything one order can be at one moment.

use contracts::Topic;
use contracts::topics;

/// Who takes steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Participant {
    User,
    OrderPayment,
    Catalog,
    /// Outside: its steps are what it may do, not what we make it do.
    Gateway,
}

impl Participant {
    pub const ALL: [Self; 4] = [Self::User, Self::OrderPayment, Self::Catalog, Self::Gateway];

    /// As the table of topics names writers and readers.
    pub fn service(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::OrderPayment => "order-payment",
            Self::Catalog => "catalog",
            Self::Gateway => "gateway",
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As the code and the database spell it.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

words! {
    /// The order, at order-payment.
    Order { None = "NONE", Created = "CREATED", PaymentPending = "PAYMENT_PENDING", Completed = "COMPLETED", Compensated = "COMPENSATED" }
}

words! {
    /// The attempt to charge it, at order-payment.
    Charge { None = "NONE", Prepared = "PREPARED", Sent = "SENT", Authorised = "AUTHORISED", Unknown = "UNKNOWN", Captured = "CAPTURED", Declined = "DECLINED", Voided = "VOIDED" }
}

words! {
    /// The attempt to give late money back, at order-payment.
    Refund { None = "NONE", Prepared = "PREPARED", Sent = "SENT", Unknown = "UNKNOWN", Captured = "CAPTURED" }
}

words! {
    /// The reservation, at the catalog.
    Reservation { None = "NONE", Held = "HELD", Rejected = "REJECTED", Released = "RELEASED", Finalised = "FINALISED" }
}

words! {
    /// The intent, at the gateway.
    Intent { None = "none", Open = "requires_confirmation", Processing = "processing", Authorised = "requires_capture", Declined = "declined", Captured = "succeeded", Canceled = "canceled", Refunded = "refunded", NoSuchCard = "no such card" }
}

words! {
    /// What the payment worker asks of the gateway.
    Call { Create = "create", Confirm = "confirm", Capture = "capture", Cancel = "cancel", Refund = "refund" }
}

words! {
    /// What participants tell each other.
    Message {
        UserRegistered = "UserRegistered", OrderCreated = "OrderCreated", OrderPaymentPending = "OrderPaymentPending",
        OrderCompleted = "OrderCompleted", OrderCompensated = "OrderCompensated", OrderRefunded = "OrderRefunded", StockReserved = "StockReserved",
        StockRejected = "StockRejected", StockReleased = "StockReleased", StockFinalised = "StockFinalised",
        ShipmentCreated = "ShipmentCreated",
    }
}

impl Message {
    pub const COUNT: usize = Self::ALL.len();

    pub fn topic(self) -> &'static Topic {
        match self {
            Self::UserRegistered => &topics::USER_REGISTERED,
            Self::OrderCreated => &topics::ORDER_CREATED,
            Self::OrderPaymentPending => &topics::ORDER_PAYMENT_PENDING,
            Self::OrderCompleted => &topics::ORDER_COMPLETED,
            Self::OrderCompensated => &topics::ORDER_COMPENSATED,
            Self::OrderRefunded => &topics::ORDER_REFUNDED,
            Self::StockReserved => &topics::STOCK_RESERVED,
            Self::StockRejected => &topics::STOCK_REJECTED,
            Self::StockReleased => &topics::STOCK_RELEASED,
            Self::StockFinalised => &topics::STOCK_FINALISED,
            Self::ShipmentCreated => &topics::SHIPMENT_CREATED,
        }
    }

    /// The message that travels on a topic; `None` for a topic that is not the saga's.
    pub fn on(topic: &Topic) -> Option<Self> {
        Self::ALL.iter().copied().find(|message| message.topic().kind == topic.kind)
    }
}

/// Versions of what was published, by message; 0: not published.
pub type Published = [u8; Message::COUNT];

/// One order, everywhere, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    pub order: Order,
    pub charge: Charge,
    pub refund: Refund,
    pub reservation: Reservation,
    pub intent: Intent,
    /// The order shall end without a sale; the gateway has not agreed yet.
    pub giving_up: bool,
    /// The decision to take the money is committed.
    pub capture_requested: bool,
    /// The gateway took money in spite of an accepted cancel.
    pub in_spite: bool,
    /// Calls on their way to the gateway, as bits.
    pub calls: u8,
    pub published: Published,
    /// Messages that had their effect, as bits.
    pub applied: u16,
    pub order_version: u8,
    pub reservation_version: u8,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            order: Order::None,
            charge: Charge::None,
            refund: Refund::None,
            reservation: Reservation::None,
            intent: Intent::None,
            giving_up: false,
            capture_requested: false,
            in_spite: false,
            calls: 0,
            published: [0; Message::COUNT],
            applied: 0,
            order_version: 0,
            reservation_version: 0,
        }
    }
}

impl Case {
    pub fn is_on_its_way(&self, message: Message) -> bool {
        self.published[message as usize] > 0 && self.applied >> message as usize & 1 == 0
    }
}
