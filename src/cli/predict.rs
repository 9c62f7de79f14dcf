//! `blkc predict FILE`.

use blk_runtime::predict::PredictOptions;
use blk_runtime::ranks;
use blk_runtime::trainer::predict_and_print;

use super::Outcome;
use super::common::{Machine, Source};
use crate::compile;

/// Predicts classes with probabilities, or values, one line per sample
#[derive(clap::Args)]
#[command(
    after_help = "Example: blkc predict examples/digits.blk --weights runs/first/best.safetensors --data digits"
)]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    options: PredictOptions,
}

pub fn run(args: &Args) -> Outcome {
    args.options.check()?;
    ranks::refuse("predict")?;
    let network = args.source.network()?;
    let compiled = compile::compile(&network, &args.machine.target()?)?;
    let mut loaded = compile::load(&compiled)?;
    predict_and_print(&mut loaded.program, &args.options)?;
    Ok(())
}
