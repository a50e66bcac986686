//! From what was measured to what given volumes need. Rules of thumb, each written down where it is used.

use serde_json::json;

use crate::partition::memory_of_customer;

/// What the sample showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) n_events: usize,
    pub(super) apply_seconds: f64,
    pub(super) decode_seconds: f64,
    pub(super) n_changes: usize,
    pub(super) changelog_bytes: usize,
    pub(super) n_customers: usize,
    pub(super) state_bytes: usize,
}

/// What to estimate for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Volumes {
    pub(super) events_per_second: u64,
    pub(super) customers: u64,
}

/// What that needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizing {
    cores: f64,
    memory_bytes: f64,
    disk_bytes: f64,
    changelog_bytes_per_second: f64,
    changes_per_second: f64,
}

/// What Kafka, the changelog and the store add to an event, microseconds of a core: the bare loop of `bench/README.md`.
const OUTSIDE_US: f64 = 6.0;
/// How busy a core should be at most, so that an outage is caught up with.
const BUSY: f64 = 0.6;
/// A store on disk holds what compaction has not removed yet, and an index of deadlines.
const DISK_FACTOR: f64 = 1.6;
/// Customers that events are about again within a minute or so are worth their place in memory: a tenth of them.
const HOT: f64 = 0.1;
/// What a process needs besides customers: stores' memory budget, fetched records, code.
const BASE_BYTES: f64 = 1e9;

impl Measured {
    fn per_event(&self, amount: f64) -> f64 {
        amount / float(self.n_events.max(1))
    }

    pub(super) fn apply_us(&self) -> f64 {
        self.per_event(self.apply_seconds * 1e6)
    }

    pub(super) fn decode_us(&self) -> f64 {
        self.per_event(self.decode_seconds * 1e6)
    }

    pub(super) fn events_per_second(&self) -> f64 {
        1e6 / (self.apply_us() + self.decode_us()).max(1e-3)
    }

    pub(super) fn changes_per_event(&self) -> f64 {
        self.per_event(float(self.n_changes))
    }

    pub(super) fn bytes_per_customer(&self) -> f64 {
        float(self.state_bytes) / float(self.n_customers.max(1))
    }

    fn memory_per_customer(&self) -> f64 {
        float(memory_of_customer(self.state_bytes / self.n_customers.max(1)))
    }
}

impl Sizing {
    pub(super) fn of(measured: &Measured, volumes: Volumes) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (rate, customers) = (volumes.events_per_second as f64, volumes.customers as f64);
        let us_per_event = measured.apply_us() + measured.decode_us() + OUTSIDE_US;
        let state_bytes = customers * measured.bytes_per_customer();
        Self {
            cores: rate * us_per_event / 1e6 / BUSY,
            memory_bytes: BASE_BYTES + customers * HOT * measured.memory_per_customer(),
            disk_bytes: state_bytes * DISK_FACTOR,
            changelog_bytes_per_second: rate * measured.per_event(float(measured.changelog_bytes)),
            changes_per_second: rate * measured.changes_per_event(),
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "changelog_bytes_per_second": self.changelog_bytes_per_second,
            "changes_per_second": self.changes_per_second,
        })
    }

    pub(super) fn page(&self) -> String {
        format!(
            "  cores       {:.1}, at most {:.0} % busy; {OUTSIDE_US} us an event are assumed for Kafka and the store\n  \
             memory      {:.1} GB\n  \
             disk        {:.1} GB\n  \
             changelog   {:.1} MB a second before compression\n  \
             changes     {:.0} a second\n",
            self.cores.max(0.1),
            BUSY * 100.0,
            self.memory_bytes / 1e9,
            self.disk_bytes / 1e9,
            self.changelog_bytes_per_second / 1e6,
            self.changes_per_second,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a sample")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_grow_with_volumes() {
        let measured = Measured {
            n_events: 1_000,
            apply_seconds: 0.002,
            decode_seconds: 0.001,
            n_changes: 100,
            changelog_bytes: 50_000,
            n_customers: 100,
            state_bytes: 20_000,
        };
        let small = Sizing::of(&measured, Volumes { events_per_second: 1_000, customers: 1_000_000 });
        let large = Sizing::of(&measured, Volumes { events_per_second: 10_000, customers: 2_000_000 });
        assert!((large.cores / small.cores - 10.0).abs() < 1e-9);
        assert!((large.disk_bytes / small.disk_bytes - 2.0).abs() < 1e-9);
        assert!((small.changelog_bytes_per_second - 50_000.0).abs() < 1e-6);
        assert!((small.changes_per_second - 100.0).abs() < 1e-6);
    }
}
