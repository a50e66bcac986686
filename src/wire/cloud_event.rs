//! The headers that make a change record a `CloudEvent` (binary mode of the Kafka protocol binding), so that programs which
//! know nothing of segue can route and filter changes without decoding them.

use super::text::push_instant;
use crate::engine::effects::Change;

/// A record header: its name and its value.
pub type RecordHeader<'a> = (&'a str, Option<&'a [u8]>);

/// What a record's trace context is called, by the W3C: carried from an event to what it brings about.
pub const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// The type of the event of entering.
pub const ENTERED: &str = "segue.segment.entered";
/// The type of the event of leaving.
pub const LEFT: &str = "segue.segment.left";

/// The form of a record's value, as `content-type` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// JSON.
    Json,
    /// Avro.
    Avro,
}

impl ContentType {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Avro => "application/avro",
        }
    }
}

/// The `source` of an application's events.
#[must_use]
pub fn source(application: &str) -> String {
    format!("/segue/{application}")
}

/// The attributes of one change that are not the same for all.
#[derive(Debug, Clone)]
pub struct CloudEvent<'a> {
    change: &'a Change,
    id: &'a [u8; 32],
    time: Vec<u8>,
}

impl<'a> CloudEvent<'a> {
    /// Of a change and its identity.
    #[must_use]
    pub fn of(change: &'a Change, id: &'a [u8; 32]) -> Self {
        let mut time = Vec::with_capacity(24);
        push_instant(&mut time, change.at);
        Self { change, id, time }
    }

    /// The headers, in a fixed order. The subject is the segment, which is what subscribers filter by; the customer is the
    /// record's key.
    #[must_use]
    pub fn headers(&'a self, source: &'a str, content_type: ContentType) -> [RecordHeader<'a>; 7] {
        let kind = if self.change.entered { ENTERED } else { LEFT };
        [
            ("ce_specversion", Some(b"1.0".as_slice())),
            ("ce_id", Some(self.id.as_slice())),
            ("ce_source", Some(source.as_bytes())),
            ("ce_type", Some(kind.as_bytes())),
            ("ce_subject", Some(self.change.segment.as_bytes())),
            ("ce_time", Some(&self.time)),
            ("content-type", Some(content_type.name().as_bytes())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::effects::Cause;

    #[track_caller]
    fn check(entered: bool, content_type: ContentType, expected: &[(&str, &str)]) {
        let change = Change {
            customer_id: "ada".into(),
            segment: "loyalty.gold".into(),
            entered,
            at: 1_767_268_800_005,
            sequence: 7,
            definition: "3a3e3318".into(),
            cause: Cause::Time,
            why: Vec::new(),
            traits: Vec::new(),
        };
        let event = CloudEvent::of(&change, b"8c3c27f5fb03ea2cbd157bd5c1a63f20");
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        let headers = event.headers("/segue/shop", content_type).map(|(name, value)| (name, text(value)));
        let found: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for header in expected {
            assert!(found.contains(header), "no {header:?} in {found:?}");
        }
        assert!(found.iter().all(|(_, value)| !value.is_empty() && !value.contains("ada")), "{found:?}");
    }

    #[test]
    fn a_change_has_all_that_a_cloud_event_must_have() {
        let required = [
            ("ce_specversion", "1.0"),
            ("ce_id", "8c3c27f5fb03ea2cbd157bd5c1a63f20"),
            ("ce_source", "/segue/shop"),
            ("ce_type", "segue.segment.entered"),
            ("ce_subject", "loyalty.gold"),
            ("ce_time", "2026-01-01T12:00:00.005Z"),
            ("content-type", "application/avro"),
        ];
        check(true, ContentType::Avro, &required);
        check(false, ContentType::Json, &[("ce_type", "segue.segment.left"), ("content-type", "application/json")]);
    }
}
