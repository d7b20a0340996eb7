//! Bodies that were made small for the way: gzip and zstd. Decided here: how large one may become, so that a kilobyte that
//! unpacks to a gigabyte costs what an honest body costs, and that a body which ends too early is no body.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// The window every decoder has to offer (RFC 8878): 8 MiB, of which only as much is touched as is unpacked.
const WINDOW_LOG: u32 = 23;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpackable {
    /// Would become larger than is taken.
    TooLarge,
    /// Cut off, damaged, or something else.
    Broken,
}

/// `None` for what nobody here unpacks, one packing around another among it.
pub(super) fn packing(headers: &HeaderMap) -> Option<Packing> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Some(Packing::Plain) };
    let name = value.to_str().ok()?.trim();
    let packing =
        [("identity", Packing::Plain), ("gzip", Packing::Gzip), ("x-gzip", Packing::Gzip), ("zstd", Packing::Zstd)];
    let known = packing.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    values.next().is_none().then_some(known.1)
}

/// At most `most` bytes of what `packed` holds.
pub(super) fn unpack(packing: Packing, packed: &[u8], most: usize) -> Result<Cow<'_, [u8]>, Unpackable> {
    match packing {
        Packing::Plain if packed.len() > most => Err(Unpackable::TooLarge),
        Packing::Plain => Ok(Cow::Borrowed(packed)),
        Packing::Gzip => gunzip(packed, most).map(Cow::Owned),
        Packing::Zstd => unzstd(packed, most).map(Cow::Owned),
    }
}

fn gunzip(packed: &[u8], most: usize) -> Result<Vec<u8>, Unpackable> {
    let mut plain = Vec::with_capacity(most.min(packed.len() * 4));
    let mut reader = MultiGzDecoder::new(packed).take(most as u64 + 1);
    reader.read_to_end(&mut plain).map_err(|_| Unpackable::Broken)?;
    if plain.len() > most { Err(Unpackable::TooLarge) } else { Ok(plain) }
}

fn unzstd(packed: &[u8], most: usize) -> Result<Vec<u8>, Unpackable> {
    let mut context = DCtx::try_create().ok_or(Unpackable::Broken)?;
    context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(|_| Unpackable::Broken)?;
    let mut plain = vec![0_u8; most + 1];
    let mut output = OutBuffer::around(&mut plain[..]);
    let mut input = InBuffer::around(packed);
    // Ends: each turn reads or writes, or the decoder says that nothing moves.
    let written = loop {
        let missing = context.decompress_stream(&mut output, &mut input).map_err(|_| Unpackable::Broken)?;
        if output.pos() > most {
            return Err(Unpackable::TooLarge);
        }
        if input.pos == packed.len() {
            break if missing == 0 { output.pos() } else { return Err(Unpackable::Broken) };
        }
    };
    plain.truncate(written);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const MOST: usize = 100_000;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
        let length = zstd_safe::compress(&mut packed[..], plain, 3).expect("into memory");
        packed.truncate(length);
        packed
    }

    fn packed(plain: &[u8]) -> [(Packing, Vec<u8>); 2] {
        [(Packing::Gzip, gzip(plain)), (Packing::Zstd, zstd(plain))]
    }

    #[test]
    fn what_was_packed_comes_out_again_up_to_the_last_byte_that_is_taken() {
        for length in [0, 1, 3_000, MOST] {
            let plain: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            for (packing, packed) in packed(&plain) {
                assert_eq!(unpack(packing, &packed, MOST).as_deref(), Ok(&plain[..]), "{packing:?} of {length}");
            }
        }
        let twice: Vec<u8> = [zstd(b"one "), zstd(b"two")].concat();
        assert_eq!(unpack(Packing::Zstd, &twice, MOST).as_deref(), Ok(&b"one two"[..]));
    }

    #[test]
    fn a_bomb_is_left_at_the_first_byte_too_many() {
        let bomb = vec![b' '; 5_000_000];
        for (packing, packed) in packed(&bomb) {
            assert!(packed.len() < MOST, "{packing:?} packs it to {} bytes", packed.len());
            assert_eq!(unpack(packing, &packed, MOST), Err(Unpackable::TooLarge), "{packing:?}");
        }
        assert_eq!(unpack(Packing::Plain, &bomb, MOST), Err(Unpackable::TooLarge));
    }

    #[test]
    fn a_body_that_ends_too_early_or_is_something_else_is_broken_wherever_it_is_cut() {
        let plain: Vec<u8> = (0..2_000_u32).flat_map(|number| number.to_le_bytes()).collect();
        for (packing, packed) in packed(&plain) {
            for cut in 0..packed.len() {
                assert_eq!(unpack(packing, &packed[..cut], MOST), Err(Unpackable::Broken), "{packing:?} cut at {cut}");
            }
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0xff;
            assert_ne!(unpack(packing, &damaged, MOST).as_deref(), Ok(&plain[..]), "{packing:?}");
            assert_eq!(unpack(packing, b"[{\"event_id\":1}]", MOST), Err(Unpackable::Broken), "{packing:?}");
        }
    }

    #[test]
    fn only_one_known_packing_is_taken() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().expect("a header"));
            }
            headers
        };
        assert_eq!(packing(&headers(&[])), Some(Packing::Plain));
        assert_eq!(packing(&headers(&["GZIP"])), Some(Packing::Gzip));
        assert_eq!(packing(&headers(&["zstd"])), Some(Packing::Zstd));
        for wrong in [&["br"][..], &["gzip, gzip"], &["gzip", "zstd"], &[""]] {
            assert_eq!(packing(&headers(wrong)), None, "{wrong:?}");
        }
    }
}
