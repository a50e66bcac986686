//! Some calls of librdkafka outlive their time-outs and may never return. Each runs under a watchdog that another thread
//! looks at; a worker whose call is overdue cannot be saved, but the process can end, and what it left is fenced.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one thread is waiting for, seen from others. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Arc<Mutex<Option<(Instant, &'static str)>>>);

impl Watchdog {
    /// Runs a call that must return within `limit`.
    pub fn watch<T>(&self, what: &'static str, limit: Duration, call: impl FnOnce() -> T) -> T {
        self.set(Some((now() + limit, what)));
        let result = call();
        self.set(None);
        result
    }

    /// The call that should have returned by now.
    pub fn overdue(&self) -> Option<&'static str> {
        let watched = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.filter(|(deadline, _)| *deadline < now()).map(|(_, what)| what)
    }

    fn set(&self, watched: Option<(Instant, &'static str)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a call takes is measured, nothing is decided by it")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_under_way_can_be_overdue() {
        let watchdog = Watchdog::default();
        assert_eq!(watchdog.overdue(), None);
        let seen = watchdog.clone();
        watchdog.watch("commit", Duration::ZERO, || {
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(seen.overdue(), Some("commit"));
        });
        assert_eq!(seen.overdue(), None);
        watchdog.watch("commit", Duration::from_mins(10), || assert_eq!(seen.overdue(), None));
    }
}
