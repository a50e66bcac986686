//! The wall clock: read here, an argument everywhere else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now by the wall clock, milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the worker is the rim that tells the time to everyone else")]
pub(super) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Now, to measure how long something takes.
#[expect(clippy::disallowed_methods, reason = "when to commit and what took how long is measured")]
pub(super) fn now() -> Instant {
    Instant::now()
}
