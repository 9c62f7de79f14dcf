//! `blkc completions SHELL`.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Outcome};

/// Writes shell completions to stdout.
#[derive(clap::Args)]
#[command(after_help = "Example: blkc completions bash > /etc/bash_completion.d/blkc")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "blkc", &mut script);
    io::stdout().write_all(&script).map_err(|error| format!("cannot write to stdout: {error}"))?;
    Ok(())
}
