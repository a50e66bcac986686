//! The `segue` binary: what was typed, done; and what went wrong, as an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use segue::cli::{Cli, Failure};

/// For everything in the process, librdkafka and RocksDB included.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // Nobody listens any more, or it was printed; either way this is the end.
            let _ = help_or_error.print();
            return ExitCode::from(u8::try_from(help_or_error.exit_code()).unwrap_or(2));
        }
    };
    match cli.run() {
        Ok(exit) => exit.into(),
        // The reader of our output has seen enough (`segue replay … | head`).
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a command are for the person who typed it")]
fn report(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    failure.exit.into()
}
