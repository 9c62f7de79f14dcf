//! `blkc check FILE`.

use super::Outcome;
use super::common::{Format, Source};

/// Parses, resolves, infers every shape and reports all errors
#[derive(clap::Args)]
#[command(after_help = "Example: blkc check examples/digits.blk")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// How diagnostics are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn run(args: &Args) -> Outcome {
    let front = args.source.front_with(args.format)?;
    for network in &front.networks {
        let parameters: usize = network.params.iter().map(|param| network.axes.size(&param.axes)).sum();
        eprintln!("{}: {} blocks, {parameters} parameters", network.name, network.blocks.len());
    }
    Ok(())
}
