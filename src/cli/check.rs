//! `blkc check FILE`.

use clap::ValueEnum;

use super::common::{Format, Source};
use super::{Outcome, output};
use crate::compile;
use crate::ir::{Network, print};

/// Parses, resolves, infers every shape and reports all errors
#[derive(clap::Args)]
#[command(after_help = "Example: blkc check examples/digits.blk")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// How diagnostics are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print what this stage of the compiler makes of each network
    #[arg(long, value_enum)]
    emit: Option<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The typed block graph
    Ir,
    /// Buffers, parallel levels, loop nests and contractions
    Loops,
}

pub fn run(args: &Args) -> Outcome {
    let front = args.source.front_with(args.format)?;
    for network in &front.networks {
        match args.emit {
            Some(stage) => output::result(dump(network, stage)?)?,
            None if args.format == Format::Text => output::result(summary(network) + "\n")?,
            // A program that reads the diagnostics gets nothing else.
            None => output::note(summary(network)),
        }
    }
    Ok(())
}

fn summary(network: &Network) -> String {
    let parameters: usize = network.params.iter().map(|param| network.axes.size(&param.axes)).sum();
    format!("{}: {} blocks, {parameters} parameters", network.name, network.blocks.len())
}

fn dump(network: &Network, stage: Stage) -> Result<String, String> {
    Ok(match stage {
        Stage::Ir => print::print(network),
        Stage::Loops => compile::plan(network)?.lowered.program.to_string(),
    })
}
