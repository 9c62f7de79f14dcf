//! `blkc bench FILE`.

use std::time::Instant;

use blk_runtime::bench::{self, BenchOptions};
use blk_runtime::ranks;

use super::common::{Format, Machine, SHARED, Source};
use super::train::trainable;
use super::{Outcome, output};
use crate::compile;

/// Times the compiled training step on synthetic data
#[derive(clap::Args)]
#[command(after_help = "Example: blkc bench examples/mlp.blk --threads 2 --format json")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    options: BenchOptions,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn run(args: &Args) -> Outcome {
    let start = Instant::now();
    ranks::refuse("bench")?;
    let network = trainable(&args.source)?;
    let compiled = compile::compile_for(&network, &args.machine.target()?, SHARED)?;
    let mut loaded = compile::load(&compiled)?;
    let compile_ms = start.elapsed().as_secs_f64() * 1e3;
    let outcome = bench::bench(&mut loaded.program, &args.options, compile_ms)?;
    for warning in &outcome.report.warnings {
        output::note(format_args!("warning: {warning}"));
    }
    match args.format {
        Format::Text => output::result(outcome.text()),
        Format::Json => output::result(outcome.json()? + "\n"),
    }
}
