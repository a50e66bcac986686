//! Integers and texts as few bytes as they need, for the stored customer.

use rust_decimal::Decimal;

use super::super::varint::{self, unzigzag, zigzag};

/// The bytes are not what `Writer` writes: damaged, or of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable bytes")]
pub struct Unreadable;

/// Appends to a buffer.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// Instants are written as distances from this one.
    pub(super) origin: i64,
}

impl Writer {
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits a byte, the least first; all but the last have the highest bit set.
    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) {
        if value < 0x80 { self.byte(value.to_le_bytes()[0]) } else { self.long(value) }
    }

    /// The same of one that is not small.
    fn long(&mut self, value: u64) {
        if value >> 56 > 0 {
            return self.wide(value.into());
        }
        // Lengths are hard to foresee, so that there is no loop here: the bits are spread, and as many bytes kept as matter.
        let spread = ((value & 0x00ff_ffff_f000_0000) << 4) | (value & 0x0fff_ffff);
        let spread = ((spread & 0x0fff_c000_0fff_c000) << 2) | (spread & 0x0000_3fff_0000_3fff);
        let spread = ((spread & 0x3f80_3f80_3f80_3f80) << 1) | (spread & 0x007f_007f_007f_007f);
        let length = (70 - value.leading_zeros()) / 7;
        let more = 0x0080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
        let end = self.bytes.len() + length as usize;
        self.bytes.extend_from_slice(&(spread | more).to_le_bytes());
        self.bytes.truncate(end);
    }

    #[inline]
    pub(super) fn length(&mut self, length: usize) {
        self.unsigned(length as u64);
    }

    #[inline]
    pub(super) fn hash(&mut self, hash: u64) {
        self.bytes.extend_from_slice(&hash.to_le_bytes());
    }

    #[inline]
    pub(super) fn instant(&mut self, instant: i64) {
        match instant.checked_sub(self.origin) {
            Some(distance) => self.unsigned(zigzag(distance)),
            None => self.wide(zigzag_wide(i128::from(instant) - i128::from(self.origin))),
        }
    }

    pub(super) fn decimal(&mut self, decimal: Decimal) {
        // Without the zeros at the end, so that equal numbers have equal bytes; most numbers are short.
        let mut scale = decimal.scale();
        let Ok(mut mantissa) = i64::try_from(decimal.mantissa()) else {
            let decimal = decimal.normalize();
            self.byte(u8::try_from(decimal.scale()).unwrap_or(0));
            return self.wide(zigzag_wide(decimal.mantissa()));
        };
        while scale > 0 && mantissa % 10 == 0 {
            scale -= 1;
            mantissa /= 10;
        }
        self.byte(u8::try_from(scale).unwrap_or(0));
        self.unsigned(zigzag(mantissa));
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The same form as [`unsigned`](Self::unsigned) has, for greater numbers, which are rare.
    #[cold]
    fn wide(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }
}

/// [`zigzag`] of what takes more bits.
fn zigzag_wide(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)).cast_unsigned()
}

fn unzigzag_wide(value: u128) -> i128 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Takes from a buffer what [`Writer`] put there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) origin: i64,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let (first, rest) = self.bytes.split_first().ok_or(Unreadable)?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline]
    pub(super) fn unsigned(&mut self) -> Result<u64, Unreadable> {
        match self.short() {
            Some(value) => Ok(value),
            None => u64::try_from(self.wide()?).map_err(|_| Unreadable),
        }
    }

    /// A number of things that each take at least one byte, so that damage cannot ask for more memory than there is data.
    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, Unreadable> {
        usize::try_from(self.unsigned()?).ok().filter(|length| *length <= self.bytes.len()).ok_or(Unreadable)
    }

    #[inline]
    pub(super) fn hash(&mut self) -> Result<u64, Unreadable> {
        let (first, rest) = self.bytes.split_first_chunk::<8>().ok_or(Unreadable)?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*first))
    }

    #[inline]
    pub(super) fn instant(&mut self) -> Result<i64, Unreadable> {
        if let Some(distance) = self.short() {
            return self.origin.checked_add(unzigzag(distance)).ok_or(Unreadable);
        }
        let distance = unzigzag_wide(self.wide()?);
        let instant = distance.checked_add(i128::from(self.origin)).ok_or(Unreadable)?;
        i64::try_from(instant).map_err(|_| Unreadable)
    }

    pub(super) fn decimal(&mut self) -> Result<Decimal, Unreadable> {
        let scale = u32::from(self.byte()?);
        let decimal = match self.short() {
            Some(mantissa) => Decimal::try_new(unzigzag(mantissa), scale),
            None => Decimal::try_from_i128_with_scale(unzigzag_wide(self.wide()?), scale),
        };
        decimal.map_err(|_| Unreadable)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        let length = self.length()?;
        let (text, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| Unreadable)
    }

    /// A number of at most 56 bits; `None`, and nothing taken, where the bytes may be of another.
    #[inline]
    fn short(&mut self) -> Option<u64> {
        let (value, rest) = varint::short(self.bytes)?;
        self.bytes = rest;
        Some(value)
    }

    #[cold]
    fn wide(&mut self) -> Result<u128, Unreadable> {
        let mut value = 0_u128;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl Fn(&mut Writer), expected: &[u8]) {
        let mut writer = Writer { bytes: vec![7], origin: 1_000 };
        write(&mut writer);
        assert_eq!(writer.bytes[0], 7);
        assert_eq!(&writer.bytes[1..], expected);
    }

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        for bits in 0..64 {
            for value in
                [1 << bits, (1 << bits) - 1, (1_u64 << bits) | 1, u64::MAX >> bits, 0x5555_5555_5555_5555 >> bits]
            {
                let mut expected = Vec::new();
                let mut rest = value;
                while rest >= 0x80 {
                    expected.push(rest.to_le_bytes()[0] | 0x80);
                    rest >>= 7;
                }
                expected.push(rest.to_le_bytes()[0]);
                check(|writer| writer.unsigned(value), &expected);
                for n_behind in [0, 1, 8] {
                    let bytes = [expected.as_slice(), &[0xff; 8][..n_behind]].concat();
                    let mut reader = Reader { bytes: &bytes, origin: 0 };
                    assert_eq!((reader.unsigned(), reader.bytes.len()), (Ok(value), n_behind));
                }
            }
        }
    }

    #[test]
    fn instants_of_any_distance_come_back() {
        for instant in [i64::MIN, -1, 0, 999, 1_000, 1_001, 1_780_000_000_000, i64::MAX] {
            for origin in [i64::MIN, -5, 0, 1_780_000_000_123, i64::MAX] {
                let mut writer = Writer { bytes: Vec::new(), origin };
                writer.instant(instant);
                let mut reader = Reader { bytes: &writer.bytes, origin };
                assert_eq!(reader.instant(), Ok(instant));
                assert!(reader.bytes.is_empty());
            }
        }
    }

    #[test]
    fn equal_decimals_have_equal_bytes() {
        check(|writer| writer.decimal(Decimal::new(1_990, 3)), &[2, 0x8e, 3]);
        check(|writer| writer.decimal(Decimal::new(199, 2)), &[2, 0x8e, 3]);
        check(|writer| writer.decimal(Decimal::new(-30, 1)), &[0, 5]);
        check(|writer| writer.decimal(Decimal::new(0, 9)), &[0, 0]);
        let large = Decimal::MAX;
        let mut writer = Writer { bytes: Vec::new(), origin: 0 };
        writer.decimal(large);
        assert_eq!(Reader { bytes: &writer.bytes, origin: 0 }.decimal(), Ok(large));
    }
}
