//! Some calls of librdkafka outlive their time-outs and may never return. Each runs under a watchdog that another thread
//! looks at; a worker whose call is overdue cannot be saved, but the process can end, and what it left is fenced.
//!
//! Time is counted in looks: a process that was halted for an hour has not been looked at, and its calls have not had
//! that hour to return in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one thread is waiting for, seen from others. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Arc<Mutex<Option<Watched>>>);

/// A call under way.
#[derive(Debug)]
struct Watched {
    what: &'static str,
    left: Duration,
}

impl Watchdog {
    /// Runs a call that must return within `limit`.
    pub fn watch<T>(&self, what: &'static str, limit: Duration, call: impl FnOnce() -> T) -> T {
        self.set(Some(Watched { what, left: limit }));
        let result = call();
        self.set(None);
        result
    }

    /// Looks, `since` after the last look: the call that should have returned by now.
    pub fn look(&self, since: Duration) -> Option<&'static str> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watched.as_mut()?;
        watched.left = watched.left.saturating_sub(since);
        watched.left.is_zero().then_some(watched.what)
    }

    fn set(&self, watched: Option<Watched>) {
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
        const SECOND: Duration = Duration::from_secs(1);
        let watchdog = Watchdog::default();
        assert_eq!(watchdog.look(SECOND), None);
        let seen = watchdog.clone();
        watchdog.watch("commit", 2 * SECOND, || {
            assert_eq!(seen.look(SECOND), None);
            assert_eq!(seen.look(SECOND), Some("commit"));
        });
        assert_eq!(seen.look(SECOND), None);
        watchdog.watch("commit", 2 * SECOND, || assert_eq!(seen.look(SECOND), None));
    }
}
