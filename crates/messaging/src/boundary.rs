//! The list of all places where the saga touches what outlives its process: each commit, produce, acknowledgement and call to
//! the outside, numbered once. Such a step is written only as `crash::around(Boundary::…, step)`; `cargo xtask tidy` reads the
//! crates of the saga and names the line of a step that stands outside, and `tests/crash-points` kills the real process before
//! and after each row of this list.
//!
//! A commit has its row by its cause: `POST /route` of a request, `event > consumer` of a message, the name of a duty. Not in
//! this list: what is no part of an order's saga (people, product revisions' own store, clicks, migrations).

/// What a boundary stands around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surrounds {
    /// A transaction of ours, or a statement that is one.
    Commit,
    /// Records handed to the broker and confirmed by it.
    Produce,
    /// An offset that says a record is done.
    Ack,
    /// A question or an order to somebody else's system.
    Call,
}

impl Surrounds {
    pub fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Produce => "produce",
            Self::Ack => "ack",
            Self::Call => "external call",
        }
    }
}

macro_rules! boundaries {
    ($($number:literal $variant:ident $name:literal $surrounds:ident $room:literal;)*) => {
        /// One durable step of the saga.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Boundary { $($variant = $number,)* }

        impl Boundary {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub fn surrounds(self) -> Surrounds {
                match self { $(Self::$variant => Surrounds::$surrounds,)* }
            }

            /// Where the step is written.
            pub fn room(self) -> &'static str {
                match self { $(Self::$variant => $room,)* }
            }

            /// The crash point before the step.
            pub fn before(self) -> &'static str {
                match self { $(Self::$variant => concat!($name, " (before)"),)* }
            }

            /// The crash point after the step, whatever came of it.
            pub fn after(self) -> &'static str {
                match self { $(Self::$variant => concat!($name, " (after)"),)* }
            }
        }
    };
}

