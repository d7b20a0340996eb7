//! What is said alike on both wires, each in its own words.

use super::{Answer, ApiError, intent, refund_object, square};
use crate::domain::{Account, Change, Decline, Event, Intent, Refund, Refusal};

impl Account {
    pub fn shown(self, shown: &Intent) -> Answer {
        match self {
            Self::Intents => Answer::ok(&intent(shown)),
            Self::Square => Answer::ok(&serde_json::json!({"payment": square::payment(shown, &[])})),
        }
    }

    /// The second wire answers `PENDING` first; whoever looks later sees it completed.
    pub fn refunded(self, refund: &Refund) -> Answer {
        match self {
            Self::Intents => Answer::ok(&refund_object(refund)),
            Self::Square => Answer::ok(&serde_json::json!({"refund": square::refund_object(refund, "PENDING")})),
        }
    }

    pub fn declined(self, decline: Decline, change: &Change) -> Answer {
        match self {
            Self::Intents => ApiError::declined(decline, change).answer(),
            Self::Square => square::declined(decline, change),
        }
    }

    pub fn refused(self, refusal: &Refusal, intent: &Intent) -> Answer {
        match self {
            Self::Intents => ApiError::refused(refusal, intent).answer(),
            Self::Square => square::refused(refusal, intent),
        }
    }

    pub fn missing(self, param: &str) -> Answer {
        match self {
            Self::Intents => ApiError::no_such("payment_intent", param).answer(),
            Self::Square => square::not_found("payment_id", "There is no such payment."),
        }
    }

    pub fn key_reused(self) -> Answer {
        match self {
            Self::Intents => ApiError::key_reused().answer(),
            Self::Square => square::key_reused(),
        }
    }

    pub fn key_in_use(self) -> Answer {
        match self {
            Self::Intents => ApiError::key_in_use().answer(),
            Self::Square => square::key_in_use(),
        }
    }

    pub fn too_many(self) -> Answer {
        match self {
            Self::Intents => ApiError::too_many().answer(),
            Self::Square => square::too_many(),
        }
    }

    pub fn internal(self) -> Answer {
        match self {
            Self::Intents => ApiError::internal().answer(),
            Self::Square => square::internal(),
        }
    }

    /// The webhook's body.
    pub fn event(self, id: &str, event: Event, change: &Change, now_ms: i64, key: Option<&str>) -> String {
        match self {
            Self::Intents => super::event(id, event, change, now_ms, key).to_string(),
            Self::Square => square::event(id, event, change, now_ms).to_string(),
        }
    }
}
