//! One finished page: its bytes, its tag, and until when it may be shown. Decided here: what the bytes are and what their age allows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::Sku;
use http::HeaderValue;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::encoding::Encoding;
use crate::domain::inventory::Level;
use crate::domain::labels::Reader;
use crate::inbound::http::view::ProductView;
use crate::usecases::get_product::ProductPage;
use crate::usecases::ports::products::StoreDown;

/// Where a page is not what it should be (the stock or the store was silent), it is tried again this soon.
const SOON: Duration = Duration::from_secs(1);
/// A product that is not there may come at any moment, and its coming is told; this bounds the case that it was not heard.
const ABSENT_FOR: Duration = Duration::from_secs(2);
/// While the store is away everybody is told so at once, and one asks again this often.
const DOWN_FOR: Duration = Duration::from_millis(250);
/// An old page is better than none while the store is away, this long. Prices are confirmed by the order.
const AT_MOST: Duration = Duration::from_secs(600);
/// Lives differ by up to this part, so that what was loaded together is not renewed together.
const JITTER: f64 = 0.2;

/// How long a page is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// Shown without asking anybody.
    pub fresh: Duration,
    /// Then shown while it is renewed, this much longer.
    pub stale: Duration,
}

/// What the age of a page allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Fresh,
    /// To be shown, and renewed.
    Stale,
    /// To be shown only when no newer one can be had.
    Old,
    Over,
}

#[derive(Clone, Debug)]
pub enum Content {
    Whole {
        body: Bytes,
        tag: HeaderValue,
        keys: HeaderValue,
    },
    /// There is no such product, or it is not sold here.
    Absent,
    Down(StoreDown),
}

#[derive(Debug)]
pub struct Page {
    pub content: Content,
    /// Of the content; a body that does not shrink travels as it is.
    pub encoding: Encoding,
    /// Of the product; 0 where there is none.
    pub revision: i64,
    /// What the page says of the product or, where it has some, of its variants in their order.
    pub levels: Box<[Option<Level>]>,
    /// Asked for by a variant: the page is that of its product.
    pub of_variant: bool,
    /// From then on it is wrong by itself: a price or the time of a sale begins or ends.
    pub turn: Option<Instant>,
    fresh_until: Instant,
    stale_until: Instant,
    over: Instant,
    renewing: AtomicBool,
}

impl Page {
    /// A page of plain bytes; `begun` is when it was begun to be made, for `sku`.
    pub fn whole(page: &ProductPage, (sku, begun): (&Sku, Instant), reader: Reader<'_>, lives: Lives) -> Self {
        let Some(product) = page.revision.live() else { return Self::absent() };
        let view = ProductView::of_page(product, page, reader);
        // The view is texts and numbers; nothing in it can fail to become JSON.
        let body: Bytes = serde_json::to_vec(&view).unwrap_or_default().into_boxed_slice().into();
        let categories = product.category.lineage().map(category_key);
        let keys = categories.fold(product_key(&product.sku), |keys, category| keys + "," + &category);
        let content = Content::Whole {
            tag: tag(&body, Encoding::Identity),
            keys: HeaderValue::try_from(keys).unwrap_or(HeaderValue::from_static("")),
            body,
        };
        let levels: Box<[Option<Level>]> = match &page.variants[..] {
            [] => [page.availability].into(),
            variants => variants.iter().map(|variant| variant.availability).collect(),
        };
        let fresh = if levels.contains(&None) { lives.fresh.min(SOON) } else { lives.fresh };
        let mut whole = Self::lasting(content, fresh, lives.stale, AT_MOST);
        whole.revision = page.revision.number;
        whole.levels = levels;
        whole.of_variant = product.sku != *sku;
        let left = page.right_until(reader.region).map(|turn| (turn - page.at).to_std().unwrap_or_default());
        if let Some(turn) = left.and_then(|left| begun.checked_add(left)) {
            whole.turn = Some(turn);
            whole.fresh_until = whole.fresh_until.min(turn);
            whole.stale_until = whole.stale_until.min(turn);
            whole.over = whole.over.min(turn);
        }
        whole
    }

    pub fn absent() -> Self {
        Self::lasting(Content::Absent, ABSENT_FOR, Duration::ZERO, Duration::ZERO)
    }

    pub fn down(error: StoreDown) -> Self {
        Self::lasting(Content::Down(error), DOWN_FOR, Duration::ZERO, Duration::ZERO)
    }

    fn lasting(content: Content, fresh: Duration, stale: Duration, at_most: Duration) -> Self {
        let fresh = fresh.mul_f64(1.0 - JITTER * rand::rng().random::<f64>());
        let fresh_until = Instant::now() + fresh;
        let stale_until = fresh_until + stale;
        Self {
            content,
            encoding: Encoding::Identity,
            revision: 0,
            levels: Box::default(),
            of_variant: false,
            turn: None,
            fresh_until,
            stale_until,
            over: stale_until.max(Instant::now() + at_most),
            renewing: AtomicBool::new(false),
        }
    }

