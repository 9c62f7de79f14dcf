//! Arguments and printing: one file per verb. The only place in the compiler that prints.
//!
//! Results go to stdout, progress and diagnostics to stderr. Exit status: 0, 1 when the input is at fault, 2 for
//! wrong usage.

mod bench;
mod build;
mod check;
mod common;
mod completions;
mod explain;
mod inspect;
mod new;
mod output;
mod plot;
mod predict;
mod summary;
mod train;
mod verify;

use std::process::ExitCode;

use blk_runtime::ranks;
use clap::{Parser, Subcommand};

/// Compiler for .blk, a declarative language for networks made of blocks.
///
/// Derives each block's local Hessians and scale factors symbolically, explains them, and compiles the network into
/// native multi-threaded training code.
#[derive(Parser)]
#[command(name = "blkc", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    New(new::Args),
    Check(check::Args),
    Summary(summary::Args),
    Explain(explain::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Train(train::Args),
    Build(build::Args),
    Bench(bench::Args),
    Predict(predict::Args),
    Plot(plot::Args),
    Completions(completions::Args),
}

/// Why a verb stopped, already fit for the user.
pub(crate) enum Failure {
    /// Diagnostics were printed.
    Reported,
    /// A message and, where there is one, the cure.
    Error { message: String, help: Option<String> },
    /// Usage: exit status 2.
    Usage(String),
    /// The run ended by itself with this exit status (an interrupt that saved, say).
    Status(u8),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Error { message, help: None }
    }
}

impl From<blk_runtime::Error> for Failure {
    fn from(error: blk_runtime::Error) -> Self {
        match error.usage {
            true => Failure::Usage(error.to_string()),
            false => Failure::Error { message: error.message, help: error.help },
        }
    }
}

pub(crate) type Outcome = Result<(), Failure>;

/// The whole program: reads the arguments, runs the verb, tells the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.verb {
        Verb::New(args) => new::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Summary(args) => summary::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Train(args) => train::run(args),
        Verb::Build(args) => build::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Predict(args) => predict::run(args),
        Verb::Plot(args) => plot::run(args),
        Verb::Completions(args) => completions::run(args),
    };
    let status = outcome.map_or_else(report, |()| 0);
    ranks::leave(status);
    ExitCode::from(status)
}

/// Tells why, and gives the exit status.
fn report(failure: Failure) -> u8 {
    let told = ranks::is_told_elsewhere();
    match failure {
        Failure::Status(status) => status,
        Failure::Usage(_) if told => 2,
        Failure::Error { .. } if told => 1,
        Failure::Reported => 1,
        Failure::Usage(message) => {
            output::note(format_args!("error: {message}"));
            2
        }
        Failure::Error { message, help } => {
            output::note(format_args!("error: {message}"));
            if let Some(help) = help {
                output::note(format_args!("  help: {help}"));
            }
            1
        }
    }
}
