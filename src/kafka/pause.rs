//! Sleeping: for real, or as the simulation of which this thread is part has it.

use std::time::Duration;

#[cfg(test)]
thread_local! {
    /// How this thread sleeps, if not for real.
    pub(crate) static SIMULATED: std::cell::Cell<Option<fn(Duration)>> = const { std::cell::Cell::new(None) };
}

/// Lets time go by.
pub(super) fn pause(duration: Duration) {
    #[cfg(test)]
    if let Some(simulated) = SIMULATED.get() {
        return simulated(duration);
    }
    std::thread::sleep(duration);
}
