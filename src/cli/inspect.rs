//! `blkc inspect FILE`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::common::Source;
use super::{Failure, Outcome, output};
use crate::hessian::{Plan, program};
use crate::ir::Network;
use crate::numeric::batch::{Batch, Npy};
use crate::numeric::inspect::dump::{self, Folder};
use crate::numeric::inspect::{Options, Origin, html, inspect, json, text};
use crate::numeric::point::{Parameters, Point, initial_parameters};
use crate::numeric::products::Form;
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
    /// Samples as a NumPy array, one per row
    #[arg(long, value_name = "X.npy", requires = "target")]
    input: Option<PathBuf>,
    /// Their targets: labels, or values
    #[arg(long, value_name = "Y.npy", requires = "input")]
    target: Option<PathBuf>,
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

#[derive(Clone, Copy, ValueEnum)]
enum FormName {
    GaussNewton,
    Exact,
    Paper,
}

impl From<FormName> for Form {
    fn from(name: FormName) -> Form {
        match name {
            FormName::GaussNewton => Form::GaussNewton,
            FormName::Exact => Form::Exact,
            FormName::Paper => Form::Paper,
        }
    }
}

pub fn run(args: &Args) -> Outcome {
    let arrays = args.arrays()?;
    let network = args.source(&arrays)?.network()?;
    let options = args.options(&network)?;
    let mut folder = args.dump.as_ref().map(|path| Folder::create(path, &network)).transpose()?;
    let seed = args.seed(&network);
    let batch = args.batch_of(&network, &arrays, seed)?;
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

type Arrays = Option<(Npy, Npy)>;

impl Args {
    fn arrays(&self) -> Result<Arrays, String> {
        let (Some(input), Some(target)) = (&self.input, &self.target) else { return Ok(None) };
        Ok(Some((Npy::read(input)?, Npy::read(target)?)))
    }

    /// The program, for as many samples as there are.
    fn source(&self, arrays: &Arrays) -> Result<Source, Failure> {
        let rows = arrays.as_ref().map(|(input, _)| input.rows()).transpose()?.map(|rows| rows as u64);
        if let (Some(rows), Some(batch)) = (rows, self.batch.filter(|&batch| Some(batch) != rows)) {
            let message = format!("--batch {batch} does not go with --input, which has {rows} samples");
            return Err(Failure::Usage(message));
        }
        let (file, network, batch) = (self.file.clone(), self.network.clone(), rows.or(self.batch));
        Ok(Source { file, network, batch, precision: None })
    }

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

    fn batch_of(&self, network: &Network, arrays: &Arrays, seed: u64) -> Result<Batch, Failure> {
        if let Some((input, target)) = arrays {
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
