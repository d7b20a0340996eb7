//! Proof that the rare things took place: a counter per interesting state. A big run in which one stayed at zero tells
//! nothing about it and counts as invalid, not as green.

macro_rules! rare {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// Something that must happen now and then, or the simulation does not try what it claims to try.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rare { $($name),+ }

        impl Rare {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

rare! {
    Completed = "order completed",
    Declined = "payment declined",
    DeclinedAtCapture = "declined when the money was to be taken",
    ChargedLate = "charge decided by the bank later",
    ShopperNeverActed = "payment waited for the shopper until its deadline",
    OutOfStock = "order rejected: out of stock",
    Tombstone = "compensation came before the order",
    OrderAfterTombstone = "order came after its tombstone",
    CancelWon = "cancel accepted",
    CancelLost = "cancel refused: the payment was faster",
    ExpiredWaitingForStock = "order expired while it waited for stock",
    ExpiredWhilePaying = "order expired while it was being paid",
    UnknownByPoll = "unknown outcome resolved by asking",
    UnknownByWebhook = "unknown outcome resolved after a webhook",
    UnknownByBarrier = "unknown outcome resolved by an accepted cancel",
    ChargedInSpite = "gateway took money in spite of an accepted cancel",
    LateSuccess = "money came for an order that was given up",
    LateSuccessByReconciler = "late money found by the comparison of the books",
    Refunded = "late money sent back",
    RefundUnknown = "outcome of a refund unknown",
    KeyInProgress = "gateway met a twin of a call under way",
    WebhookFirst = "webhook came before the answer",
    WebhookMismatch = "webhook spoke of another amount",
    WebhookClash = "webhook came twice with different bodies",
    CrashAfterEffect = "crash between the gateway's answer and our commit",
    CrashBeforeSend = "crash between our commit and the call",
    CrashInCommit = "crash after a commit that nobody learned of",
    CrashBeforeCommit = "crash before a commit",
    CrashBetweenPublishAndMark = "crash between publishing and marking",
    CrashBeforeOffset = "crash between handling and moving the offset",
    CommitUnknownApplied = "commit applied, outcome told as unknown",
    CommitUnknownNever = "commit not applied, outcome told as unknown",
    CommitUnknownLater = "commit applied after its outcome was told as unknown",
    LostRace = "commit lost to another one",
    ZombieLost = "commit of a process that had been frozen was refused",
    ZombieRelay = "mark of a relay that had lost its turn was ignored",
    PublishedTwice = "event published twice",
    Repeated = "message whose effect was there already",
    AnswerReplayed = "request answered from its stored answer",
    Twins = "two requests with one key at once",
    OldReignRefused = "write of an old reign refused",
    GateClosed = "money held at the gate to the standby site",
    Rewound = "consumers went back to the beginning",
    FirstAway = "first gateway not called: its breaker is open",
    CapturedBySecond = "payment captured by the second gateway",
    EndedAtFirst = "payment of before the change ended at the first gateway",
    CreditPart = "store credit paid part of an order",
    CreditWhole = "store credit paid a whole order",
    CreditFreed = "store credit of a lost order free again",
    StaffRefunded = "staff gave part of the money back",
    RefundsAtOnce = "two refunds of one order open at once",
    RefundBeyond = "refund beyond what was left refused",
    StrayTaken = "money taken without an order",
    OrphanFound = "money without an order found",
    OrphanRefunded = "money without an order sent back",
    OrphanAtSecond = "money without an order sent back by the second gateway",
    CardWaits = "payment waits for another card of the same person",
    CardRefused = "payment refused after a declined card of the same person",
    BesideUsFound = "refund that only the gateway knows found",
    NeverGivenFound = "refund that only our books know found",
}

/// How often each was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage(Vec<u64>);

impl Default for Coverage {
    fn default() -> Self {
        Self(vec![0; Rare::ALL.len()])
    }
}

impl Coverage {
    pub fn count(&mut self, rare: Rare) {
        self.0[rare as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    pub fn of(&self, rare: Rare) -> u64 {
        self.0[rare as usize]
    }

    /// What was never seen.
    pub fn missing(&self) -> Vec<Rare> {
        Rare::ALL.iter().copied().filter(|rare| self.of(*rare) == 0).collect()
    }
}
