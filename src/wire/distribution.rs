//! How a value is distributed over customers, as the topic of percentiles and the store hold it: JSON, so that a person can
//! read it in a console consumer. Values are decimal texts, exact.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::engine::percentile::{Distribution, Point};

/// The version written today.
const VERSION: u32 = 1;

/// A distribution as of an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Whether every customer was compared with it. Only what is in force is.
    pub applied: bool,
    /// The distribution.
    pub distribution: Distribution,
}

/// Bytes that are no distribution, or one that a newer version wrote.
#[derive(Debug, thiserror::Error)]
#[error("unreadable distribution: {0}")]
pub struct Unreadable(String);

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    at: i64,
    applied: bool,
    /// Value, customers below it, customers at it or below.
    points: Vec<(String, u64, u64)>,
}

/// The bytes of a distribution.
#[must_use]
pub fn encode(dated: &Dated) -> Vec<u8> {
    let points =
        dated.distribution.points().iter().map(|point| (point.value.to_string(), point.below, point.up_to)).collect();
    let written = Written { version: VERSION, at: dated.at, applied: dated.applied, points };
    // Plain numbers and decimal texts always have a JSON form.
    serde_json::to_vec(&written).unwrap_or_default()
}

/// Decodes what [`encode`] made.
///
/// # Errors
/// When the bytes are no distribution or of another version.
pub fn decode(bytes: &[u8]) -> Result<Dated, Unreadable> {
    let written: Written = serde_json::from_slice(bytes).map_err(|error| Unreadable(error.to_string()))?;
    if written.version != VERSION {
        return Err(Unreadable(format!("it is of version {}, and this program writes {VERSION}", written.version)));
    }
    let points = written.points.iter().map(|(value, below, up_to)| {
        let value = Decimal::from_str_exact(value).ok()?;
        Some(Point { value, below: *below, up_to: *up_to })
    });
    let distribution = points.collect::<Option<_>>().and_then(Distribution::with_points);
    let distribution = distribution.ok_or_else(|| Unreadable("its points are no numbers in order".to_owned()))?;
    Ok(Dated { at: written.at, applied: written.applied, distribution })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let values = ["-3", "0.10", "0.1", "79228162514264337593543950335"];
        let distribution = Distribution::of(values.map(|value| value.parse().unwrap()).to_vec());
        for dated in [
            Dated { at: -1, applied: true, distribution },
            Dated { at: i64::MAX, applied: false, distribution: Distribution::default() },
        ] {
            assert_eq!(decode(&encode(&dated)).unwrap(), dated);
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let texts = [
            "",
            "{}",
            r#"{"version":2,"at":0,"applied":true,"points":[]}"#,
            r#"{"version":1,"at":0,"applied":true,"points":[["2",0,1],["1",1,2]]}"#,
            r#"{"version":1,"at":0,"applied":true,"points":[["1",0,0]]}"#,
        ];
        for text in texts {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
    }
}