boundaries! {
    // An order comes in.
    1 QuotePrices "quote-prices" Call "order-payment/usecases/place_order";
    2 PlaceOrder "POST /v1/orders" Commit "order-payment/usecases/place_order";
    3 CancelOrder "POST /v1/orders/{id}/cancel" Commit "order-payment/usecases/cancel_order";
    // What order-payment hears.
    4 RegisterUser "user.registered > order-payment" Commit "order-payment/usecases/register_user";
    5 BeginPayment "stock.reserved > order-payment" Commit "order-payment/usecases/begin_payment";
    6 StockRejected "stock.rejected > order-payment" Commit "order-payment/usecases/compensate_order";
    7 RecordShipment "shipment.created > order-payment" Commit "order-payment/usecases/record_shipment";
    // A payment, from its intent to its outcome.
    8 ClaimPayments "claim-payments" Commit "order-payment/usecases/process_payment";
    9 PassGate "pass-gate" Call "order-payment/usecases/process_payment";
    10 GatewayCreate "gateway-create" Call "order-payment/usecases/process_payment";
    11 PaymentCreated "payment-created" Commit "order-payment/usecases/process_payment";
    12 PaymentSent "payment-sent" Commit "order-payment/usecases/process_payment";
    13 GatewayConfirm "gateway-confirm" Call "order-payment/usecases/process_payment";
    14 PaymentAuthorised "payment-authorised" Commit "order-payment/usecases/process_payment";
    15 FraudCheck "fraud-check" Call "order-payment/usecases/screen_payments";
    16 GatewayCapture "gateway-capture" Call "order-payment/usecases/process_payment";
    17 PaymentCaptured "payment-captured" Commit "order-payment/usecases/process_payment";
    18 PaymentPutOff "payment-put-off" Commit "order-payment/usecases/process_payment";
    19 GatewayLook "gateway-look" Call "order-payment/usecases/process_payment";
    20 PaymentNoted "payment-noted" Commit "order-payment/usecases/process_payment";
    21 PaymentDeclined "payment-declined" Commit "order-payment/usecases/process_payment";
    22 GatewayCancel "gateway-cancel" Call "order-payment/usecases/process_payment";
    23 PaymentGivenUp "payment-given-up" Commit "order-payment/usecases/process_payment";
    24 LateSuccess "payment-late-success" Commit "order-payment/usecases/process_payment";
    25 GatewayRefund "gateway-refund" Call "order-payment/usecases/process_payment";
    26 PaymentRefunded "payment-refunded" Commit "order-payment/usecases/process_payment";
    // Webhooks, deadlines, books.
    27 KeepWebhook "keep-webhook" Commit "order-payment/usecases/receive_webhook";
    28 HintPayment "hint-payment" Commit "order-payment/usecases/receive_webhook";
    29 FinishWebhook "finish-webhook" Commit "order-payment/usecases/receive_webhook";
    30 NoteFinding "note-finding" Commit "order-payment/usecases/receive_webhook";
    31 ExpireOrder "expire-order" Commit "order-payment/usecases/compensate_order";
    32 ExpirePayment "expire-payment" Commit "order-payment/usecases/compensate_order";
    33 GatewayList "gateway-list" Call "order-payment/usecases/reconcile";
    34 NoteComparison "note-comparison" Commit "order-payment/usecases/reconcile";
    // The stock.
    35 ReserveInventory "order.created > catalog" Commit "catalog/usecases/reserve_inventory";
    36 FinaliseInventory "order.completed > catalog" Commit "catalog/usecases/finalise_inventory";
    37 ReleaseInventory "order.compensated > catalog" Commit "catalog/usecases/release_inventory";
    38 ReceiveStock "receive_stock" Commit "catalog/usecases/receive_stock";
    // How events travel.
    39 RelayClaim "relay-claim" Commit "messaging/relay";
    40 RelayPublish "relay-publish" Produce "messaging/relay";
    41 RelayMark "relay-mark" Commit "messaging/relay";
    42 RelayPrune "relay-prune" Commit "messaging/relay";
    43 Offsets "commit-offsets" Ack "messaging/partitions";
    44 Park "park-message" Commit "messaging/parking";
    45 MarkRedriven "mark-redriven" Commit "messaging/parking";
    46 PublishDirectly "publish-directly" Produce "messaging/publisher";
    // Refunds, store credit, orphans, settlement.
    47 RefundRefused "payment-refund-refused" Commit "order-payment/usecases/process_payment";
    48 RefundOrder "POST /v1/orders/{id}/refunds" Commit "order-payment/usecases/refund_order";
    49 GrantCredit "POST /v1/admin/store-credit/grants" Commit "order-payment/usecases/store_credit";
    50 PayByCredit "pay-by-credit" Commit "order-payment/usecases/store_credit";
    51 LetGoPayment "let-go-payment" Commit "order-payment/usecases/process_payment";
    52 SealLedger "seal-ledger" Commit "order-payment/outbound/postgres";
    53 OrphanFound "orphan-found" Commit "order-payment/usecases/orphan_money";
    54 Orphan "orphan" Commit "order-payment/usecases/orphan_money";
    55 ClaimOrphans "claim-orphans" Commit "order-payment/usecases/orphan_money";
    56 GatewaySettlement "gateway-settlement" Call "order-payment/usecases/settle_day";
    57 KeepSettlement "keep-settlement" Commit "order-payment/usecases/settle_day";
    58 CloseDay "close-day" Commit "order-payment/usecases/settle_day";
    // More of the stock.
    59 SuspendExpiry "order.payment-pending > catalog" Commit "catalog/usecases/extend_hold";
    60 LimitBackOrders "limit_back_orders" Commit "catalog/outbound/postgres";
    61 ClaimOverdue "claim_overdue" Commit "catalog/usecases/ask_about_holds";
    62 NoteStockFindings "note_stock_findings" Commit "catalog/outbound/postgres";
    63 ExtendHold "extend_hold" Commit "catalog/usecases/extend_hold";
    64 SendAwaited "send_awaited" Commit "catalog/usecases/send_awaited";
    65 ReturnUnits "order.refunded > catalog" Commit "catalog/inbound/events";
    // What an operator does.
    66 OperatorCompensates "operator-compensates" Commit "order-payment/usecases/compensate_saga";
    67 OperatorAtDesk "operator" Commit "order-payment/outbound/postgres/desk";
    68 OperatorAction "operator-action" Commit "messaging/operators";
    // Baskets: no order yet, but commits of the same programs.
    69 WriteCart "write-cart" Commit "order-payment/outbound/postgres/carts";
    70 MergeCarts "merge-carts" Commit "order-payment/outbound/postgres/carts";
    71 SweepCarts "sweep-carts" Commit "order-payment/outbound/postgres/carts";
    // Counts of the shelves.
    72 CorrectStock "correct_stock" Commit "catalog/usecases/correct_stock";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_have_no_gap_and_names_are_unique() {
        let numbers: Vec<usize> = Boundary::ALL.iter().map(|boundary| *boundary as usize).collect();
        assert_eq!(numbers, (1..=Boundary::ALL.len()).collect::<Vec<_>>());
        let names: BTreeSet<&str> = Boundary::ALL.iter().map(|boundary| boundary.name()).collect();
        assert_eq!(names.len(), Boundary::ALL.len());
    }

    #[test]
    fn the_points_of_a_boundary_carry_its_name() {
        for boundary in Boundary::ALL {
            assert!(boundary.before().starts_with(boundary.name()) && boundary.before().ends_with(" (before)"));
            assert!(boundary.after().starts_with(boundary.name()) && boundary.after().ends_with(" (after)"));
        }
    }
}
