//! `blkc train FILE`.

use blk_runtime::options::TrainOptions;

use super::common::{Machine, Source};
use super::{Failure, Outcome};
use crate::driver;

/// Compiles just in time and trains
#[derive(clap::Args)]
#[command(after_help = "Example: blkc train examples/digits.blk --epochs 5 --out runs/first")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    options: TrainOptions,
}

pub fn run(args: &Args) -> Outcome {
    let network = args.source.network()?;
    if network.training.is_none() {
        return Err(untrained(&network.name));
    }
    let compiled = driver::compile(&network, &args.machine.target()?)?;
    let mut program = driver::jit(&compiled)?;
    blk_runtime::train::run(&mut program, &args.options).map_err(Failure::from)
}

/// Why a network without a `train` item cannot be trained.
pub fn untrained(name: &str) -> Failure {
    Failure::Error {
        message: format!("the file has no `train` item for `{name}`: there is no optimizer to compile"),
        help: Some(format!("add: train {name} {{ optimizer = sgd(lr = 0.1) }}")),
    }
}
