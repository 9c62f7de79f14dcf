//! `blkc train FILE`.

use blk_runtime::options::TrainOptions;
use blk_runtime::ranks;
use blk_runtime::train::Inputs;
use blk_runtime::trainer::train_and_print;

use super::common::{Machine, Sharing, Source, agree};
use super::{Failure, Outcome};
use crate::compile::{self, Loaded};
use crate::ir::Network;
use crate::manifest;

/// Compiles just in time and trains
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  blkc train examples/digits.blk --epochs 5 --out runs/first\n  \
    mpirun -n 2 blkc train examples/digits.blk --batch 32   (docs/distributed.md)")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    sharing: Sharing,
    #[command(flatten)]
    options: TrainOptions,
}

pub fn run(args: &Args) -> Outcome {
    ranks::join()?;
    let (inputs, mut loaded) = agree(prepare(args))?;
    match train_and_print(&mut loaded.program, inputs, &args.options)? {
        0 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

/// All that a rank does before it meets the others.
fn prepare(args: &Args) -> Result<(Inputs, Loaded), Failure> {
    let (network, ranks) = args.sharing.network(&args.source, ranks::count())?;
    check_trainable(&args.source, &network)?;
    let target = args.machine.target()?;
    // What is wrong with data and options is said before anything is derived.
    let inputs = Inputs::read(&manifest::outline(&network, ranks), &args.options)?;
    let compiled = compile::compile_for(&network, &target, ranks)?;
    Ok((inputs, compile::load(&compiled)?))
}

/// The network with its `train` item.
pub(super) fn trainable(source: &Source) -> Result<Network, Failure> {
    let network = source.network()?;
    check_trainable(source, &network)?;
    Ok(network)
}

pub(super) fn check_trainable(source: &Source, network: &Network) -> Outcome {
    match &network.training {
        Some(_) => Ok(()),
        None => Err(Failure::Error {
            message: format!(
                "{} has no `train` item for `{}`: no optimizer to compile",
                source.file, network.name
            ),
            help: Some(format!("add: train {} {{ optimizer = sgd(lr = 0.1) }}", network.name)),
        }),
    }
}
