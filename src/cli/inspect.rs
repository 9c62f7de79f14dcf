//! `blkc inspect FILE`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::common::{Arrays, FormName, Samples, Source};
use super::{Failure, Outcome, output};
use crate::hessian::{Plan, program};
use crate::ir::Network;
use crate::numeric::batch::Batch;
use crate::numeric::inspect::dump::{self, Folder};
use crate::numeric::inspect::{Options, Origin, html, inspect, json, text};
use crate::numeric::point::{Parameters, Point, initial_parameters};
use crate::numeric::weights;

/// Evaluates each block's local Hessians at given weights and samples: spectra, condition, rank, and which block
/// hinders the backward flow
///
/// Computes in f64. Without --weights at the initial weights, without --data and --input on the first batch of the
/// file's data set, or on standard normal samples where it names none.
#[derive(clap::Args)]
#[command(after_help = "Example: blkc inspect examples/digits.blk --batch 16 --block h1 --dump arrays")]
pub struct Args {
    /// The .blk program
    #[arg(value_name = "FILE")]
    file: String,
    /// Which network, where the file holds several
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Samples, in place of the file's batch (with --input: its rows)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    batch: Option<u64>,
    /// Weights to evaluate at, a safetensors file of f32 or f64
    #[arg(long, value_name = "F")]
    weights: Option<PathBuf>,
    /// Data set whose first training samples are taken: digits, csv:FILE, npz:FILE, …
    #[arg(long, value_name = "D", conflicts_with_all = ["input", "target"])]
    data: Option<String>,
    #[command(flatten)]
    arrays: Arrays,
    /// Only this block (repeatable)
    #[arg(long, value_name = "B")]
    block: Vec<String>,
    /// Only this form of the Hessians (default: all that exist)
    #[arg(long, value_enum)]
    form: Option<FormName>,
    /// Write every array to this folder as .npy, and scalars.json
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Written::Text)]
    format: Written,
    /// Seed of initial weights, of random samples and of the estimates' random vectors (default: the file's)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Written {
    Text,
    Json,
    Html,
}

pub fn run(args: &Args) -> Outcome {
    let samples = args.arrays.read()?;
    let (file, name, batch) = (args.file.clone(), args.network.clone(), samples.batch(args.batch)?);
    let network = Source { file, network: name, batch, precision: None }.network()?;
    let options = args.options(&network)?;
    let mut folder = args.dump.as_ref().map(|path| Folder::create(path, &network)).transpose()?;
    let seed = args.seed(&network);
    let batch = args.batch_of(&network, &samples, seed)?;
    let plan = program::derive(&network);
    let parameters = args.parameters(&network, &plan, seed)?;
    let mut point = Point::new(&network, plan, &parameters, seed, &batch);
    let origin = Origin { weights: args.weights_in_words(seed), data: batch.source.clone() };
    let report = inspect(&network, &mut point, origin, &options)?;
    if let Some(folder) = &mut folder {
        dump::write(&network, &mut point, &options, folder)?;
        folder.scalars(&json::report(&report))?;
        for name in &folder.left_out {
            output::note(format_args!(
                "note: {name} is too large to be written; take fewer samples with --batch"
            ));
        }
    }
    match args.format {
        Written::Json => output::result(format_args!("{:#}\n", json::report(&report))),
        Written::Text => output::result(text::report(&report)),
        Written::Html => output::result(html::report(&report)),
    }
}

impl Args {
    fn options(&self, network: &Network) -> Result<Options, Failure> {
        let mut options = Options { seed: self.seed(network), ..Options::new(network) };
        if let Some(form) = self.form {
            options.forms = vec![form.into()];
        }
        let names: Vec<&str> = network.blocks.iter().map(|block| block.name.as_str()).collect();
        for wanted in &self.block {
            if !names.contains(&wanted.as_str()) {
                let message = format!("there is no block `{wanted}`; the blocks are {}", names.join(", "));
                return Err(message.into());
            }
        }
        options.blocks.retain(|&b| self.block.is_empty() || self.block.iter().any(|name| name == names[b]));
        Ok(options)
    }

    fn seed(&self, network: &Network) -> u64 {
        let training = network.training.as_ref();
        self.seed.or(training.map(|training| training.settings.seed)).unwrap_or(0)
    }

    fn batch_of(&self, network: &Network, samples: &Samples, seed: u64) -> Result<Batch, Failure> {
        if let Some((input, target)) = &samples.0 {
            return Ok(Batch::of_arrays(network, input, target)?);
        }
        let training = network.training.as_ref();
        match self.data.as_ref().or(training.and_then(|training| training.settings.data.as_ref())) {
            Some(spec) => Ok(Batch::of_data(network, spec)?),
            None => {
                output::note(format_args!(
                    "note: no data set is named: standard normal samples with random targets (seed {seed})"
                ));
                Ok(Batch::standard_normal(network, seed))
            }
        }
    }

    fn parameters(&self, network: &Network, plan: &Plan, seed: u64) -> Result<Parameters, String> {
        match &self.weights {
            Some(path) => weights::read(network, path),
            None => Ok(initial_parameters(plan, seed)),
        }
    }

    fn weights_in_words(&self, seed: u64) -> String {
        match &self.weights {
            Some(path) => path.display().to_string(),
            None => format!("initial ones, seed {seed}"),
        }
    }
}
