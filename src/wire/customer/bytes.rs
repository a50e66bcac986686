//! Integers and texts as few bytes as they need, for the stored customer.

use rust_decimal::Decimal;

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
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn unsigned(&mut self, value: u64) {
        let mut value = value;
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    pub(super) fn length(&mut self, length: usize) {
        self.unsigned(length as u64);
    }

    pub(super) fn hash(&mut self, hash: u64) {
        self.bytes.extend_from_slice(&hash.to_le_bytes());
    }

    pub(super) fn instant(&mut self, instant: i64) {
        let distance = i128::from(instant) - i128::from(self.origin);
        self.wide(zigzag(distance));
    }

    pub(super) fn decimal(&mut self, decimal: Decimal) {
        let decimal = decimal.normalize();
        self.byte(u8::try_from(decimal.scale()).unwrap_or(0));
        self.wide(zigzag(decimal.mantissa()));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The same form for greater numbers, which are rare.
    fn wide(&mut self, mut value: u128) {
        loop {
            if let Ok(small) = u64::try_from(value) {
                return self.unsigned(small);
            }
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
    }
}

/// Small numbers of either sign become small numbers.
fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)).cast_unsigned()
}

fn unzigzag(value: u128) -> i128 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Takes from a buffer what [`Writer`] put there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) origin: i64,
}

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let (first, rest) = self.bytes.split_first().ok_or(Unreadable)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Unreadable> {
        u64::try_from(self.wide()?).map_err(|_| Unreadable)
    }

    /// A number of things that each take at least one byte, so that damage cannot ask for more memory than there is data.
    pub(super) fn length(&mut self) -> Result<usize, Unreadable> {
        usize::try_from(self.wide()?).ok().filter(|length| *length <= self.bytes.len()).ok_or(Unreadable)
    }

    pub(super) fn hash(&mut self) -> Result<u64, Unreadable> {
        let (first, rest) = self.bytes.split_first_chunk::<8>().ok_or(Unreadable)?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*first))
    }

    pub(super) fn instant(&mut self) -> Result<i64, Unreadable> {
        let distance = unzigzag(self.wide()?);
        let instant = distance.checked_add(i128::from(self.origin)).ok_or(Unreadable)?;
        i64::try_from(instant).map_err(|_| Unreadable)
    }

    pub(super) fn decimal(&mut self) -> Result<Decimal, Unreadable> {
        let scale = u32::from(self.byte()?);
        Decimal::try_from_i128_with_scale(unzigzag(self.wide()?), scale).map_err(|_| Unreadable)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        let length = self.length()?;
        let (text, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| Unreadable)
    }

    fn wide(&mut self) -> Result<u128, Unreadable> {
        // Most are small.
        if let Some((&first, rest)) = self.bytes.split_first()
            && first < 0x80
        {
            self.bytes = rest;
            return Ok(u128::from(first));
        }
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
