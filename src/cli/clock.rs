//! The wall clock, for commands that live in the present.

/// Milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "a command that is typed now is about now")]
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
