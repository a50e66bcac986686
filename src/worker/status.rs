//! What the workers say of themselves while they work, for health, readiness and the list of segments.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::catalog::Catalog;

/// What all workers of a process say of themselves. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Status {
    workers: Arc<[Mutex<WorkerState>]>,
    beats: Arc<[AtomicI64]>,
    catalog: Arc<Mutex<Arc<Catalog>>>,
}

/// What one worker says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerState {
    /// Partitions it owns.
    pub owned: Vec<i32>,
    /// Those of them that are still being restored.
    pub restoring: Vec<i32>,
    /// How many partitions the input topics have; 0 before it is known.
    pub n_partitions: i32,
    /// Whether the group has given it partitions, or told it that there are none for it.
    pub assigned: bool,
    /// What it waits for, in words, such as an unreachable broker.
    pub waiting_for: Option<String>,
    /// Why the schema registry does not answer, while it does not.
    pub registry_outage: Option<String>,
    /// Why it ended, if it did other than when asked to.
    pub failed: Option<String>,
}

impl WorkerState {
    /// What it waits for, in words: the broker, or else the registry.
    pub fn waits_for(&self) -> Option<&str> {
        self.waiting_for.as_deref().or(self.registry_outage.as_deref())
    }
}

impl Status {
    /// Of `n_workers` workers that have not begun.
    pub fn new(n_workers: usize, catalog: Arc<Catalog>) -> Self {
        Self {
            workers: (0..n_workers).map(|_| Mutex::default()).collect(),
            beats: (0..n_workers).map(|_| AtomicI64::new(i64::MAX)).collect(),
            catalog: Arc::new(Mutex::new(catalog)),
        }
    }

    /// A worker went round its loop, at this instant by the wall clock, milliseconds since the epoch.
    pub fn beat(&self, worker: usize, now_ms: i64) {
        if let Some(beat) = self.beats.get(worker) {
            beat.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Changes what a worker says of itself.
    pub fn update(&self, worker: usize, change: impl FnOnce(&mut WorkerState)) {
        if let Some(state) = self.workers.get(worker) {
            change(&mut lock(state));
        }
    }

    /// Changes what every worker says of itself, which those do not that have not begun.
    pub fn update_all(&self, change: impl Fn(&mut WorkerState)) {
        self.workers.iter().for_each(|state| change(&mut lock(state)));
    }

    /// What each worker says of itself.
    pub fn workers(&self) -> Vec<WorkerState> {
        self.workers.iter().map(|state| lock(state).clone()).collect()
    }

    /// The definitions at work.
    pub fn catalog(&self) -> Arc<Catalog> {
        lock(&self.catalog).clone()
    }

    /// Says that other definitions are at work.
    pub fn set_catalog(&self, catalog: Arc<Catalog>) {
        *lock(&self.catalog) = catalog;
    }

    /// Whether the workers make progress: what stands still otherwise. A worker that waits for an outside system does.
    pub fn health(&self, now_ms: i64, patience_ms: i64) -> Result<(), Vec<String>> {
        let mut complaints = Vec::new();
        for (number, (state, beat)) in self.workers().into_iter().zip(self.beats.iter()).enumerate() {
            let silent_ms = now_ms.saturating_sub(beat.load(Ordering::Relaxed));
            if let Some(failed) = state.failed {
                complaints.push(format!("worker {number} has ended: {failed}"));
            } else if silent_ms > patience_ms {
                complaints.push(format!("worker {number} has stood still for {} s", silent_ms / 1000));
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }

    /// Whether every owned partition is restored, and broker and registry can be reached: what is missing otherwise.
    pub fn readiness(&self) -> Result<(), Vec<String>> {
        let mut complaints = Vec::new();
        for (number, state) in self.workers().into_iter().enumerate() {
            if let Some(failed) = &state.failed {
                complaints.push(format!("worker {number} has ended: {failed}"));
            }
            if let Some(waiting_for) = state.waits_for() {
                complaints.push(format!("worker {number} waits: {waiting_for}"));
            }
            if !state.assigned {
                complaints.push(format!("worker {number} has not been given its partitions yet"));
            }
            if !state.restoring.is_empty() {
                complaints.push(format!("worker {number} restores partitions {:?}", state.restoring));
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }

    /// Whether every partition there is has its owner in this process: only then is a customer not found here unknown.
    pub fn owns_all(&self) -> bool {
        let workers = self.workers();
        let n_partitions = workers.iter().map(|state| state.n_partitions).max().unwrap_or_default();
        let n_ready: usize =
            workers.iter().map(|state| state.owned.len() - state.restoring.len().min(state.owned.len())).sum();
        n_partitions > 0 && i32::try_from(n_ready).is_ok_and(|n_ready| n_ready >= n_partitions)
    }
}

/// A panic while the lock was held leaves nothing half-done here: a state is replaced field by field.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
