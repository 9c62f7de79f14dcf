//! `blkc completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Outcome, output};

/// Writes shell completions to stdout.
#[derive(clap::Args)]
#[command(after_help = "Example: blkc completions bash > /etc/bash_completion.d/blkc")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "blkc", &mut script);
    output::result(String::from_utf8_lossy(&script))
}
