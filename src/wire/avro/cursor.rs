//! Bytes being read, front to back, with every length checked.

use super::super::{DecodeError, varint};

/// What is left to read.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A zigzag long.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, DecodeError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(varint::unzigzag(byte.into()))
            }
            _ => self.long_of_several(),
        }
    }

    /// The same of one that takes several bytes. Apart, so that what most are read by is small enough to be in its place.
    #[inline(never)]
    fn long_of_several(&mut self) -> Result<i64, DecodeError> {
        if let Some((coded, rest)) = varint::short(self.rest) {
            self.rest = rest;
            return Ok(varint::unzigzag(coded));
        }
        let first = self.byte()?;
        let mut coded = u64::from(first & 0x7f);
        let mut byte = first;
        let mut shift = 7;
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::BadInteger);
            }
            coded |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok(varint::unzigzag(coded))
    }

    /// A zigzag int.
    pub(super) fn int(&mut self) -> Result<i32, DecodeError> {
        i32::try_from(self.long()?).map_err(|_| DecodeError::BadInteger)
    }

    /// A length that may be believed: no more than there is.
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.long()?).map_err(|_| DecodeError::BadLength)?;
        if length > self.left() { Err(DecodeError::Truncated) } else { Ok(length) }
    }

    /// Bytes with their length in front.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// A string.
    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::BadText)
    }
}
