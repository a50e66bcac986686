//! When a worker commits, and how it goes on when that has ended.

use std::time::Duration;

use crate::kafka::KafkaError;
use crate::kafka::log::LogProducer as _;
use crate::kafka::transaction::Failure;
use crate::telemetry::WorkerMetrics;
use crate::wire::text::instant_text;

use super::batch::{Erased, Owned, SentChange, Since, Wants};
use super::clock::{now, since, wall_ms};
use super::commit::{Commit, Concluded, send_changes};
use super::failpoint::reach;
use super::world::World;
use super::{Worker, WorkerError};

/// A commit begins once so many changes are to be sent, so that those of others wait little for its end while very many
/// customers enter or leave at once.
const CHANGES_MAX: usize = 5_000;
/// So many changes are worth being sent before the commit begins, which then has less to wait for. Fewer would only make
/// more requests. In builds for tests so few that what is killed and halted there comes to it.
const AHEAD_MIN: usize = if cfg!(debug_assertions) { 2 } else { 128 };
/// A transaction that would stay open for longer is not begun before its commit: the broker ends it after a while.
const AHEAD_MAX: Duration = Duration::from_secs(5);
/// How often a clock that moved is committed when nothing else is.
const CLOCK_COMMIT: Duration = Duration::from_secs(30);

