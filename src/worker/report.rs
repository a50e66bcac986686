//! What a worker says of itself now and then: lag, clocks, stores.

use std::time::{Duration, Instant};

use crate::store::durable::DurableStore as _;

use super::Worker;
use super::clock::{now, since, wall_ms};
use super::disk::Disk;
use super::world::World;

const GAUGES: Duration = Duration::from_secs(1);
const STORES: Duration = Duration::from_secs(10);
/// How often what a store has only in memory is written to disk, which bounds what is read again after a crash.
const FLUSH: Duration = Duration::from_secs(30);

/// When what was last said.
#[derive(Debug, Default)]
pub(super) struct Report {
    gauges: Option<Instant>,
    stores: Option<Instant>,
    flush: Option<Instant>,
}

/// Whether it is time again.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| since(last) >= every);
    if due {
        *last = Some(now());
    }
    due
}

impl<W: World> Worker<'_, W> {
    /// Says what is due to be said.
    pub(super) fn report(&mut self) {
        let wall_ms = wall_ms();
        self.engine.status.beat(self.index, wall_ms);
        if is_due(&mut self.report.gauges, GAUGES) {
            self.report_partitions(wall_ms);
        }
        if is_due(&mut self.report.stores, STORES) {
            self.report_stores();
            self.report_disk();
        }
        if is_due(&mut self.report.flush, FLUSH) {
            self.flush_stores();
        }
    }

    fn report_partitions(&mut self, wall_ms: i64) {
        for owned in self.owned.values_mut() {
            let lags: Vec<i64> = owned.lags().collect();
            for (input, lag) in self.engine.settings.inputs.iter().zip(lags) {
                owned.metrics.consumer_lag_records(&input.topic, lag);
            }
            if let Some(clock) = owned.partition.clock() {
                owned.metrics.clock_lag_ms(wall_ms.saturating_sub(clock));
            }
            match owned.timers() {
                Ok((due, pending)) => owned.metrics.timers(due, pending),
                Err(error) => tracing::warn!(partition = owned.number, %error, "counting timers"),
            }
        }
        if let Some(restoring) = &self.restoring {
            restoring.report();
        }
    }

    fn report_stores(&mut self) {
        for owned in self.owned.values() {
            let figures = owned.store.figures();
            let stalled = figures.write_stopped > 0 || figures.delayed_write_bytes_per_second > 0;
            owned.metrics.store(figures.files_bytes, figures.pending_compaction_bytes, stalled);
            owned.metrics.store_errors(figures.background_errors_count);
            self.engine.telemetry.block_cache_bytes(figures.block_cache_bytes);
        }
    }

    /// How much room there is; one worker tells for all.
    fn report_disk(&self) {
        match Disk::of(&self.engine.settings.data_dir) {
            Ok(disk) if self.index == 0 => self.engine.telemetry.disk(disk.free_bytes, disk.size_bytes),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the disk of data_dir cannot be measured"),
        }
    }

    fn flush_stores(&mut self) {
        for owned in self.owned.values() {
            if let Err(error) = owned.store.start_flush() {
                tracing::warn!(partition = owned.number, %error, "flushing a store");
            }
        }
    }
}
