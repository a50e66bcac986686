//! How a command ends: the exit codes, and failures that know theirs.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::set::Diagnostics;

/// How a command ended. `runtime.md` section 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The user's definitions or data are wrong.
    Wrong = 1,
    /// It was not used as it can be.
    Usage = 2,
    /// Some input was refused; the rest counted.
    Refused = 3,
    /// An outside system failed: a broker, the registry, the disk.
    Outside = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not go on, in words for the person who typed it.
///
/// Made from any error by `?`, which takes it for an outside system's; `Blame` says otherwise.
#[derive(Debug)]
pub struct Failure {
    /// Whose fault it is.
    pub exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// Whether standard output was closed by whoever read it.
    pub fn is_broken_pipe(&self) -> bool {
        let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        self.error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
    }
}

impl Failure {
    /// What it was made from, if that is such an error.
    pub(super) fn reason<E: std::error::Error + Send + Sync + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason::<Diagnostics>() {
            // Diagnostics have their own form, which begins in the same way.
            Some(diagnostics) => write!(f, "{diagnostics}"),
            None => write!(f, "error: {:#}", self.error),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Outside, error: error.into() }
    }
}

/// Says whose fault an error is.
pub(super) trait Blame<T> {
    /// The same result, whose error ends the command in this way.
    fn blame(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> Blame<T> for Result<T, E> {
    fn blame(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}
