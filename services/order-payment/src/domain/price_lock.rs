//! The price lock: a promise of prices that the shop can check and nobody else can write. Decided here: what it binds, how it is
//! written and signed, and that nothing in it is believed before the signature is.
//!
//! Its text is `pl1.` (`pl2.` where promotions or a coupon are in it, which older processes would not know) and base64 of: key id,
//! body, HMAC-SHA256 over all of it. Numbers in the body take as few bytes as they need. The
//! key that signs is derived from the region's secret; during a rotation the previous secret's locks are still good. Prices
//! are the same for everybody, so the lock of a browser without an account is good for whoever logs in there; the lock of a
//! person is that person's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::{Currency, Money, Private, Region, Sku, TaxClass, TaxPlace, TaxRate, UserId};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::BasketLine;
use super::coupon::{CouponCode, CouponUse, Reduction};

/// Fifty lines with the longest SKUs make less than 7,000 characters; with eight promotions, three on each line, less than 10,000.
pub const LONGEST: usize = 12_288;

/// Promotions that one lock names; the catalog lets no more reduce a basket.
const MOST_PROMOTIONS: usize = 8;

const PLAIN: &str = "pl1.";
/// With reductions and perhaps a coupon behind the lines.
const REDUCED: &str = "pl2.";
const KEY_ID: usize = 4;
const MAC: usize = 32;

/// What is promised, to whom, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceLock {
    pub region: Region,
    /// `None` for a basket without an account.
    pub owner: Option<UserId>,
    /// `None` when the total does not depend on the destination and none was named.
    pub place: Option<TaxPlace>,
    pub lines: Vec<LockedLine>,
    pub total: Money,
    /// The coupon that the reductions need. Its use is taken by the order: a lock holds none.
    pub coupon: Option<CouponUse>,
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedLine {
    pub sku: Sku,
    pub quantity: u32,
    pub unit_price: Money,
    /// The catalog's revision that the price comes from.
    pub revision: i64,
    pub class: TaxClass,
    /// Of `class` at the lock's place.
    pub rate: Option<TaxRate>,
    /// What promotions take off the whole line.
    pub reductions: Vec<Reduction>,
}

impl PriceLock {
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        now >= self.expires_at
    }

    /// Whether it was made for exactly these products and quantities, in any order, and for this coupon.
    pub fn covers(&self, lines: &[BasketLine], coupon: Option<&CouponCode>) -> bool {
        self.coupon.as_ref().map(|used| &used.code) == coupon
            && lines.len() == self.lines.len()
            && lines.iter().all(|line| self.line(&line.sku).is_some_and(|locked| locked.quantity == line.quantity))
    }

    pub fn line(&self, sku: &Sku) -> Option<&LockedLine> {
        self.lines.iter().find(|line| line.sku == *sku)
    }
}

/// The text of a lock, as it travels. Never printed: whoever has it can buy at its prices.
#[derive(Clone, PartialEq, Eq)]
pub struct LockText(Private<String>);

impl LockText {
    pub fn new(text: String) -> Self {
        Self(Private::new(text))
    }

    /// For the one it is given to.
    pub fn open(&self) -> &str {
        self.0.open()
    }
}

impl fmt::Debug for LockText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("LockText(***)")
    }
}

/// Not written by us, or not in this region. Nothing about which part was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the price lock is not one of ours")]
pub struct Forged;

/// The keys of one region: one that signs, and one or two that are believed.
#[derive(Clone)]
pub struct LockKeys {
    region: Region,
    current: Key,
    previous: Option<Key>,
}

impl fmt::Debug for LockKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LockKeys({}, ***)", self.region)
    }
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID],
    mac: Hmac<Sha256>,
}

impl Key {
    /// Derived with the region's name: one secret in two regions makes two keys.
    fn derive(region: Region, secret: &str) -> Option<Self> {
        let mut derivation = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        derivation.update(b"shopsphere price lock\x1f");
        derivation.update(region.code().as_bytes());
        let key = derivation.finalize().into_bytes();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&Sha256::digest(key.as_slice())[..KEY_ID]);
        Some(Self { id, mac: Hmac::new_from_slice(&key).ok()? })
    }

    fn over(&self, version: &str, signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(version.as_bytes());
        mac.update(signed);
        mac
    }
}