impl<W: World> Worker<'_, W> {
    /// Commits as soon as there is nothing more to add, and at the latest after the interval or the number of records.
    pub(super) fn commit_if_due(&mut self) -> Result<(), WorkerError> {
        self.take_concluded()?;
        let settings = &self.engine.settings;
        let Some(begun) = self.uncommitted_since else {
            let due = since(self.committed_at) >= CLOCK_COMMIT && self.owned.values().any(Owned::is_clock_dirty);
            return if due { self.commit() } else { Ok(()) };
        };
        let n_changes: usize = self.owned.values().map(|owned| owned.pending.n_changes()).sum();
        let is_full = since(begun) >= settings.commit_interval
            || self.n_pending_records() >= settings.commit_max_events
            || n_changes >= CHANGES_MAX;
        let has_rested = self.under_way.is_none() && self.rest().is_zero();
        if is_full || (self.is_drained() && !self.is_busy && has_rested) { self.commit() } else { Ok(()) }
    }

    /// Sends changes as part of the next commit, unless one is under way.
    pub(super) fn send_ahead(&mut self) -> Result<(), WorkerError> {
        let n_unsent: usize = self.owned.values().map(|owned| owned.pending.changes.len()).sum();
        if n_unsent < AHEAD_MIN || self.engine.settings.commit_interval > AHEAD_MAX {
            return Ok(());
        }
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let mut pending = self.owned.values_mut().map(|owned| &mut owned.pending);
        match pending.try_for_each(|pending| send_changes(producer, &self.engine.outbox, pending)) {
            Ok(()) => Ok(()),
            Err(failure) => self.recover(&failure),
        }
    }

    /// Waits for the end of the commit under way, and throws away what was sent ahead of the next one: there is to be none,
    /// because whose it is is put down.
    pub(super) fn conclude_without_more(&mut self) -> Result<(), WorkerError> {
        self.conclude()?;
        if self.producer.as_mut().is_some_and(|producer| producer.abort().is_err()) {
            self.renew_producer()?;
        }
        Ok(())
    }

    /// Whether nothing more is known to be there.
    pub(super) fn is_drained(&self) -> bool {
        self.wants.values().all(|wants| matches!(wants, Wants::Nothing | Wants::Schema))
    }

    /// For how long nothing is to be committed yet, so that a busy broker is not kept busier by ever smaller commits.
    pub(super) fn rest(&self) -> Duration {
        (self.commit_took / 2).saturating_sub(since(self.committed_at))
    }

    /// Commits all that was done, and waits until it is.
    pub(super) fn commit_all(&mut self) -> Result<(), WorkerError> {
        self.commit()?;
        self.conclude()
    }

    /// Begins to commit what was done, after the commit before has ended; it is under way afterwards, unless it has to be
    /// waited for.
    fn commit(&mut self) -> Result<(), WorkerError> {
        self.conclude()?;
        self.uncommitted_since = None;
        if !self.owned.values().any(Owned::is_unsent) {
            return Ok(());
        }
        let Some(producer) = self.producer.take() else { return Ok(()) };
        let must_wait = self.owned.values().any(|owned| owned.is_unsent() && owned.must_wait());
        for owned in self.owned.values_mut() {
            self.metrics.happened(&owned.take_happened());
        }
        let parts = self.owned.values_mut().filter(|owned| owned.is_unsent());
        match Commit::begin(producer, self.consumer, parts, &self.engine.outbox, self.engine.partitions) {
            Ok(commit) if must_wait => self.settle(commit.wait(), true),
            Ok(commit) => {
                self.under_way = Some(commit);
                Ok(())
            }
            Err((producer, failure)) => {
                self.producer = Some(producer);
                self.recover(&failure)
            }
        }
    }

    /// Waits for the end of the commit under way.
    pub(super) fn conclude(&mut self) -> Result<(), WorkerError> {
        match self.under_way.take() {
            Some(commit) => self.settle(commit.wait(), false),
            None => Ok(()),
        }
    }

    /// Takes note of the end of the commit under way, if it has ended.
    fn take_concluded(&mut self) -> Result<(), WorkerError> {
        match self.under_way.take().map(Commit::poll) {
            Some(Ok(concluded)) => self.settle(concluded, false),
            Some(Err(commit)) => {
                self.under_way = Some(commit);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn settle(&mut self, concluded: Concluded<W>, was_waited_for: bool) -> Result<(), WorkerError> {
        let Concluded { began, parts, producer, result } = concluded;
        self.producer = producer;
        self.committed_at = now();
        self.commit_took = self.committed_at - began;
        if let Err(failure) = result {
            return self.recover(&failure);
        }
        for part in parts {
            count_changes(&mut self.metrics, &part.changes);
            part.erased.iter().for_each(tell_erased);
            if let Some(owned) = self.owned.get_mut(&part.number) {
                owned.committed(part, was_waited_for)?;
            }
            reach("storing");
        }
        reach("stored");
        self.metrics.committed(self.commit_took.as_secs_f64());
        Ok(())
    }

    /// Back to the last commit after a transaction that did not go through.
    fn recover(&mut self, failure: &Failure) -> Result<(), WorkerError> {
        tracing::warn!(worker = self.index, %failure, "going back to the last commit");
        let aborted = match failure {
            Failure::Aborted(_) => self.producer.as_mut().is_some_and(|producer| producer.abort().is_ok()),
            Failure::Doubt(_) => false,
            Failure::Refused(message) => {
                return Err(KafkaError::Refused { what: "transaction".to_owned(), message: message.clone() }.into());
            }
        };
        self.metrics.aborted(if aborted { "aborted" } else { "doubt" });
        // What is in memory has taken the place of what was committed, which the changelog tells; and so it does what
        // became of a transaction in doubt, once the next producer of this name has settled it. Whoever has the partitions
        // now, if it is not us, is told by the group; until then they are ours.
        let numbers = self.numbers();
        self.stop_restoring();
        self.put_down();
        if aborted {
            // Not in a tight circle, should the cause persist.
            let _ = self.engine.stop.sleep(Duration::from_millis(100));
        } else {
            self.renew_producer()?;
        }
        self.restore(numbers);
        Ok(())
    }
}

/// The receipt of an erasure, without the customer's id: who may ask for it knows that.
fn tell_erased(erased: &Erased) {
    let Erased { receipt, n_left, asked } = erased;
    tracing::info!(
        customer_hash = receipt.hash,
        erased_at = instant_text(receipt.erased_at),
        left = n_left,
        sequence = receipt.sequence,
        topic = asked.topic.as_str(),
        partition = asked.partition,
        offset = asked.offset,
        "erased a customer"
    );
}

/// Counts the changes of a commit, and how long after what brought them about it ended.
fn count_changes(metrics: &mut WorkerMetrics, changes: &[SentChange]) {
    let wall_ms = wall_ms();
    #[expect(clippy::cast_precision_loss, reason = "a latency that a float cannot hold is as good as one it can")]
    let seconds = |since: i64| wall_ms.saturating_sub(since).max(0) as f64 / 1000.0;
    for SentChange { segment, entered, since } in changes {
        metrics.change(segment, *entered);
        match since {
            Some(Since::Due(since)) => metrics.flip_latency_seconds(seconds(*since)),
            Some(Since::Accepted(since)) => metrics.event_latency_seconds(seconds(*since)),
            None => {}
        }
    }
}
