//! The commit: the one place that says in which order a transaction, the input offsets and the stores are written.

use crate::kafka::consumer::Offsets;
use crate::kafka::log::LogProducer;
use crate::kafka::transaction::Failure;
use crate::store::StoreError;

use super::batch::Owned;
use super::clock::wall_ms;
use super::failpoint::{during, reach};
use super::marker::{Marker, StoredMarker, encode};
use super::outbox::Outbox;
use super::world::{ConsumerOf, ProducerOf, World};

/// A commit did not go through.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// The transaction is aborted, or in doubt. No store was written.
    #[error(transparent)]
    Transaction(#[from] Failure),
    /// The transaction is committed, and a store does not take what it holds. The store is behind, not wrong: a restart
    /// brings it forward from the changelog.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A partition's part of the transaction under way.
struct Part<'o, 'c, W: World> {
    owned: &'o mut Owned<'c, W>,
    marker: Marker,
    /// Records of the changelog, the marker among them.
    n_logged: i64,
}

/// Commits what the given partitions did since the last commit. The order is the guarantee (`runtime.md` section 2):
///
/// 1. Changes, memberships, dead letters, changed customers and a marker for each partition are sent. *A crash here leaves
///    an open transaction: nobody reads it, the next owner's producer or the broker's time-out aborts it, and the input is
///    read again from the last committed offsets.*
/// 2. The input offsets join the transaction, fenced by the group's generation: from here on an owner that the group has
///    replaced cannot get any further. *A crash here leaves the same as before; the group does not show these offsets.*
/// 3. The transaction is committed, once the broker has confirmed every record; without one of them it is not. *A crash
///    during the call leaves it committed or aborted as the broker decided; the next owner waits until that is known, and
///    finds marker and offsets both or neither.* The answer may be lost: that is
///    [`Failure::Doubt`], and the worker goes on as if it had crashed.
/// 4. The stores are written behind: some of what waits now, all of it within a while. *A crash leaves stores at an earlier
///    commit, or partly ahead of their marker: they are brought forward from the changelog, from their marker on.* They are
///    never ahead of Kafka.
pub(super) fn commit<'o, 'c: 'o, W: World>(
    producer: &mut ProducerOf<W>,
    consumer: &ConsumerOf<W>,
    owned: impl Iterator<Item = &'o mut Owned<'c, W>>,
    outbox: &Outbox,
    partitions: i32,
) -> Result<(), CommitError> {
    let mut parts = Vec::new();
    let mut offsets = Offsets::new();
    for owned in owned {
        let mut part = Part { marker: owned.next_marker(partitions), owned, n_logged: 0 };
        send(producer, outbox, &mut part)?;
        let next = part.owned.next().iter().enumerate();
        offsets.extend(next.map(|(lane, offset)| ((lane, part.owned.number), *offset)));
        parts.push(part);
    }
    if parts.is_empty() {
        return Ok(());
    }
    reach("sending");
    reach("sent");
    producer.send_offsets(consumer, &offsets)?;
    reach("offsets");
    during("committing");
    producer.commit()?;
    reach("committed");
    store(parts)?;
    reach("stored");
    Ok(())
}

fn send<W: World>(producer: &mut impl LogProducer, outbox: &Outbox, part: &mut Part<'_, '_, W>) -> Result<(), Failure> {
    let Part { owned, marker, n_logged } = part;
    for pending in &owned.pending.changes {
        outbox.change(producer, pending)?;
    }
    for letter in &owned.pending.dead_letters {
        outbox.dead_letter(producer, letter)?;
    }
    for (key, value) in &owned.pending.distributions {
        outbox.distribution(producer, key, value)?;
    }
    let number = owned.number;
    owned.partition.changed(|key, value| {
        *n_logged += 1;
        outbox.customer(producer, number, key, value)
    })?;
    *n_logged += 1;
    outbox.marker(producer, number, marker)
}

fn store<W: World>(parts: Vec<Part<'_, '_, W>>) -> Result<(), StoreError> {
    let written_at = wall_ms();
    for Part { owned, marker, n_logged } in parts {
        let changelog_position = owned.logged(n_logged);
        let stored = encode(&StoredMarker { changelog_position, written_at, marker: marker.clone() });
        owned.committed(marker, stored)?;
        reach("storing");
    }
    Ok(())
}
