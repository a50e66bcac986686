//! The wall clock: read here, an argument everywhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock and the one that measures.
#[cfg(test)]
type Readings = (i64, Instant);

#[cfg(test)]
thread_local! {
    /// The clocks that this thread goes by, if not the real ones.
    pub(super) static SIMULATED: std::cell::Cell<Option<fn() -> Readings>> = const { std::cell::Cell::new(None) };
}

/// Now by the wall clock, milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the worker is the rim that tells the time to everyone else")]
pub(super) fn wall_ms() -> i64 {
    #[cfg(test)]
    if let Some(simulated) = SIMULATED.get() {
        return simulated().0;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Now, to measure how long something takes.
#[expect(clippy::disallowed_methods, reason = "when to commit and what took how long is measured")]
pub(super) fn now() -> Instant {
    #[cfg(test)]
    if let Some(simulated) = SIMULATED.get() {
        return simulated().1;
    }
    Instant::now()
}

/// How long ago something was.
pub(super) fn since(instant: Instant) -> Duration {
    now().saturating_duration_since(instant)
}
