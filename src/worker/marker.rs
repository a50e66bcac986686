//! How far a partition got: written with the state it belongs to, into the changelog and into the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The changelog key of markers. No customer has it: it is not UTF-8.
pub const MARKER_KEY: &[u8] = b"\xffmarker";

const VERSION: u32 = 1;

/// How far a partition got with one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Version of this encoding.
    version: u32,
    /// The partition's transactions, counted from 1.
    pub transaction: u64,
    /// For each input topic ever read: the offset of the next record to read.
    pub offsets: BTreeMap<String, i64>,
    /// The partition clock, milliseconds since the epoch.
    pub clock: Option<i64>,
    /// How many partitions the input topics have: with another number, customers live elsewhere.
    pub partitions: i32,
    /// Hash of the definitions that were at work.
    pub definitions: u64,
    /// Whether some customers are still as they were under other definitions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
}

impl Marker {
    /// A marker of the current version, everybody evaluated under its definitions.
    pub fn new(
        transaction: u64,
        offsets: BTreeMap<String, i64>,
        clock: Option<i64>,
        partitions: i32,
        definitions: u64,
    ) -> Self {
        Self { version: VERSION, transaction, offsets, clock, partitions, definitions, unfinished: false }
    }
}

/// How far a store got: a marker, and where in the changelog it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMarker {
    /// The offset after the marker's record in the changelog: what a restore reads first.
    pub changelog_position: i64,
    /// When the changelog had not gone on from there yet, by the wall clock, milliseconds since the epoch: a store that is
    /// too old may hold customers whose removal the changelog has forgotten.
    pub written_at: i64,
    /// The marker.
    pub marker: Marker,
}

/// Bytes that are no marker, or one that a newer version wrote.
#[derive(Debug, thiserror::Error)]
#[error("unreadable marker: {0}")]
pub struct UnreadableMarker(String);

/// Encodes a [`Marker`] or a [`StoredMarker`]: JSON, so that a person can read it in a console consumer.
pub fn encode(marker: &impl Serialize) -> Vec<u8> {
    // Text keys and plain numbers always have a JSON form.
    serde_json::to_vec(marker).unwrap_or_default()
}

impl Marker {
    /// Decodes what [`encode`] made.
    ///
    /// # Errors
    /// When the bytes are no marker or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableMarker> {
        let marker: Self = serde_json::from_slice(bytes).map_err(|error| UnreadableMarker(error.to_string()))?;
        marker.of_this_version()
    }

    fn of_this_version(self) -> Result<Self, UnreadableMarker> {
        match self.version {
            VERSION => Ok(self),
            other => Err(UnreadableMarker(format!("it is of version {other}, and this program writes {VERSION}"))),
        }
    }
}

impl StoredMarker {
    /// Decodes what [`encode`] made.
    ///
    /// # Errors
    /// When the bytes are no stored marker or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableMarker> {
        let stored: Self = serde_json::from_slice(bytes).map_err(|error| UnreadableMarker(error.to_string()))?;
        let marker = stored.marker.of_this_version()?;
        Ok(Self { marker, ..stored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        let offsets = [("clicks".to_owned(), 0), ("a topic \"quoted\"".to_owned(), i64::MAX)].into();
        Marker::new(u64::MAX, offsets, Some(-1), 64, u64::MAX - 1)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let stored = StoredMarker { changelog_position: 17, written_at: -3, marker: marker() };
        assert_eq!(StoredMarker::decode(&encode(&stored)).unwrap(), stored);
        assert_eq!(Marker::decode(&encode(&marker())).unwrap(), marker());
        let blank = Marker { clock: None, unfinished: true, ..marker() };
        assert_eq!(Marker::decode(&encode(&blank)).unwrap(), blank);
    }

    #[test]
    fn other_bytes_are_refused() {
        let newer = Marker { version: VERSION + 1, ..marker() };
        for bytes in [b"".as_slice(), b"{}", b"\x00\x01", &encode(&newer)] {
            assert!(Marker::decode(bytes).is_err(), "{bytes:?}");
            assert!(StoredMarker::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
