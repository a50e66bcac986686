//! Changes as they are read back: segue's and its peers'.

use anyhow::{Context as _, Result};

/// Segment, whether it was entered, when.
pub(crate) type Change = (String, bool, i64);
/// From a record's value to the customer and the change.
pub(crate) type Decode = fn(&[u8]) -> Result<(String, Change)>;
/// A topic of changes, and how they are written there.
pub(crate) type Output = (&'static str, Decode);

/// What comes before the record in the single-object encoding.
const HEADER: usize = 10;

/// `schemas/segment_change.avsc`, as far as it matters here.
pub(crate) fn decode_ours(value: &[u8]) -> Result<(String, Change)> {
    let mut reader = Reader(value.get(HEADER..).context("it ends too soon")?);
    reader.text()?;
    let (customer, segment) = (reader.text()?, reader.text()?);
    // The enum's first symbol is `entered`.
    let entered = reader.long()? == 0;
    Ok((customer, (segment, entered, reader.long()?)))
}

/// What `ChangeFormat` of the peers writes.
pub(crate) fn decode_theirs(value: &[u8]) -> Result<(String, Change)> {
    let mut reader = Reader(value);
    let (customer, segment) = (reader.text()?, reader.text()?);
    let entered = reader.byte()? == 1;
    Ok((customer, (segment, entered, reader.long()?)))
}

/// Avro's integers and texts.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.0.split_first().context("it ends too soon")?;
        self.0 = rest;
        Ok(*first)
    }

    fn long(&mut self) -> Result<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn text(&mut self) -> Result<String> {
        let length = usize::try_from(self.long()?)?;
        let (text, rest) = self.0.split_at_checked(length).context("it ends too soon")?;
        self.0 = rest;
        Ok(std::str::from_utf8(text)?.to_owned())
    }
}
