//! What a commit sends, in the formats that were promised.

use smallvec::SmallVec;

use crate::kafka::log::LogProducer;
use crate::kafka::transaction::{Failure, Outgoing};
use crate::wire::change::{
    Header, change_id_digits, membership_key, write_avro_as, write_json_as, write_membership_avro,
    write_membership_json,
};
use crate::wire::cloud_event::{CloudEvent, ContentType, RecordHeader};

use super::batch::PendingChange;
use super::dead_letter::DeadLetter;
use super::marker::{MARKER_KEY, Marker, encode};

/// The form of change and membership records.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    /// JSON.
    Json,
    /// Avro, with what comes before a change and before a membership.
    Avro {
        /// Before a change.
        change: Header,
        /// Before a membership.
        membership: Header,
    },
}

/// Where to, and in which form.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Topic of changes.
    pub changes: String,
    /// Topic of memberships.
    pub memberships: String,
    /// Topic of what was refused.
    pub dead_letters: String,
    /// Topic of the changelog.
    pub changelog: String,
    /// Topic of distributions, for percentiles.
    pub percentiles: String,
    /// The form of changes and memberships.
    pub format: Format,
    /// The `source` of changes as `CloudEvents`.
    pub source: String,
}

impl Outbox {
    /// Sends a change, and the membership that it begins or ends.
    pub(super) fn change(&self, producer: &mut impl LogProducer, pending: &PendingChange) -> Result<(), Failure> {
        let PendingChange { change, trace, .. } = pending;
        let id = change_id_digits(&change.customer_id, &change.segment, change.sequence);
        // Most are shorter, so that the buffer need not grow.
        let mut value = Vec::with_capacity(512);
        let content_type = match self.format {
            Format::Json => {
                write_json_as(change, &id, &mut value);
                ContentType::Json
            }
            Format::Avro { change: header, .. } => {
                write_avro_as(change, &id, header, &mut value);
                ContentType::Avro
            }
        };
        let event = CloudEvent::of(change, &id);
        let mut headers: SmallVec<[RecordHeader<'_>; 9]> =
            event.headers(&self.source, content_type).into_iter().collect();
        headers
            .extend(trace.iter().flat_map(|trace| trace.iter()).map(|(name, value)| (*name, Some(value.as_slice()))));
        producer.send(&Outgoing {
            topic: &self.changes,
            partition: None,
            key: Some(change.customer_id.as_bytes()),
            value: Some(&value),
            headers: &headers,
        })?;
        value.clear();
        match self.format {
            Format::Json => write_membership_json(change, &mut value),
            Format::Avro { membership: header, .. } => write_membership_avro(change, header, &mut value),
        }
        producer.send(&Outgoing {
            topic: &self.memberships,
            partition: None,
            key: Some(membership_key(&change.customer_id, &change.segment).as_bytes()),
            value: change.entered.then_some(&value),
            headers: &[],
        })
    }

    pub(super) fn dead_letter(&self, producer: &mut impl LogProducer, letter: &DeadLetter) -> Result<(), Failure> {
        let headers: Vec<RecordHeader<'_>> =
            letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        producer.send(&Outgoing {
            topic: &self.dead_letters,
            partition: None,
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            headers: &headers,
        })
    }

    /// Sends the distribution of a percentile's value over the customers of a partition.
    pub(super) fn distribution(
        &self,
        producer: &mut impl LogProducer,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Failure> {
        producer.send(&Outgoing {
            topic: &self.percentiles,
            partition: Some(0),
            key: Some(key),
            value: Some(value),
            headers: &[],
        })
    }

    /// Sends a customer to the changelog; no value for one who is removed.
    pub(super) fn customer(
        &self,
        producer: &mut impl LogProducer,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Failure> {
        producer.send(&Outgoing {
            topic: &self.changelog,
            partition: Some(partition),
            key: Some(key),
            value,
            headers: &[],
        })
    }

    /// Sends a marker.
    pub(super) fn marker(
        &self,
        producer: &mut impl LogProducer,
        partition: i32,
        marker: &Marker,
    ) -> Result<(), Failure> {
        producer.send(&Outgoing {
            topic: &self.changelog,
            partition: Some(partition),
            key: Some(MARKER_KEY),
            value: Some(&encode(marker)),
            headers: &[],
        })
    }
}
