//! `segue completions` and `segue man`: what a shell and a manual want to know about the commands, from their own definition.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, Failure};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue completions bash > segue.bash && . ./segue.bash\n  \
segue completions zsh > _segue\n  \
segue completions fish > segue.fish")]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Print the manual page, or write one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue man > segue.1\n  \
segue man --directory man1")]
pub(super) struct ManArgs {
    /// Write one page for each command into this directory, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "segue", &mut text);
    io::stdout().lock().write_all(&text)?;
    Ok(Exit::Done)
}

pub(super) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let Some(directory) = &args.directory else {
        let mut text = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut text)?;
        io::stdout().lock().write_all(&text)?;
        return Ok(Exit::Done);
    };
    let unwritable = || format!("cannot write {}", directory.display());
    std::fs::create_dir_all(directory).with_context(unwritable)?;
    clap_mangen::generate_to(Cli::command(), directory).with_context(unwritable)?;
    Ok(Exit::Done)
}
