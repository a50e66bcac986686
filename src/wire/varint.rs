//! Integers of seven bits a byte, the least first, of which all but the last have the highest bit set: those of Avro and of the
//! stored customer.

/// A number of at most 56 bits, and what follows; `None` where the bytes may be of another. Lengths are hard to foresee, so
/// that there is no loop here: as many bytes are kept as matter, and the gaps between their bits closed.
#[inline]
pub(super) fn short(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((first.into(), rest));
    }
    let next = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    let n_bits = (!next & 0x8080_8080_8080_8080).trailing_zeros() + 1;
    let spread = next & 0x7f7f_7f7f_7f7f_7f7f & u64::MAX.checked_shr(64_u32.checked_sub(n_bits)?)?;
    let spread = ((spread & 0x7f00_7f00_7f00_7f00) >> 1) | (spread & 0x007f_007f_007f_007f);
    let spread = ((spread & 0x3fff_0000_3fff_0000) >> 2) | (spread & 0x0000_3fff_0000_3fff);
    let value = ((spread & 0x0fff_ffff_0000_0000) >> 4) | (spread & 0x0fff_ffff);
    Some((value, bytes.get(n_bits as usize / 8..)?))
}

/// Small numbers of either sign become small numbers.
#[inline]
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// What [`zigzag`] was of.
#[inline]
pub(super) fn unzigzag(coded: u64) -> i64 {
    (coded >> 1).cast_signed() ^ -((coded & 1).cast_signed())
}
