//! The commit: the one place that says in which order a transaction, the input offsets and the stores are written.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

use crate::kafka::consumer::Offsets;
use crate::kafka::log::{LogConsumer as _, LogProducer};
use crate::kafka::transaction::Failure;

use super::batch::{Erased, Owned, Pending, SentChange};
use super::clock::{now, wall_ms};
use super::failpoint::{during, reach};
use super::marker::Marker;
use super::outbox::Outbox;
use super::world::{ConsumerOf, ProducerOf, World};

/// A commit under way: what the given partitions did since the one before. The order is the guarantee (`runtime.md`
/// section 2):
///
/// 1. Changes, memberships, dead letters, changed customers and a marker for each partition are sent; if there are many
///    changes, most of them before the commit begins. *A crash here leaves an open transaction: nobody reads it, the next
///    owner's producer or the broker's time-out aborts it, and the input is read again from the last committed offsets.*
/// 2. The input offsets join the transaction, fenced by the group's generation: from here on an owner that the group has
///    replaced cannot get any further. *A crash here leaves the same as before; the group does not show these offsets.*
/// 3. The transaction is committed, once the broker has confirmed every record; without one of them it is not. *A crash
///    during the call leaves it committed or aborted as the broker decided; the next owner waits until that is known, and
///    finds marker and offsets both or neither.* The answer may be lost: that is
///    [`Failure::Doubt`], and the worker goes on as if it had crashed.
/// 4. The stores are written behind: some of what waits now, all of it within a while. *A crash leaves stores at an earlier
///    commit, or partly ahead of their marker: they are brought forward from the changelog, from their marker on.* They are
///    never ahead of Kafka.
///
/// Steps 2 and 3 wait for the broker in a thread of their own, while the worker goes on with the next records. These are in
/// the next commit, which begins when this one has ended: so a failure throws away both, and whatever is of one partition
/// must be put down only after that. Step 4 leaves out customers who have changed again; now and then a commit is waited
/// for, after which nobody has ([`Owned::must_wait`]).
pub(super) struct Commit<W: World> {
    began: Instant,
    parts: Vec<Part>,
    thread: W::Thread,
    outcome: Receiver<(ProducerOf<W>, Result<(), Failure>)>,
}

/// A partition's part of a transaction.
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) marker: Marker,
    pub(super) changes: Vec<SentChange>,
    pub(super) erased: Vec<Erased>,
    /// Records of the changelog, the marker among them.
    pub(super) n_logged: i64,
    /// When it was sent, by the wall clock, milliseconds since the epoch.
    pub(super) sent_at: i64,
}

/// How a commit ended.
pub(super) struct Concluded<W: World> {
    pub(super) began: Instant,
    pub(super) parts: Vec<Part>,
    /// `None` if the thread that had it ended before its time.
    pub(super) producer: Option<ProducerOf<W>>,
    pub(super) result: Result<(), Failure>,
}

impl<W: World> Commit<W> {
    /// Takes the first step, and lets a thread take the two that wait for the broker.
    pub(super) fn begin<'o, 'c: 'o>(
        mut producer: ProducerOf<W>,
        consumer: &ConsumerOf<W>,
        owned: impl Iterator<Item = &'o mut Owned<'c, W>>,
        outbox: &Outbox,
        partitions: i32,
    ) -> Result<Self, (ProducerOf<W>, Failure)> {
        let began = now();
        let mut parts = Vec::new();
        let mut offsets = Offsets::new();
        for owned in owned {
            match send(&mut producer, outbox, owned, partitions) {
                Ok(part) => parts.push(part),
                Err(failure) => return Err((producer, failure)),
            }
            let next = owned.next().iter().enumerate();
            offsets.extend(next.map(|(lane, offset)| ((lane, owned.number), *offset)));
        }
        reach("sending");
        reach("sent");
        let progress = match consumer.progress(&offsets) {
            Ok(progress) => progress,
            Err(failure) => return Err((producer, failure)),
        };
        let (sender, outcome) = channel();
        let thread = W::spawn(move || {
            let result = conclude::<W>(&mut producer, &progress);
            // Nobody who waits for it any more has gone without the producer.
            let _ = sender.send((producer, result));
        });
        Ok(Self { began, parts, thread, outcome })
    }

    /// Waits for its end.
    pub(super) fn wait(self) -> Concluded<W> {
        let Self { began, parts, thread, outcome } = self;
        W::join(thread);
        Concluded::of(began, parts, outcome.try_recv().ok())
    }

    /// How it ended, if it has.
    pub(super) fn poll(self) -> Result<Concluded<W>, Self> {
        match self.outcome.try_recv() {
            Err(TryRecvError::Empty) => Err(self),
            received => {
                W::join(self.thread);
                Ok(Concluded::of(self.began, self.parts, received.ok()))
            }
        }
    }
}

impl<W: World> Concluded<W> {
    fn of(began: Instant, parts: Vec<Part>, received: Option<(ProducerOf<W>, Result<(), Failure>)>) -> Self {
        let (producer, result) = received.map_or_else(
            || (None, Err(Failure::Doubt("its thread ended before its time".to_owned()))),
            |(producer, result)| (Some(producer), result),
        );
        Self { began, parts, producer, result }
    }
}

/// Sends the changes that are not sent yet, and the memberships that they begin or end.
pub(super) fn send_changes(
    producer: &mut impl LogProducer,
    outbox: &Outbox,
    pending: &mut Pending,
) -> Result<(), Failure> {
    let Pending { changes, sent, .. } = pending;
    changes.drain(..).try_for_each(|change| {
        outbox.change(producer, &change)?;
        sent.push(change.into());
        Ok(())
    })
}

/// Sends what a partition did.
fn send<W: World>(
    producer: &mut ProducerOf<W>,
    outbox: &Outbox,
    owned: &mut Owned<'_, W>,
    partitions: i32,
) -> Result<Part, Failure> {
    send_changes(producer, outbox, &mut owned.pending)?;
    for letter in &owned.pending.dead_letters {
        outbox.dead_letter(producer, letter)?;
    }
    for (key, value) in &owned.pending.distributions {
        outbox.distribution(producer, key, value)?;
    }
    let (number, marker) = (owned.number, owned.next_marker(partitions));
    let mut n_logged = 1;
    owned.partition.changed(|key, value| {
        n_logged += 1;
        outbox.customer(producer, number, key, value)
    })?;
    outbox.marker(producer, number, &marker)?;
    let erased = std::mem::take(&mut owned.pending.erased);
    let changes = owned.sent(marker.clone());
    Ok(Part { number, marker, changes, erased, n_logged, sent_at: wall_ms() })
}

fn conclude<W: World>(
    producer: &mut ProducerOf<W>,
    progress: &<ProducerOf<W> as LogProducer>::Progress,
) -> Result<(), Failure> {
    producer.send_offsets(progress)?;
    reach("offsets");
    during("committing");
    producer.commit()?;
    reach("committed");
    Ok(())
}
