//! How far long work has come: a bar on standard error where that is a terminal, nothing otherwise.

use std::io::Read;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, gone when the work is.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of so many things to do.
    pub(super) fn of(count: u64, what: &'static str) -> Self {
        Self::styled(count, what, "{msg} {bar:30} {pos}/{len}  {eta} left")
    }

    /// Of reading these files.
    pub(super) fn of_files(files: &[PathBuf]) -> Self {
        let sizes = files.iter().map(|file| std::fs::metadata(file).map_or(0, |metadata| metadata.len()));
        Self::styled(sizes.sum(), "reading", "{msg} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left")
    }

    /// Never drawn.
    pub(super) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// The same input, whose bytes are counted as they are read.
    pub(super) fn reading<R: Read>(&self, input: R) -> impl Read {
        self.0.wrap_read(input)
    }

    fn styled(count: u64, what: &'static str, template: &str) -> Self {
        // indicatif draws nothing when standard error is no terminal.
        let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr_with_hz(5));
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// So many more are done.
    pub(super) fn advance(&self, count: u64) {
        self.0.inc(count);
    }

    /// Writes past the bar.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
