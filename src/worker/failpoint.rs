//! Named steps at which a test ends or halts the process. Builds without debug assertions have none of this.
//!
//! `SEGUE_FAIL_AT=sent:3` ends the process, as `kill -9` would, when it comes to the step `sent` for the third time;
//! `SEGUE_FAIL_AT=sent:3:halt` halts it there, as `kill -STOP` would, until `kill -CONT`.

#[cfg(test)]
thread_local! {
    /// What the simulation that this thread is part of does at each step.
    pub(super) static SIMULATED: std::cell::Cell<Option<fn(&'static str)>> = const { std::cell::Cell::new(None) };
}

/// A step is reached.
#[inline]
pub(super) fn reach(step: &'static str) {
    #[cfg(test)]
    if let Some(simulated) = SIMULATED.get() {
        return simulated(step);
    }
    #[cfg(debug_assertions)]
    plan::reach(step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

/// A call begins, during which another thread may come to the step.
#[inline]
pub(super) fn during(step: &'static str) {
    #[cfg(debug_assertions)]
    if plan::is_made() {
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(1));
            plan::reach(step);
        });
    }
    #[cfg(not(debug_assertions))]
    let _ = step;
}

#[cfg(debug_assertions)]
mod plan {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Plan {
        step: String,
        left: AtomicU32,
        halt: bool,
    }

    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

    pub(super) fn is_made() -> bool {
        PLAN.get_or_init(read).is_some()
    }

    pub(super) fn reach(step: &str) {
        let Some(plan) = PLAN.get_or_init(read).as_ref().filter(|plan| plan.step == step) else { return };
        if plan.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        if plan.halt {
            let myself = std::process::id().to_string();
            // A test that cannot halt the process finds out by itself.
            let _ = std::process::Command::new("kill").args(["-STOP", &myself]).status();
        } else {
            std::process::abort();
        }
    }

    fn read() -> Option<Plan> {
        let text = std::env::var("SEGUE_FAIL_AT").ok()?;
        let mut parts = text.split(':');
        let step = parts.next()?.to_owned();
        let left = AtomicU32::new(parts.next()?.parse().ok()?);
        Some(Plan { step, left, halt: parts.next() == Some("halt") })
    }
}
