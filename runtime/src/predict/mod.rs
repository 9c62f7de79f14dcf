//! What a trained network says of samples: classes with probabilities, or values.

mod inputs;
mod output;

use std::path::PathBuf;

use clap::Args;

use crate::checkpoint::{self, Content};
use crate::manifest::{Manifest, Outline, Task};
use crate::pool::Pool;
use crate::program::{EVAL, Program};
use crate::settings::Settings;
use crate::{Error, TrainOptions, train};

use inputs::Inputs;
pub use output::Predictions;

/// What is predicted, with which weights, and where it goes.
#[derive(Args, Clone, Debug, Default)]
pub struct PredictOptions {
    /// The weights, a safetensors file such as RUN/best.safetensors
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// What to look at: data as `train` takes it (its test set, or all of it where there is none), npy:FILE, or image
    /// files [default: the program's data]
    #[arg(long, value_name = "DATA", num_args = 1..)]
    pub data: Vec<String>,
    /// Where to write: .csv, .jsonl, .npy or .npz (default: CSV to stdout)
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// Threads (default: all that this machine has); the results do not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl PredictOptions {
    /// Refuses a format that is not known, before anything is computed.
    pub fn check(&self) -> Result<(), Error> {
        self.output.as_deref().map_or(Ok(()), |path| output::Format::of(path).map(drop))
    }
}

/// What the columns of the predictions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Probabilities of the classes.
    Probabilities,
    /// Outputs of the network per class; its loss makes no probabilities of them.
    Scores,
    /// The predicted numbers.
    Values,
}

impl Meaning {
    fn of(manifest: &Manifest) -> Self {
        match manifest.task {
            Task::Float { .. } => Meaning::Values,
            Task::Class { .. } if manifest.softmax => Meaning::Probabilities,
            Task::Class { .. } => Meaning::Scores,
        }
    }
}

/// Runs the network on all samples, with the running statistics of `batch` values.
pub fn predict(program: &mut Program, options: &PredictOptions) -> Result<Predictions, Error> {
    options.check()?;
    let eval = program.required(EVAL)?;
    if program.levels(eval).iter().any(|level| !level.exchanges.is_empty()) {
        return Err(Error::new("this program evaluates with the samples of several ranks together")
            .with_help("predict with one that was built without --sync-statistics"));
    }
    let threads = Pool::count(options.threads)?;
    let mut pool = Pool::new(threads, program.manifest().scratch_bytes)?;
    let settings = Settings::resolve(&Outline::from(program.manifest()), &TrainOptions::default())?;
    train::initialize(program, &settings, &mut pool)?;
    let notes = checkpoint::load(program, Content::Weights, &options.weights)?;
    let inputs = Inputs::read(program.manifest(), &options.data, notes.as_deref())?;

    let manifest = program.manifest();
    let (batch, width, size) = (manifest.batch, manifest.task.outputs(), manifest.sample_size());
    let (input, output) = (program.scalars().input, program.scalars().output);
    let meaning = Meaning::of(manifest);
    let mut outputs = Vec::with_capacity(inputs.len() * width);
    for first in (0..inputs.len()).step_by(batch.max(1)) {
        let valid = batch.min(inputs.len() - first);
        let places = program.floats_mut(input, valid * size).chunks_exact_mut(size.max(1));
        places.enumerate().for_each(|(index, place)| inputs.read_into(first + index, place));
        program.run(eval, &mut pool);
        outputs.extend_from_slice(program.floats(output, valid * width));
    }
    if meaning == Meaning::Probabilities {
        outputs.chunks_exact_mut(width.max(1)).for_each(softmax);
    }
    Ok(Predictions { names: inputs.names, meaning, width, outputs })
}

/// exp(z) / Σ exp(z), in f64.
fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let power = |z: f32| f64::from(z - largest).exp();
    let sum: f64 = row.iter().map(|z| power(*z)).sum();
    row.iter_mut().for_each(|z| *z = (power(*z) / sum) as f32);
}

#[cfg(test)]
mod tests {
    use super::softmax;

    #[test]
    fn large_logits_make_probabilities_too() {
        let mut row = [1000.0, 1000.0, -1000.0];
        softmax(&mut row);
        assert_eq!(row, [0.5, 0.5, 0.0]);
    }
}
