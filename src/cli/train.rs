//! `blkc train FILE`.

use blk_runtime::options::TrainOptions;
use blk_runtime::train::Inputs;
use blk_runtime::trainer::train_and_print;

use super::common::{Machine, Source};
use super::{Failure, Outcome};
use crate::ir::Network;
use crate::{compile, manifest};

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
    let network = trainable(&args.source)?;
    let target = args.machine.target()?;
    // What is wrong with data and options is said before anything is derived.
    let inputs = Inputs::read(&manifest::outline(&network), &args.options)?;
    let compiled = compile::compile(&network, &target)?;
    let mut loaded = compile::load(&compiled)?;
    match train_and_print(&mut loaded.program, inputs, &args.options)? {
        0 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

/// The network with its `train` item.
pub(super) fn trainable(source: &Source) -> Result<Network, Failure> {
    let network = source.network()?;
    match &network.training {
        Some(_) => Ok(network),
        None => Err(Failure::Error {
            message: format!(
                "{} has no `train` item for `{}`: no optimizer to compile",
                source.file, network.name
            ),
            help: Some(format!("add: train {} {{ optimizer = sgd(lr = 0.1) }}", network.name)),
        }),
    }
}
