//! What can be typed: one file for each command. Results go to standard output, all else to standard error.

mod bench;
mod check;
mod clock;
mod dead_letters;
mod demo;
mod doctor;
mod events;
mod exit;
mod explain;
mod fmt;
mod health;
mod progress;
mod replay;
mod run;
mod set;
mod shell;
mod signals;
mod state;
mod tail;
mod test;
mod topics;
mod words;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

/// Real-time customer segmentation over Kafka: who is in which segment, the moment it changes.
#[derive(Debug, Parser)]
#[command(name = "segue", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Start with `segue demo`: it needs nothing else.\n\n\
Exit codes: 0 done, 1 definitions or data are wrong, 2 wrong usage, 3 some input was refused, \
4 an outside system failed.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Check(check::Args),
    Fmt(fmt::Args),
    Test(test::Args),
    Replay(replay::Args),
    Explain(explain::Args),
    Topics(topics::Args),
    State(state::Args),
    Bench(bench::Args),
    Tail(tail::Args),
    DeadLetters(dead_letters::Args),
    Doctor(doctor::Args),
    Health(health::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

impl Cli {
    /// Does what was typed.
    ///
    /// # Errors
    /// When it could not be done.
    pub fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Demo(args) => demo::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Fmt(args) => fmt::run(&args),
            Command::Test(args) => test::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Topics(args) => topics::run(&args),
            Command::State(args) => state::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Tail(args) => tail::run(&args),
            Command::DeadLetters(args) => dead_letters::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Health(args) => health::run(&args),
            Command::Completions(args) => shell::completions(&args),
            Command::Man(args) => shell::man(&args),
        }
    }
}
