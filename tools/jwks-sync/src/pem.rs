//! A public key as the text that gateways read: SubjectPublicKeyInfo in DER, in base64, between two lines. The three kinds of key need three
//! forms and no more, so the DER is written here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chassis::auth::Key;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// `id-ecPublicKey` on `prime256v1`, and the head of a BIT STRING of 65 bytes.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// `id-Ed25519`, and the head of a BIT STRING of 32 bytes.
const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// `rsaEncryption` with its empty parameters.
const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// The key as PEM, with a line break at the end.
pub fn of(key: &Key) -> String {
    let der = match key {
        Key::P256(point) => [P256, point].concat(),
        Key::Ed25519(point) => [ED25519, point].concat(),
        Key::Rsa { n, e } => {
            let numbers = tagged(SEQUENCE, &[number(n), number(e)].concat());
            // no unused bits at its end
            let bits = tagged(BIT_STRING, &[&[0][..], &numbers].concat());
            tagged(SEQUENCE, &[RSA, &bits].concat())
        }
    };
    let text = STANDARD.encode(der);
    let mut pem = format!("{BEGIN}\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(END);
    pem.push('\n');
    pem
}

/// A value with its tag and its length.
fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let head = match length {
        [short] if *short < 128 => vec![tag, *short],
        // at most eight bytes of length
        long => [&[tag, 0x80 | u8::try_from(long.len()).unwrap_or(8)][..], long].concat(),
    };
    [head, value.to_vec()].concat()
}

/// A positive number: without needless zeros, with one where the first bit would mean minus.
fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    match digits.first() {
        Some(first) if *first < 128 => tagged(INTEGER, digits),
        _ => tagged(INTEGER, &[&[0][..], digits].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_as_der_wants_them() {
        assert_eq!(number(&[0, 0, 1]), [INTEGER, 1, 1]);
        assert_eq!(number(&[0x80]), [INTEGER, 2, 0, 0x80]);
        assert_eq!(number(&[]), [INTEGER, 1, 0]);
        assert_eq!(tagged(SEQUENCE, &[7; 127])[..2], [SEQUENCE, 127]);
        assert_eq!(tagged(SEQUENCE, &[7; 128])[..3], [SEQUENCE, 0x81, 128]);
        assert_eq!(tagged(SEQUENCE, &[7; 256])[..4], [SEQUENCE, 0x82, 1, 0]);
    }

    #[test]
    fn no_line_is_longer_than_64_letters_and_the_ends_are_named() {
        let pem = of(&Key::Rsa { n: vec![0xff; 256], e: vec![1, 0, 1] });
        assert!(
            pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("\n-----END PUBLIC KEY-----\n"),
            "{pem}"
        );
        assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    }
}