    /// The same page in another encoding, for as long as it is good itself.
    pub fn encoded(&self, encoding: Encoding) -> Self {
        let mut page = self.again();
        if let Content::Whole { body, keys, .. } = &self.content
            && let Some(encoded) = encoding.encode(body)
        {
            page.content = Content::Whole { tag: tag(body, encoding), keys: keys.clone(), body: encoded };
            page.encoding = encoding;
        }
        page
    }

    /// The same page, to be looked at again soon: it could not be renewed now.
    pub fn kept_for_now(&self) -> Self {
        let mut page = self.again();
        page.fresh_until = page.turn.into_iter().fold(Instant::now() + SOON, Instant::min);
        page.stale_until = page.fresh_until;
        page
    }

    fn again(&self) -> Self {
        let renewing = AtomicBool::new(false);
        Self { content: self.content.clone(), levels: self.levels.clone(), renewing, ..*self }
    }

    pub fn age(&self, now: Instant) -> Age {
        if now < self.fresh_until {
            Age::Fresh
        } else if now < self.stale_until {
            Age::Stale
        } else if now < self.over {
            Age::Old
        } else {
            Age::Over
        }
    }

    /// Whether it is the caller who has to renew this page: the first who finds it stale.
    pub fn begins_renewal(&self) -> bool {
        !self.renewing.swap(true, Ordering::AcqRel)
    }

    /// Nobody renews it after all; the next who finds it stale may.
    pub fn gives_up_renewal(&self) {
        self.renewing.store(false, Ordering::Release);
    }

    /// Bytes of memory beside what the cache itself needs for an entry.
    pub fn weight(&self) -> usize {
        match &self.content {
            Content::Whole { body, tag, keys } => body.len() + tag.len() + keys.len() + self.levels.len(),
            Content::Absent => 0,
            Content::Down(error) => error.0.len(),
        }
    }
}

/// What copies of a product's page are forgotten by, at the edge.
pub fn product_key(sku: &Sku) -> String {
    format!("p-{sku}")
}

/// What copies of the whole shop's list and of its tree of categories are forgotten by.
pub const SHOP_KEY: &str = "shop";

/// What copies of a category's lists are forgotten by.
pub fn category_key(path: &str) -> String {
    format!("c-{path}")
}

/// The bytes decide, and nothing else: what reads the same is the same, across processes, and whatever changes a byte (the
/// language, the region's currency, the availability, our own code) changes the tag.
pub fn tag(body: &[u8], encoding: Encoding) -> HeaderValue {
    let digest = hex::encode(&Sha256::digest(body)[..12]);
    HeaderValue::try_from(format!("\"{digest}{}\"", encoding.suffix())).unwrap_or(HeaderValue::from_static("\"none\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_fresh_then_stale_then_old_then_over() {
        let (fresh, stale) = (Duration::from_secs(10), Duration::from_secs(30));
        let page = Page::lasting(Content::Absent, fresh, stale, AT_MOST);
        let at = |seconds: u64| page.age(Instant::now() + Duration::from_secs(seconds));
        assert_eq!((at(0), at(7)), (Age::Fresh, Age::Fresh), "jitter shortens by a fifth at most");
        assert_eq!((at(11), at(37)), (Age::Stale, Age::Stale));
        assert_eq!((at(41), at(599)), (Age::Old, Age::Old));
        assert_eq!(at(601), Age::Over);
    }

    #[test]
    fn a_page_that_could_not_be_renewed_does_not_outlive_its_price() {
        let mut page = Page::lasting(Content::Absent, SOON, SOON, AT_MOST);
        page.turn = Some(Instant::now() + Duration::from_millis(300));
        let kept = page.kept_for_now();
        assert_ne!(kept.age(Instant::now() + Duration::from_millis(300)), Age::Fresh);
    }

    #[test]
    fn one_of_many_renews() {
        let page = Page::absent();
        assert!(page.begins_renewal() && !page.begins_renewal() && !page.begins_renewal());
        page.gives_up_renewal();
        assert!(page.begins_renewal());
    }

    #[test]
    fn other_bytes_have_another_tag() {
        assert_eq!(tag(b"a", Encoding::Gzip), tag(b"a", Encoding::Gzip));
        assert_ne!(tag(b"a", Encoding::Identity), tag(b"b", Encoding::Identity));
        assert_ne!(tag(b"a", Encoding::Identity), tag(b"a", Encoding::Brotli));
    }
}
