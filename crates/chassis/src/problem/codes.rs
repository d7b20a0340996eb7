//! The closed list of problem codes, each with the title that callers and `docs/errors/<code>.md` show.
//!
//! A use case names its code as text; a code missing here still works but has no title, and the test of the error pages
//! finds it.

macro_rules! codes {
    ($($name:ident = $code:literal: $title:literal,)+) => {
        $(#[doc = $title] pub const $name: &str = $code;)+

        /// Every code with its title.
        pub const ALL: &[(&str, &str)] = &[$(($code, $title)),+];
    };
}

codes! {
    MALFORMED_REQUEST = "malformed-request": "The request cannot be read",
    IDEMPOTENCY_KEY_MISSING = "idempotency-key-missing": "An Idempotency-Key is required",
    IDEMPOTENCY_KEY_INVALID = "idempotency-key-invalid": "The Idempotency-Key is not acceptable",
    CURSOR_INVALID = "cursor-invalid": "The cursor is not one of ours",
    UNAUTHENTICATED = "unauthenticated": "A valid access token is required",
    STEP_UP_REQUIRED = "step-up-required": "A fresh login is required",
    SIGNATURE_INVALID = "signature-invalid": "The signature does not match",
    FORBIDDEN = "forbidden": "Not allowed",
    CSRF_REFUSED = "csrf-refused": "The request does not come from our pages",
    NOT_FOUND = "not-found": "Not found",
    METHOD_NOT_ALLOWED = "method-not-allowed": "This method is not offered here",
    REQUEST_IN_PROGRESS = "request-in-progress": "The same request is being worked on",
    STATE_CONFLICT = "state-conflict": "Not possible in the present state",
    VERSION_CONFLICT = "version-conflict": "Changed by somebody else in the meantime",
    PRICE_CHANGED = "price-changed": "The price has changed",
    STORE_CREDIT_SHORT = "store-credit-short": "Not enough store credit",
    PRICE_LOCK_INVALID = "price-lock-invalid": "The price lock is not good for this order",
    OUT_OF_STOCK = "out-of-stock": "Not enough in stock",
    COUPON_USED = "coupon-used": "The coupon has been used",
    COUPON_UNKNOWN = "coupon-unknown": "The coupon is not good for this",
    COUPON_EXPIRED = "coupon-expired": "The coupon is not good now",
    RESIDENCY_LOCKED = "residency-locked": "The region of the account cannot be changed now",
    EMAIL_TAKEN = "email-taken": "The e-mail address has an account",
    PRECONDITION_FAILED = "precondition-failed": "The resource has another version",
    BODY_TOO_LARGE = "body-too-large": "The body is too large",
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type": "The body has an unsupported type",
    RESIDENCY_MISMATCH = "residency-mismatch": "The account belongs to another region",
    INVALID_FIELD = "invalid-field": "A field is not acceptable",
    UNKNOWN_FIELD = "unknown-field": "A field is not known",
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused": "The Idempotency-Key was used for another request",
    CARD_DATA_REFUSED = "card-data-refused": "Card numbers are not accepted",
    QUERY_TOO_COSTLY = "query-too-costly": "The query would cost too much",
    REFUND_EXCEEDS_CAPTURE = "refund-exceeds-capture": "More than was paid cannot be refunded",
    LIMIT_EXCEEDED = "limit-exceeded": "A limit is exceeded",
    PRECONDITION_REQUIRED = "precondition-required": "If-Match is required",
    TOO_MANY_REQUESTS = "too-many-requests": "Too many requests",
    HEADERS_TOO_LARGE = "headers-too-large": "The headers are too large",
    INTERNAL = "internal": "Something went wrong on our side",
    OVERLOADED = "overloaded": "Too busy at the moment",
    NOT_WRITABLE = "not-writable": "Nothing can be changed at the moment",
    OUTCOME_UNKNOWN = "outcome-unknown": "The outcome is not known yet; repeat with the same key",
    DEPENDENCY_DOWN = "dependency-down": "Something we need is not available",
}

/// The title of `code`; the code itself when it is not listed.
pub fn title(code: &'static str) -> &'static str {
    ALL.iter().find(|(known, _)| *known == code).map_or(code, |(_, title)| title)
}

/// The listed code equal to `text`, for codes that arrive from elsewhere.
pub fn known(text: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == text).map(|(known, _)| *known)
}
