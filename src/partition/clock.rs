//! The partition clock: how far time has come in a partition. `segments.md` section 5.

/// The largest `occurred_at` seen less grace; it never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    now: Option<i64>,
}

impl Clock {
    /// A clock that has come as far as `now`; `None` for a partition that has seen nothing.
    #[must_use]
    pub fn new(now: Option<i64>) -> Self {
        Self { now }
    }

    /// Where it is, milliseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        self.now
    }

    /// Follows a record that occurred at `occurred_at`; live never ahead of the wall.
    pub fn follow(&mut self, occurred_at: i64, grace_ms: i64, wall_ms: Option<i64>) {
        let reached = occurred_at.saturating_sub(grace_ms);
        self.advance(wall_ms.map_or(reached, |wall_ms| reached.min(wall_ms)));
    }

    /// Moves on to an instant, unless it is there already.
    pub fn advance(&mut self, instant: i64) {
        self.now = self.now.max(Some(instant));
    }

    /// Whether something at `instant` is more than `lateness_ms` behind.
    #[must_use]
    pub fn is_too_late(&self, instant: i64, lateness_ms: i64) -> bool {
        self.now.is_some_and(|now| instant < now.saturating_sub(lateness_ms))
    }
}