impl LockKeys {
    /// `None` only for a secret that no HMAC takes; there is none.
    pub fn new(region: Region, secret: &str, previous: Option<&str>) -> Option<Self> {
        let previous = match previous {
            None => None,
            Some(secret) => Some(Key::derive(region, secret)?),
        };
        Some(Self { region, current: Key::derive(region, secret)?, previous })
    }

    pub fn seal(&self, lock: &PriceLock) -> LockText {
        let mut bytes = self.current.id.to_vec();
        write(lock, &mut bytes);
        let is_plain = lock.coupon.is_none() && lock.lines.iter().all(|line| line.reductions.is_empty());
        let version = if is_plain { PLAIN } else { REDUCED };
        if !is_plain {
            write_reductions(lock, &mut bytes);
        }
        let mac = self.current.over(version, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        LockText::new(format!("{version}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The lock in `text`, if we wrote it. Says nothing about whether it is over.
    ///
    /// # Errors
    /// [`Forged`] for everything else.
    pub fn open(&self, text: &LockText) -> Result<PriceLock, Forged> {
        let text = text.open();
        let version = [PLAIN, REDUCED].into_iter().find(|version| text.starts_with(version)).ok_or(Forged)?;
        let encoded = text.strip_prefix(version).filter(|_| text.len() <= LONGEST).ok_or(Forged)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Forged)?;
        let split = bytes.len().checked_sub(MAC).filter(|split| *split >= KEY_ID).ok_or(Forged)?;
        let (signed, mac) = bytes.split_at(split);
        let keys = [Some(&self.current), self.previous.as_ref()];
        let key = keys.into_iter().flatten().find(|key| signed.starts_with(&key.id)).ok_or(Forged)?;
        // Takes the same time wherever the first difference is.
        key.over(version, signed).verify_slice(mac).map_err(|_| Forged)?;
        read(&signed[KEY_ID..], version == REDUCED).filter(|lock| lock.region == self.region).ok_or(Forged)
    }
}

fn write(lock: &PriceLock, out: &mut Vec<u8>) {
    text(out, lock.region.code());
    text(out, lock.total.currency().code());
    match lock.owner {
        None => out.push(0),
        Some(owner) => {
            out.push(1);
            out.extend_from_slice(owner.uuid().as_bytes());
        }
    }
    text(out, lock.place.map_or("", TaxPlace::code));
    number(out, lock.issued_at.timestamp_millis());
    number(out, lock.expires_at.timestamp_millis());
    number(out, lock.total.minor());
    number(out, i64::try_from(lock.lines.len()).unwrap_or(i64::MAX));
    for line in &lock.lines {
        text(out, line.sku.as_str());
        number(out, line.quantity.into());
        number(out, line.unit_price.minor());
        number(out, line.revision);
        text(out, line.class.code());
        number(out, line.rate.map_or(-1, |rate| rate.millionths().into()));
    }
}

/// Which promotions there are, then for each line which of them took how much, then the coupon.
fn write_reductions(lock: &PriceLock, out: &mut Vec<u8>) {
    let count = |out: &mut Vec<u8>, count: usize| number(out, i64::try_from(count).unwrap_or(i64::MAX));
    let mut promotions: Vec<(&str, i64)> = Vec::new();
    for reduction in lock.lines.iter().flat_map(|line| &line.reductions) {
        let promotion = (reduction.promotion.as_str(), reduction.revision);
        if !promotions.contains(&promotion) {
            promotions.push(promotion);
        }
    }
    count(out, promotions.len());
    for (promotion, revision) in &promotions {
        text(out, promotion);
        number(out, *revision);
    }
    for line in &lock.lines {
        count(out, line.reductions.len());
        for reduction in &line.reductions {
            let promotion = (reduction.promotion.as_str(), reduction.revision);
            count(out, promotions.iter().position(|known| *known == promotion).unwrap_or_default());
            number(out, reduction.amount.minor());
        }
    }
    text(out, lock.coupon.as_ref().map_or("", |coupon| coupon.code.as_str()));
    if let Some(coupon) = &lock.coupon {
        number(out, coupon.revision);
        number(out, coupon.most_uses.map_or(-1, i64::from));
        number(out, coupon.most_per_person.map_or(-1, i64::from));
    }
}

fn read_reductions(rest: &mut Reader<'_>, lines: &mut [LockedLine], currency: Currency) -> Option<Option<CouponUse>> {
    let count = usize::try_from(rest.number()?).ok().filter(|count| *count <= MOST_PROMOTIONS)?;
    let mut promotions = Vec::with_capacity(count);
    for _ in 0..count {
        promotions.push((rest.text()?.to_owned(), rest.number()?));
    }
    for line in lines {
        for _ in 0..rest.number()? {
            let (promotion, revision) = promotions.get(usize::try_from(rest.number()?).ok()?)?.clone();
            let amount = Money::from_minor(rest.number()?, currency).ok()?;
            line.reductions.push(Reduction { promotion, revision, amount });
        }
    }
    let code = rest.text()?;
    if code.is_empty() {
        return Some(None);
    }
    let code = CouponCode::parse(code)?;
    let revision = rest.number()?;
    let mut most = || match rest.number()? {
        -1 => Some(None),
        most => u32::try_from(most).ok().map(Some),
    };
    Some(Some(CouponUse { code, revision, most_uses: most()?, most_per_person: most()? }))
}

fn read(body: &[u8], is_reduced: bool) -> Option<PriceLock> {
    let mut rest = Reader(body);
    let region: Region = rest.text()?.parse().ok()?;
    let currency: Currency = rest.text()?.parse().ok()?;
    let owner = match rest.take(1)? {
        [0] => None,
        [1] => Some(Uuid::from_slice(rest.take(16)?).ok()?.into()),
        _ => return None,
    };
    let place = match rest.text()? {
        "" => None,
        code => Some(region.tax_place_named(code)?),
    };
    let issued_at = DateTime::from_timestamp_millis(rest.number()?)?;
    let expires_at = DateTime::from_timestamp_millis(rest.number()?)?;
    let total = Money::from_minor(rest.number()?, currency).ok()?;
    let count = rest.number()?;
    let mut lines = Vec::new();
    for _ in 0..count {
        lines.push(LockedLine {
            sku: Sku::parse(rest.text()?).ok()?,
            quantity: rest.number()?.try_into().ok()?,
            unit_price: Money::from_minor(rest.number()?, currency).ok()?,
            revision: rest.number()?,
            class: rest.text()?.parse().ok()?,
            rate: match rest.number()? {
                -1 => None,
                millionths => Some(TaxRate::new(millionths.try_into().ok()?)?),
            },
            reductions: Vec::new(),
        });
    }
    let coupon = if is_reduced { read_reductions(&mut rest, &mut lines, currency)? } else { None };
    rest.0.is_empty().then_some(PriceLock { region, owner, place, lines, total, coupon, issued_at, expires_at })
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, i64::try_from(text.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(text.as_bytes());
}

/// Seven bits to the byte, the lowest first; the sign goes into the lowest bit, so that small numbers of either sign are short.
fn number(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn number(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
            shift += 7;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use proptest::prelude::*;

    use super::*;

    fn keys() -> LockKeys {
        LockKeys::new(Region::Eu, "secret of today", Some("secret of yesterday")).unwrap()
    }

    fn a_lock() -> PriceLock {
        let at = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let euro = |minor| Money::from_minor(minor, Currency::Eur).unwrap();
        let line = |sku: &str, quantity| LockedLine {
            sku: Sku::parse(sku).unwrap(),
            quantity,
            unit_price: euro(4990),
            revision: 3,
            class: TaxClass::Standard,
            rate: TaxRate::new(190_000),
            reductions: Vec::new(),
        };
        PriceLock {
            region: Region::Eu,
            owner: Some(UserId::from_uuid(Uuid::from_u128(7))),
            place: Region::Eu.tax_place_named("DE"),
            lines: vec![line("LAMP-1", 2), line("COAT-1", 1)],
            total: euro(14_970),
            coupon: None,
            issued_at: at,
            expires_at: at + Duration::minutes(15),
        }
    }

    fn a_coupon() -> CouponUse {
        CouponUse {
            code: CouponCode::parse("AUTUMN-10").unwrap(),
            revision: 7,
            most_uses: Some(100),
            most_per_person: None,
        }
    }

    fn basket(lines: &[(&str, u32)]) -> Vec<BasketLine> {
        let line = |(sku, quantity): &(&str, u32)| BasketLine {
            sku: Sku::parse(sku).unwrap(),
            quantity: *quantity,
            options: Vec::new(),
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_lock_is_good_for_its_own_lines_only() {
        let lock = a_lock();
        let lines = basket(&[("COAT-1", 1), ("LAMP-1", 2)]);
        assert!(lock.covers(&lines, None));
        let with_coupon = PriceLock { coupon: Some(a_coupon()), ..lock.clone() };
        assert!(with_coupon.covers(&lines, Some(&a_coupon().code)));
        assert!(!with_coupon.covers(&lines, None) && !lock.covers(&lines, Some(&a_coupon().code)));
        for other in [
            vec![("LAMP-1", 2)],
            vec![("LAMP-1", 1), ("COAT-1", 2)],
            vec![("LAMP-1", 2), ("HAT-1", 1)],
            vec![("LAMP-1", 2), ("COAT-1", 1), ("HAT-1", 1)],
            vec![],
        ] {
            assert!(!lock.covers(&basket(&other), None), "{other:?}");
        }
        assert!(!lock.is_over(lock.expires_at - Duration::milliseconds(1)) && lock.is_over(lock.expires_at));
    }

    #[test]
    fn only_a_lock_of_this_region_under_a_known_key_is_opened() {
        let (keys, lock) = (keys(), a_lock());
        let sealed = keys.seal(&lock);
        assert_eq!(keys.open(&sealed), Ok(lock.clone()));
        assert!(!format!("{sealed:?} {keys:?}").contains("secret"));
        assert!(!format!("{sealed:?}").contains(&sealed.open()[4..12]));
        let with = |region, secret, previous| LockKeys::new(region, secret, previous).unwrap();
        let next = with(Region::Eu, "secret of tomorrow", Some("secret of today"));
        assert_eq!(next.open(&sealed), Ok(lock.clone()), "signed before the rotation");
        assert_eq!(keys.open(&with(Region::Eu, "secret of yesterday", None).seal(&lock)), Ok(lock.clone()));
        let later = with(Region::Eu, "secret of next week", Some("secret of tomorrow"));
        assert_eq!(later.open(&sealed), Err(Forged), "two rotations ago");
        let abroad = with(Region::Us, "secret of today", None);
        assert_eq!(abroad.open(&sealed), Err(Forged));
        assert_eq!(keys.open(&abroad.seal(&lock)), Err(Forged));
        // Signed with our key, but speaking of another region.
        let foreign = PriceLock { region: Region::Us, place: None, ..lock };
        assert_eq!(keys.open(&keys.seal(&foreign)), Err(Forged));
    }

    #[test]
    fn a_lock_without_reductions_reads_as_it_always_did_and_another_version_is_another_signature() {
        let plain = keys().seal(&a_lock());
        assert!(plain.open().starts_with(PLAIN));
        let mut reduced = PriceLock { coupon: Some(a_coupon()), ..a_lock() };
        let off = |promotion: &str, minor| Reduction {
            promotion: promotion.to_owned(),
            revision: 4,
            amount: Money::from_minor(minor, Currency::Eur).unwrap(),
        };
        reduced.lines[0].reductions = vec![off("autumn", 499), off("lamps", 100)];
        reduced.lines[1].reductions = vec![off("autumn", 1)];
        let sealed = keys().seal(&reduced);
        assert!(sealed.open().starts_with(REDUCED));
        assert_eq!(keys().open(&sealed), Ok(reduced));
        for (text, other) in [(plain.open(), REDUCED), (sealed.open(), PLAIN)] {
            let renamed = format!("{other}{}", &text[PLAIN.len()..]);
            assert_eq!(keys().open(&LockText::new(renamed)), Err(Forged));
        }
    }

    #[test]
    fn the_largest_lock_fits() {
        let off = |promotion: usize| Reduction {
            promotion: format!("{promotion}{}", "p".repeat(39)),
            revision: i64::MAX,
            amount: Money::from_minor(999_999_999, Currency::Eur).unwrap(),
        };
        let line = |number: usize| LockedLine {
            sku: Sku::parse(&format!("{number:02}{}", "S".repeat(62))).unwrap(),
            quantity: 99,
            unit_price: Money::from_minor(999_999_999, Currency::Eur).unwrap(),
            revision: i64::MAX,
            reductions: (0..3).map(|nth| off((number + nth) % MOST_PROMOTIONS)).collect(),
            ..a_lock().lines[0].clone()
        };
        let lock = PriceLock { lines: (0..50).map(line).collect(), coupon: Some(a_coupon()), ..a_lock() };
        let sealed = keys().seal(&lock);
        assert!(sealed.open().len() <= LONGEST, "{} characters", sealed.open().len());
        assert_eq!(keys().open(&sealed), Ok(lock));
    }

    #[test]
    fn hostile_texts_are_not_locks() {
        let good = keys().seal(&a_lock()).open().to_owned();
        let many = "A".repeat(LONGEST);
        for text in [
            "",
            "pl1.",
            "pl1.AAAA",
            "pl2.",
            "pl2.AAAA",
            "pl3.AAAA",
            "pl1.!!",
            &good[4..],
            &many,
            &format!("{good}="),
            &format!("{good}AAAA"),
        ] {
            assert_eq!(keys().open(&LockText::new(text.to_owned())), Err(Forged), "{text:.40}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_and_any_change_is_found(
            lines in prop::collection::vec(("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", 1_u32..=99, 1_i64..=9_999_999_999, any::<i64>(), 0_u32..=1_000_000), 0..50),
            owner: Option<u128>,
            flip in any::<prop::sample::Index>(),
            bit in 0_u8..6,
        ) {
            let line = |(sku, quantity, minor, revision, rate): (String, u32, i64, i64, u32)| LockedLine {
                sku: Sku::parse(&sku).unwrap(),
                quantity,
                unit_price: Money::from_minor(minor, Currency::Eur).unwrap(),
                revision,
                class: TaxClass::ALL[rate as usize % 4],
                rate: if rate % 5 == 0 { None } else { TaxRate::new(rate) },
                reductions: (0..rate % 4)
                    .map(|nth| Reduction {
                        promotion: format!("promotion-{}", (rate + nth) % 8),
                        revision: i64::from((rate + nth) % 8),
                        amount: Money::from_minor(minor, Currency::Eur).unwrap(),
                    })
                    .collect(),
            };
            let lock = PriceLock {
                owner: owner.map(|id| Uuid::from_u128(id).into()),
                place: owner.and(a_lock().place),
                lines: lines.into_iter().map(line).collect(),
                coupon: owner.map(|_| a_coupon()),
                ..a_lock()
            };
            let sealed = keys().seal(&lock);
            prop_assert!(sealed.open().len() <= LONGEST);
            prop_assert_eq!(keys().open(&sealed), Ok(lock));
            // Another letter anywhere behind the version.
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let mut letters = sealed.open().as_bytes().to_vec();
            let place = PLAIN.len() + flip.index(letters.len() - PLAIN.len());
            let value = ALPHABET.iter().position(|letter| *letter == letters[place]).unwrap();
            letters[place] = ALPHABET[value ^ (1 << bit)];
            prop_assert_eq!(keys().open(&LockText::new(String::from_utf8(letters).unwrap())), Err(Forged));
        }
    }
}
